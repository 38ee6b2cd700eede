// What generated kernels stand on: the product of two tiles, written once for every vector width.
//
// A tile keeps its rows (the queries of a program) innermost, so rows are the vector lanes of everything: the
// keys are broadcast, a maximum or a sum over keys is one vector operation a key, and neither keys nor values
// need packing or transposing. Vectors are GCC's and clang's vector extension, as wide as the target allows.
#pragma once

#include "functions.h"

// The lanes of an innermost loop do not depend on each other.
#if defined(__clang__)
#define ATTN_LANES _Pragma("clang loop vectorize(assume_safety)")
#else
#define ATTN_LANES _Pragma("GCC ivdep")
#endif

// With -DATTN_COUNT a module counts its multiply-adds, padding included, over all threads: attn_multiply_adds() tells
// how many there were since it was last asked. The tests of the account of costs hold it to this; else it is nothing.
#if defined(ATTN_COUNT)
#include <atomic>
namespace attn {
static std::atomic<int64_t> multiply_adds{0};
}
#define ATTN_COUNTED(n) attn::multiply_adds.fetch_add(n, std::memory_order_relaxed)
extern "C" int64_t attn_multiply_adds() { return attn::multiply_adds.exchange(0); }
#else
#define ATTN_COUNTED(n)
#endif

namespace attn {

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64;
constexpr int VECTOR_REGISTERS = 32;
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32;
constexpr int VECTOR_REGISTERS = 16;
#else
constexpr int VECTOR_BYTES = 16;
constexpr int VECTOR_REGISTERS = 32;
#endif

template <typename T>
struct Vector {
    typedef T type __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(T)), may_alias));
    static constexpr int lanes = VECTOR_BYTES / sizeof(T);
};

template <typename T, int N>
static inline void fill(T (&lanes)[N], T value) {
    ATTN_LANES
    for (int n = 0; n < N; ++n) lanes[n] = value;
}

template <typename T, typename Row, int M>
static inline void fill(Row (&rows)[M], T value) {
    for (int m = 0; m < M; ++m) fill(rows[m], value);
}

template <typename T, int K, int L, int M, int N>
static inline void fill(T (&lanes)[K][L][M][N], T value) {
    for (int k = 0; k < K; ++k) fill(lanes[k], value);
}

// A real argument, which travels as the bits of a double.
static inline double from_word(int64_t word) {
    double value;
    __builtin_memcpy(&value, &word, sizeof value);
    return value;
}

// out[n][i] (+)= sum over k of a[k][i] * b[n][k], for R vectors of i and N values of n held in registers.
template <int R, int N, bool ADD, typename T>
static inline __attribute__((always_inline)) void register_block(
    const T* a, int64_t a_k, const T* b, int64_t b_n, int64_t b_k, int64_t K, T* out, int64_t out_n) {
    using V = typename Vector<T>::type;
    constexpr int W = Vector<T>::lanes;
    V sum[N][R];
#pragma GCC unroll 32
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sum[n][r] = ADD ? *reinterpret_cast<const V*>(out + n * out_n + r * W) : V{};
    for (int64_t k = 0; k < K; ++k) {
        V x[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) x[r] = *reinterpret_cast<const V*>(a + k * a_k + r * W);
#pragma GCC unroll 32
        for (int n = 0; n < N; ++n) {
            const T y = b[n * b_n + k * b_k];
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) sum[n][r] += x[r] * y;
        }
    }
#pragma GCC unroll 32
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) *reinterpret_cast<V*>(out + n * out_n + r * W) = sum[n][r];
}

// The same for I rows (whole vectors) and N columns, block by block. Strides are in elements; i has stride 1.
template <int I, int N, bool ADD, typename T>
static inline void multiply(
    const T* a, int64_t a_k, const T* b, int64_t b_n, int64_t b_k, int64_t K, T* out, int64_t out_n) {
    constexpr int W = Vector<T>::lanes;
    static_assert(I % W == 0, "rows fill whole vectors");
    ATTN_COUNTED(int64_t(I) * N * K);
    // Sums fill three quarters of the registers; the rest hold a vector of rows and a broadcast.
    constexpr int R = I / W % 4 == 0 && VECTOR_REGISTERS == 32 ? 4 : I / W % 2 == 0 ? 2 : 1;
    constexpr int COLUMNS = VECTOR_REGISTERS * 3 / 4 / R;
    for (int i = 0; i < I; i += R * W) {
        int n = 0;
        for (; n + COLUMNS <= N; n += COLUMNS)
            register_block<R, COLUMNS, ADD>(a + i, a_k, b + n * b_n, b_n, b_k, K, out + n * out_n + i, out_n);
        if constexpr (N % COLUMNS != 0)
            register_block<R, N % COLUMNS, ADD>(a + i, a_k, b + n * b_n, b_n, b_k, K, out + n * out_n + i, out_n);
    }
}

// Whether no value of an operand is infinite or NaN.
template <int N, typename T>
ATTN_LANE bool is_finite(const T* b, int64_t b_n, int64_t b_k, int64_t K) {
    using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
    constexpr Bits exponent = sizeof(T) == 4 ? Bits(0x7f800000) : Bits(0x7ff0000000000000);
    const bool along_k = b_k == 1;
    const int64_t outer = along_k ? N : K, inner = along_k ? K : N;
    const int64_t step = along_k ? b_n : b_k, lane = along_k ? b_k : b_n;
    Bits largest = 0;
    for (int64_t m = 0; m < outer; ++m)
        for (int64_t l = 0; l < inner; ++l) {
            const Bits size = __builtin_bit_cast(Bits, b[m * step + l * lane]) & exponent;
            largest = size > largest ? size : largest;
        }
    return largest != exponent;
}

// An array with its lanes the other way: rows, over which a product sums, no longer lie innermost.
template <typename T, int M, int N>
static inline void transpose(const T (&lanes)[M][N], T (&out)[N][M]) {
    for (int n = 0; n < N; ++n) {
        ATTN_LANES
        for (int m = 0; m < M; ++m) out[n][m] = lanes[m][n];
    }
}

// As multiply, without the products of lanes of a that do not count, which hold -0 (others never do): 0 * NaN is NaN.
template <int I, int N, bool ADD, typename T>
static inline void multiply_counted(
    const T* a, int64_t a_k, const T* b, int64_t b_n, int64_t b_k, int64_t K, T* out, int64_t out_n) {
    ATTN_COUNTED(int64_t(I) * N * K);
    for (int n = 0; n < N; ++n)
        for (int64_t k = 0; k < K; ++k) {
            const T y = b[n * b_n + k * b_k];
            for (int i = 0; i < I; ++i) {
                const T x = a[k * a_k + i], sum = ADD || k > 0 ? out[n * out_n + i] : T(0);
                out[n * out_n + i] = x == T(0) && __builtin_signbit(x) ? sum : sum + x * y;
            }
        }
}

}  // namespace attn
