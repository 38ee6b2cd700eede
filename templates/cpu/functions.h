#pragma once
#include <cmath>
#include <cstdint>
#define INL static inline __attribute__((always_inline))
namespace attn {
INL float exp2_(float x) {
    const float t = x + 12582912.f, n = t - 12582912.f, f = x - n;
    float p = 1.5403530393381606e-4f;
    p = p * f + 1.3333558146428443e-3f; p = p * f + 9.618129107628477e-3f; p = p * f + 5.550410866482158e-2f;
    p = p * f + 2.402265069591007e-1f; p = p * f + 6.931471805599453e-1f; p = p * f + 1.f;
    const int32_t bits = __builtin_bit_cast(int32_t, p) + int32_t(uint32_t(__builtin_bit_cast(int32_t, t)) << 23);
    float r = __builtin_bit_cast(float, bits);
    r = x < -126.f ? 0.f : r;
    return x < 128.f ? r : x + INFINITY;
}
INL double exp2_(double x) { return std::exp2(x); }
template <typename T> INL T maximum(T a, T b) { if constexpr (T(0.5) != T(0)) { T m = a > b ? a : b; return a == a ? m : a; } else return a > b ? a : b; }
template <typename T> INL T minimum(T a, T b) { if constexpr (T(0.5) != T(0)) { T m = a < b ? a : b; return a == a ? m : a; } else return a < b ? a : b; }
INL float sqrt_(float x) { return std::sqrt(x); }
INL double sqrt_(double x) { return std::sqrt(x); }
#define BOTH(name, expr) INL float name(float x) { return float(expr); } INL double name(double x) { return expr; }
BOTH(exp_, std::exp(x)) BOTH(expm1_, std::expm1(x)) BOTH(log_, std::log(x)) BOTH(log2_, std::log2(x)) BOTH(log1p_, std::log1p(x))
BOTH(sin_, std::sin(x)) BOTH(cos_, std::cos(x)) BOTH(tan_, std::tan(x)) BOTH(tanh_, std::tanh(x)) BOTH(erf_, std::erf(x))
BOTH(sigmoid_, 1 / (1 + std::exp(-x))) BOTH(softplus_, maximum(x, decltype(x)(0)) + std::log1p(std::exp(-std::fabs(x))))
BOTH(rsqrt_, 1 / std::sqrt(x)) BOTH(floor_, std::floor(x)) BOTH(silu_, x / (1 + std::exp(-x))) BOTH(gelu_, x * 0.5 * (1 + std::erf(x * 0.7071067811865476)))
template <typename T> INL T abs_(T x) { return x < 0 ? -x : x; }
template <typename T> INL T relu_(T x) { return maximum(x, T(0)); }
template <typename T> INL T clamp_(T x, T lo, T hi) { return minimum(maximum(x, lo), hi); }
INL int32_t floor_mod(int32_t a, int32_t b) { return ((a % b) + b) % b; } INL int64_t floor_mod(int64_t a, int64_t b) { return ((a % b) + b) % b; }
INL int32_t floor_div(int32_t a, int32_t b) { return (a - floor_mod(a, b)) / b; } INL int64_t floor_div(int64_t a, int64_t b) { return (a - floor_mod(a, b)) / b; }
INL float floor_div(float a, float b) { return std::floor(a / b); } INL double floor_div(double a, double b) { return std::floor(a / b); }
INL float floor_mod(float a, float b) { return a - std::floor(a / b) * b; } INL double floor_mod(double a, double b) { return a - std::floor(a / b) * b; }
INL float power_(float a, float b) { return std::pow(a, b); } INL double power_(double a, double b) { return std::pow(a, b); }
INL float from_bf16(uint16_t u) { return __builtin_bit_cast(float, uint32_t(u) << 16); }
INL uint16_t to_bf16(float x) { uint32_t u = __builtin_bit_cast(uint32_t, x); uint32_t r = (u + 0x7fff + ((u >> 16) & 1)) >> 16; return x == x ? r : 0x7fc0; }
INL float from_f16(uint16_t u) { return float(__builtin_bit_cast(_Float16, u)); }
INL uint16_t to_f16(float x) { return __builtin_bit_cast(uint16_t, _Float16(x)); }
INL float round_bf16(float x) { return from_bf16(to_bf16(x)); } INL float round_f16(float x) { return from_f16(to_f16(x)); }
INL float uniform_(int64_t, int32_t, int32_t, int32_t, int32_t) { return 0; }
}
