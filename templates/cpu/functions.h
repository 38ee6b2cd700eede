// The functions of the language, lane by lane, as generated kernels call them.
//
// Float versions choose by selects and never branch, so that compilers turn a loop of them into vectors; they are
// compiled without errno and floating-point traps, but NaN and infinities mean what IEEE says. Largest errors, in
// units in the last place of the result, measured over all exponents (tests/codegen/cpu/test_functions.py):
//
//     exp2_ exp_ log_    2     log2_ power_    3     log1p_ expm1_    4     tanh_ sigmoid_ softplus_ erf_    5
//     sin_ cos_          2     (where not is_far; sin_of_any and cos_of_any take any angle)
//
// Results below 2^-126 are 0. Double versions are the standard library's.
#pragma once

// The compiler's own builtins and three small headers, in place of <cmath> and whole intrinsics: reading headers was most of the
// time that a small kernel took to compile.
#include <cstdint>
#include <limits>
#include <type_traits>

#if !defined(INFINITY)
#define INFINITY (__builtin_inff())
#endif
#if !defined(NAN)
#define NAN (__builtin_nanf(""))
#endif

#define ATTN_LANE static inline __attribute__((always_inline))

namespace attn {

ATTN_LANE float as_float(int32_t bits) { return __builtin_bit_cast(float, bits); }
ATTN_LANE int32_t as_bits(float x) { return __builtin_bit_cast(int32_t, x); }

// ---- comparison ----

// IEEE 754 maximum and minimum: NaN where either is NaN.
ATTN_LANE float maximum(float a, float b) {
    const float m = a > b ? a : b;
    return a == a ? m : a;
}
ATTN_LANE float minimum(float a, float b) {
    const float m = a < b ? a : b;
    return a == a ? m : a;
}
ATTN_LANE double maximum(double a, double b) {
    const double m = a > b ? a : b;
    return a == a ? m : a;
}
ATTN_LANE double minimum(double a, double b) {
    const double m = a < b ? a : b;
    return a == a ? m : a;
}
ATTN_LANE int32_t maximum(int32_t a, int32_t b) { return a > b ? a : b; }
ATTN_LANE int32_t minimum(int32_t a, int32_t b) { return a < b ? a : b; }
ATTN_LANE int64_t maximum(int64_t a, int64_t b) { return a > b ? a : b; }
ATTN_LANE int64_t minimum(int64_t a, int64_t b) { return a < b ? a : b; }

template <typename T>
ATTN_LANE T clamp_(T x, T low, T high) {
    return minimum(maximum(x, low), high);
}
template <typename T>
ATTN_LANE T relu_(T x) {
    return maximum(x, T(0));
}
ATTN_LANE float abs_(float x) { return __builtin_fabsf(x); }
ATTN_LANE double abs_(double x) { return __builtin_fabs(x); }

// ---- integers: what leaves 64 bits wraps, division rounds down, and by 0 gives 0 ----

ATTN_LANE int64_t wrapping_add(int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
ATTN_LANE int64_t wrapping_sub(int64_t a, int64_t b) { return int64_t(uint64_t(a) - uint64_t(b)); }
ATTN_LANE int64_t wrapping_mul(int64_t a, int64_t b) { return int64_t(uint64_t(a) * uint64_t(b)); }
ATTN_LANE int64_t wrapping_neg(int64_t a) { return int64_t(-uint64_t(a)); }
ATTN_LANE int32_t abs_(int32_t x) { return x < 0 ? int32_t(-uint32_t(x)) : x; }
ATTN_LANE int64_t abs_(int64_t x) { return x < 0 ? wrapping_neg(x) : x; }

// Shifts by any number: all bits are gone from the width on, and by what is negative.
template <typename T>
ATTN_LANE T shift_left(T a, T count) {
    using Bits = std::make_unsigned_t<T>;
    const T held = count & T(8 * sizeof(T) - 1);
    return count == held ? T(Bits(a) << held) : T(0);
}
template <typename T>
ATTN_LANE T shift_right(T a, T count) {
    const T most = T(8 * sizeof(T) - 1), held = count & most;
    return a >> (count == held ? held : most);
}

// Towards zero; what the type does not hold becomes the nearest that it holds, and NaN 0.
template <typename T, typename F>
ATTN_LANE T to_integer(F x) {
    using Limits = std::numeric_limits<T>;
    using Wide = std::conditional_t<sizeof(T) < 8, int32_t, int64_t>;
    const F above = F(Limits::max() / 2 + 1) * 2, below = F(Limits::min()) - 1;
    const T inside = T(Wide(x > below && x < above ? x : F(0)));
    return x >= above ? Limits::max() : x <= below ? Limits::min() : inside;
}

// Of a non-negative by a positive integer.
template <typename T>
ATTN_LANE T ceil_div(T a, T b) {
    return (a + b - 1) / b;
}

// By doubles, which hold every 32-bit quotient apart from its neighbours: vectors have no integer division.
ATTN_LANE int32_t floor_div(int32_t a, int32_t b) {
    const int32_t quotient = int32_t(__builtin_floor(double(a) / double(b == 0 ? 1 : b)));
    return b == 0 ? 0 : quotient;
}
ATTN_LANE int32_t floor_mod(int32_t a, int32_t b) {
    const int32_t rest = int32_t(uint32_t(a) - uint32_t(floor_div(a, b)) * uint32_t(b));
    return b == 0 ? 0 : rest;
}
ATTN_LANE int64_t floor_mod(int64_t a, int64_t b) {
    const int64_t divisor = b == 0 || b == -1 ? 1 : b, rest = a % divisor;  // the least by -1 is no quotient
    return rest != 0 && (rest < 0) != (divisor < 0) ? rest + divisor : rest;
}
ATTN_LANE int64_t floor_div(int64_t a, int64_t b) {
    const int64_t divisor = b == 0 || b == -1 ? 1 : b, quotient = a / divisor;
    const int64_t rest = wrapping_sub(a, wrapping_mul(quotient, divisor));
    const int64_t down = rest != 0 && (rest < 0) != (divisor < 0) ? quotient - 1 : quotient;
    return b == 0 ? 0 : b == -1 ? wrapping_neg(a) : down;
}

// A negative power of what is not 1 or -1 is cut to 0.
ATTN_LANE int64_t power_(int64_t a, int64_t b) {
    int64_t result = 1, square = a;
    for (uint64_t rest = b < 0 ? 0 : uint64_t(b); rest != 0; rest >>= 1) {
        result = (rest & 1) != 0 ? wrapping_mul(result, square) : result;
        square = wrapping_mul(square, square);
    }
    const int64_t inverse = a == 1 ? 1 : a == -1 ? ((b & 1) != 0 ? -1 : 1) : 0;
    return b < 0 ? inverse : result;
}

// ---- division of reals that rounds down: the remainder is exact, and has the sign of the divisor ----

ATTN_LANE float floor_(float x) { return __builtin_floorf(x); }
ATTN_LANE double floor_(double x) { return __builtin_floor(x); }

ATTN_LANE double remainder_of(double a, double b) { return __builtin_fmod(a, b); }
#ifdef __FMA__
// 52 bits of the quotient at a time, from the highest that two floats can have. Each difference is exact: it is a
// multiple of the last bit of one of them, and less than four divisors.
ATTN_LANE float remainder_of(float a, float b) {
    const double divisor = __builtin_fabs(double(b)), inverse = 1 / divisor;
    double rest = __builtin_fabs(double(a));
    rest = __builtin_fma(-__builtin_trunc(rest * 0x1p-260 * inverse), divisor * 0x1p260, rest);
    rest = __builtin_fma(-__builtin_trunc(rest * 0x1p-208 * inverse), divisor * 0x1p208, rest);
    rest = __builtin_fma(-__builtin_trunc(rest * 0x1p-156 * inverse), divisor * 0x1p156, rest);
    rest = __builtin_fma(-__builtin_trunc(rest * 0x1p-104 * inverse), divisor * 0x1p104, rest);
    rest = __builtin_fma(-__builtin_trunc(rest * 0x1p-52 * inverse), divisor * 0x1p52, rest);
    rest = __builtin_fma(-__builtin_trunc(rest * inverse), divisor, rest);
    rest = rest < 0 ? rest + divisor : rest;
    rest = rest < 0 ? rest + divisor : rest;
    rest = rest >= divisor ? rest - divisor : rest;
    rest = rest >= divisor ? rest - divisor : rest;
    const float found = __builtin_copysignf(float(rest), a);
    return abs_(b) == INFINITY && abs_(a) < INFINITY ? a : found;
}
#else
ATTN_LANE float remainder_of(float a, float b) { return __builtin_fmodf(a, b); }
#endif

template <typename T>
ATTN_LANE T floor_mod(T a, T b) {
    const T rest = remainder_of(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
// The quotient of what the remainder leaves is a whole number but for rounding.
template <typename T>
ATTN_LANE T floor_div(T a, T b) {
    const T rest = remainder_of(a, b);
    const T exact = (a - rest) / b - T(rest != 0 && (rest < 0) != (b < 0));
    const T low = floor_(exact), whole = exact - low > T(0.5) ? low + 1 : low;
    return b == 0 ? a / b : whole;
}

// ---- exponentials ----

// Adding 1.5 * 2^23 leaves the nearest integer in the low bits; shifted, those are an exponent to add.
constexpr float ROUNDING = 12582912.f;

ATTN_LANE float scaled(float mantissa, float rounded) {
    return as_float(as_bits(mantissa) + int32_t(uint32_t(as_bits(rounded)) << 23));
}

ATTN_LANE float exp2_fraction(float f) {
    float p = 1.534580806e-4f;
    p = p * f + 1.339993090e-3f;
    p = p * f + 9.618489072e-3f;
    p = p * f + 5.550328642e-2f;
    p = p * f + 2.402264625e-1f;
    p = p * f + 6.931471825e-1f;
    return p * f + 1.f;
}

ATTN_LANE float exp2_(float x) {
    const float rounded = x + ROUNDING;
    const float result = scaled(exp2_fraction(x - (rounded - ROUNDING)), rounded);
    return x < 128.f ? (x < -126.f ? 0.f : result) : x + INFINITY;
}

ATTN_LANE float exp_(float x) {
    const float rounded = x * 1.44269504f + ROUNDING, n = rounded - ROUNDING;
    const float f = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.383683411e-3f;
    p = p * f + 8.374822326e-3f;
    p = p * f + 4.166822508e-2f;
    p = p * f + 1.666641980e-1f;
    p = p * f + 4.999999106e-1f;
    p = p * f + 1.f;
    const float result = scaled(p * f + 1.f, rounded);
    return x < 88.7228394f ? (x < -87.3365402f ? 0.f : result) : x + INFINITY;
}

ATTN_LANE float expm1_(float x) {
    float p = 2.480158730e-5f;
    p = p * x + 1.984126984e-4f;
    p = p * x + 1.388888889e-3f;
    p = p * x + 8.333333333e-3f;
    p = p * x + 4.166666667e-2f;
    p = p * x + 1.666666667e-1f;
    p = p * x + 5.000000000e-1f;
    const float near = p * (x * x) + x;
    return abs_(x) < 0.5f ? near : exp_(x) - 1.f;
}

// ---- logarithms ----

// log(m) for m near 1: 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.18.
ATTN_LANE float log_near_one(float s) {
    const float t = s * s;
    float p = 1.f / 9;
    p = p * t + 1.f / 7;
    p = p * t + 1.f / 5;
    p = p * t + 1.f / 3;
    return 2.f * s + 2.f * s * (p * t);
}

struct Logarithm {
    float exponent, mantissa;  // of a positive x: log(x) = exponent * log(2) + log(mantissa)
};

ATTN_LANE Logarithm parted(float x) {
    const bool tiny = x < 1.17549435e-38f;
    const int32_t bits = as_bits(tiny ? x * 8388608.f : x);
    const int32_t exponent = (bits - 0x3f3504f3) >> 23;  // of a mantissa between sqrt(1/2) and sqrt(2)
    return {float(exponent - (tiny ? 23 : 0)), as_float(bits - int32_t(uint32_t(exponent) << 23))};
}

ATTN_LANE float log_special(float x, float result) {
    const float beyond = x == 0.f ? -INFINITY : x < 0.f ? NAN : x;  // +inf and NaN are their own logarithms
    return x > 0.f && x < INFINITY ? result : beyond;
}

ATTN_LANE float log_(float x) {
    const Logarithm p = parted(x);
    const float m = log_near_one((p.mantissa - 1.f) / (p.mantissa + 1.f));
    return log_special(x, p.exponent * 0.693359375f + (m - p.exponent * 2.12194440e-4f));
}

ATTN_LANE float log2_(float x) {
    const Logarithm p = parted(x);
    const float m = log_near_one((p.mantissa - 1.f) / (p.mantissa + 1.f));
    return log_special(x, p.exponent + m * 1.44269504f);
}

ATTN_LANE float log1p_(float x) {
    const float s = x / (2.f + x), t = s * s;
    float p = 1.f / 13;
    p = p * t + 1.f / 11;
    p = p * t + 1.f / 9;
    p = p * t + 1.f / 7;
    p = p * t + 1.f / 5;
    p = p * t + 1.f / 3;
    return abs_(x) < 0.4f ? 2.f * s + 2.f * s * (p * t) : log_(1.f + x);
}

// ---- what stands on them ----

ATTN_LANE float sigmoid_(float x) { return 1.f / (1.f + exp_(-x)); }
ATTN_LANE float softplus_(float x) { return maximum(x, 0.f) + log1p_(exp_(-abs_(x))); }
ATTN_LANE float tanh_(float x) {
    const float e = expm1_(-2.f * abs_(x)), t = -e / (2.f + e);
    return x < 0.f ? -t : t;
}

// x P(x^2) / Q(x^2) on [-4, 4]; beyond, 1 to the last bit.
ATTN_LANE float erf_(float x) {
    const float c = clamp_(x, -4.f, 4.f), t = c * c;
    float p = -2.72614225801306e-10f;
    p = p * t + 2.77068142495902e-08f;
    p = p * t + -2.10102402082508e-06f;
    p = p * t + -5.69250639462346e-05f;
    p = p * t + -7.34990630326855e-04f;
    p = p * t + -2.95459980854025e-03f;
    p = p * t + -1.60960333262415e-02f;
    float q = -1.45660718464996e-05f;
    q = q * t + -2.13374055278905e-04f;
    q = q * t + -1.68282697438203e-03f;
    q = q * t + -7.37332916720468e-03f;
    q = q * t + -1.42647390514189e-02f;
    return c * (p / q);
}

ATTN_LANE float sqrt_(float x) { return __builtin_sqrtf(x); }
ATTN_LANE float rsqrt_(float x) { return 1.f / sqrt_(x); }
ATTN_LANE float silu_(float x) { return x * sigmoid_(x); }
ATTN_LANE float gelu_(float x) { return 0.5f * x * (1.f + erf_(x * 0.707106781f)); }

// The quarter turn an angle lies in, and what is left of it, reduced in doubles.
struct Turn {
    int32_t quarter;
    float rest;
};

ATTN_LANE Turn turned(float x) {
    const double magic = 6755399441055744.0;  // 1.5 * 2^52
    const double rounded = double(x) * 0.6366197723675814 + magic, n = rounded - magic;
#ifdef __FMA__  // no product is rounded: to |x| = 2^51
    const double rest = __builtin_fma(-n, 6.123233995736766e-17, __builtin_fma(-n, 1.5707963267948966, double(x)));
#else
    const double rest = (double(x) - n * 1.5707963267948966) - n * 6.123233995736766e-17;
#endif
    return {int32_t(__builtin_bit_cast(int64_t, rounded)), float(rest)};
}

ATTN_LANE float sine_or_cosine(Turn turn, int32_t shift) {
    const int32_t quarter = turn.quarter + shift;
    const float r = turn.rest, t = r * r;
    float s = -1.950148293e-4f;
    s = s * t + 8.332014084e-3f;
    s = s * t + -1.666665077e-1f;
    s = s * (t * r) + r;
    float c = 2.437224612e-5f;
    c = c * t + -1.388652483e-3f;
    c = c * t + 4.166661203e-2f;
    c = c * (t * t) - 0.5f * t + 1.f;
    const float value = (quarter & 1) != 0 ? c : s;
    return (quarter & 2) != 0 ? -value : value;
}

ATTN_LANE float sin_(float x) { return sine_or_cosine(turned(x), 0); }
ATTN_LANE float cos_(float x) { return sine_or_cosine(turned(x), 1); }
ATTN_LANE float tan_(float x) {
    const Turn turn = turned(x);
    return sine_or_cosine(turn, 0) / sine_or_cosine(turn, 1);
}

// Angles that the reduction above is not exact for. Infinities are NaN as it is.
#ifdef __FMA__
constexpr float FARTHEST = 0x1p50f;
#else
constexpr float FARTHEST = 1e8f;
#endif
ATTN_LANE int32_t is_far(float x) { return abs_(x) > FARTHEST && abs_(x) < INFINITY ? 1 : 0; }
ATTN_LANE float sin_of_any(float x) { return float(__builtin_sin(double(x))); }
ATTN_LANE float cos_of_any(float x) { return float(__builtin_cos(double(x))); }
ATTN_LANE float tan_of_any(float x) { return float(__builtin_tan(double(x))); }

// |a|^b by a logarithm in doubles: b multiplies its error.
ATTN_LANE float magnitude_power(float a, float b) {
    const Logarithm p = parted(a);
    const double m = p.mantissa, s = (m - 1) / (m + 1), t = s * s;
    double series = 1.0 / 15;
    series = series * t + 1.0 / 13;
    series = series * t + 1.0 / 11;
    series = series * t + 1.0 / 9;
    series = series * t + 1.0 / 7;
    series = series * t + 1.0 / 5;
    series = series * t + 1.0 / 3;
    const double logarithm = p.exponent + (2 * s + 2 * s * (series * t)) * 1.4426950408889634;
    const double product = logarithm * b;
    const float exponent = product < -200 ? -200.f : product > 200 ? 200.f : float(product);
    const float rounded = exponent + ROUNDING;
    const float result = scaled(exp2_fraction(float(product - double(rounded - ROUNDING))), rounded);
    const float finite = exponent < 128.f ? (exponent < -126.f ? 0.f : result) : INFINITY;
    const float of_zero = b < 0.f ? INFINITY : 0.f, of_infinity = b < 0.f ? 0.f : INFINITY;
    return a == 0.f ? of_zero : a == INFINITY ? of_infinity : product == product ? finite : NAN;
}

ATTN_LANE float power_(float a, float b) {
    const float size = magnitude_power(abs_(a), b);
    const bool whole = floor_(b) == b, odd = b - 2.f * floor_(b * 0.5f) == 1.f;
    const float signed_ = odd ? __builtin_copysignf(size, a) : size;
    const float of_negative = abs_(a) == 1.f && abs_(b) == INFINITY ? 1.f : whole || a == -INFINITY ? signed_ : NAN;
    const float result = a == a && b == b ? (a < 0.f ? of_negative : signed_) : NAN;
    return b == 0.f || a == 1.f ? 1.f : result;
}

// ---- doubles ----

ATTN_LANE double exp2_(double x) { return __builtin_exp2(x); }
ATTN_LANE double exp_(double x) { return __builtin_exp(x); }
ATTN_LANE double expm1_(double x) { return __builtin_expm1(x); }
ATTN_LANE double log_(double x) { return __builtin_log(x); }
ATTN_LANE double log2_(double x) { return __builtin_log2(x); }
ATTN_LANE double log1p_(double x) { return __builtin_log1p(x); }
ATTN_LANE double tanh_(double x) { return __builtin_tanh(x); }
ATTN_LANE double erf_(double x) { return __builtin_erf(x); }
ATTN_LANE double sin_(double x) { return __builtin_sin(x); }
ATTN_LANE double cos_(double x) { return __builtin_cos(x); }
ATTN_LANE double tan_(double x) { return __builtin_tan(x); }
ATTN_LANE double sqrt_(double x) { return __builtin_sqrt(x); }
ATTN_LANE double rsqrt_(double x) { return 1 / sqrt_(x); }
ATTN_LANE double power_(double a, double b) { return __builtin_pow(a, b); }
ATTN_LANE double sigmoid_(double x) { return 1 / (1 + __builtin_exp(-x)); }
ATTN_LANE double softplus_(double x) { return maximum(x, 0.0) + __builtin_log1p(__builtin_exp(-abs_(x))); }
ATTN_LANE double silu_(double x) { return x * sigmoid_(x); }
ATTN_LANE double gelu_(double x) { return 0.5 * x * (1 + __builtin_erf(x * 0.7071067811865476)); }

// ---- sixteen bits ----

ATTN_LANE float from_bf16(uint16_t bits) { return as_float(int32_t(uint32_t(bits) << 16)); }

ATTN_LANE uint16_t to_bf16(float x) {
    const uint32_t bits = uint32_t(as_bits(x));
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to nearest, ties to even
    return uint16_t(x == x ? rounded : 0x7fc0);
}

ATTN_LANE float from_f16(uint16_t bits) {
    const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = uint32_t(bits & 0x7fff) << 13;
    const float value = as_float(int32_t(rest)) * 0x1p112f;  // exact, of denormals too
    const uint32_t special = (bits & 0x7c00) == 0x7c00 ? rest | 0x7f800000u : uint32_t(as_bits(value));
    return as_float(int32_t(special | sign));
}

ATTN_LANE uint16_t to_f16(float x) {
    const uint32_t bits = uint32_t(as_bits(x)), sign = (bits >> 16) & 0x8000, size = bits & 0x7fffffff;
    const uint32_t denormal = uint32_t(as_bits(as_float(int32_t(size)) + 0.5f)) - 0x3f000000u;
    const uint32_t normal = (size - 0x38000000u + 0xfff + ((size >> 13) & 1)) >> 13;
    const uint32_t large = size > 0x7f800000u ? 0x7e00u : 0x7c00u;
    const uint32_t result = size >= 0x47800000u ? large : size < 0x38800000u ? denormal : normal;
    return uint16_t(result | sign);
}

ATTN_LANE float round_bf16(float x) { return from_bf16(to_bf16(x)); }
ATTN_LANE float round_f16(float x) { return from_f16(to_f16(x)); }

// ---- random numbers ----

// Philox4x32-10 (Salmon et al., 2011): the first word of the counter under the key, as 24 bits of [0, 1).
ATTN_LANE float uniform_(int64_t seed, int32_t c0, int32_t c1, int32_t c2, int32_t c3) {
    uint32_t x0 = uint32_t(c0), x1 = uint32_t(c1), x2 = uint32_t(c2), x3 = uint32_t(c3);
    uint32_t k0 = uint32_t(uint64_t(seed)), k1 = uint32_t(uint64_t(seed) >> 32);
    for (int round = 0; round < 10; ++round) {
        const uint64_t a = uint64_t(0xD2511F53u) * x0, b = uint64_t(0xCD9E8D57u) * x2;
        const uint32_t y0 = uint32_t(b >> 32) ^ x1 ^ k0, y2 = uint32_t(a >> 32) ^ x3 ^ k1;
        x1 = uint32_t(b);
        x3 = uint32_t(a);
        x0 = y0;
        x2 = y2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return float(x0 >> 8) * 0x1p-24f;
}

}  // namespace attn
