// Products of tiles whose operands are bfloat16: two elements of the sum at once, where the processor can.
//
// The operands come as floats, which the values of bf16 inputs are; weights computed in f32 are rounded to bf16, as
// a GPU's matrix units have it. Pairs of neighbours along the sum are packed into words, panel by panel.
#pragma once

#include "tiles.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>

namespace attn {

constexpr int PANEL_DEPTH = 128;   // elements of the sum in a panel: 16 KiB of rows stay in the first cache
constexpr int PANEL_COLUMNS = 48;  // a multiple of the columns of a register block, and of a vector

// Sixteen words of two rows, the lower row in the lower half.
static inline __m512i paired(const float* low, const float* high) {
    const __m256i below = (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(low));
    const __m256i above = high ? (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(high)) : _mm256_setzero_si256();
    return _mm512_or_si512(_mm512_cvtepu16_epi32(below), _mm512_slli_epi32(_mm512_cvtepu16_epi32(above), 16));
}

static inline uint32_t paired_one(float low, float high) {
    const __m128i words = (__m128i)_mm_cvtneps_pbh(_mm_setr_ps(low, high, 0.0f, 0.0f));
    return uint32_t(_mm_cvtsi128_si32(words));
}

// words[p][lane] of rows x[2 p], x[2 p + 1]; lanes of a row are neighbours.
static inline void pack_rows(const float* x, int64_t stride, int depth, int lanes, uint32_t* words, int64_t pitch) {
    for (int k = 0; k < depth; k += 2) {
        const float* low = x + k * stride;
        const float* high = k + 1 < depth ? low + stride : nullptr;
        uint32_t* out = words + (k / 2) * pitch;
        int lane = 0;
        for (; lane + 16 <= lanes; lane += 16)
            _mm512_storeu_si512(out + lane, paired(low + lane, high ? high + lane : nullptr));
        for (; lane < lanes; ++lane) out[lane] = paired_one(low[lane], high ? high[lane] : 0.0f);
    }
}

// words[p][n] of columns b[n][2 p], b[n][2 p + 1], whatever their strides.
static inline void pack_columns(
    const float* b, int64_t b_n, int64_t b_k, int depth, int columns, uint32_t* words, int64_t pitch) {
    if (b_n == 1) return pack_rows(b, b_k, depth, columns, words, pitch);
    for (int n = 0; n < columns; ++n)
        for (int k = 0; k < depth; k += 2) {
            const float high = k + 1 < depth ? b[n * b_n + (k + 1) * b_k] : 0.0f;
            words[(k / 2) * pitch + n] = paired_one(b[n * b_n + k * b_k], high);
        }
}

template <int R, int N>
static inline __attribute__((always_inline)) void register_block_bf16(
    const uint32_t* a, int64_t a_p, const uint32_t* b, int64_t b_p, int pairs, float* out, int64_t out_n, bool add) {
    __m512 sum[N][R];
#pragma GCC unroll 32
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) sum[n][r] = add ? _mm512_loadu_ps(out + n * out_n + r * 16) : _mm512_setzero_ps();
    for (int p = 0; p < pairs; ++p) {
        __m512i x[R];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) x[r] = _mm512_loadu_si512(a + p * a_p + r * 16);
#pragma GCC unroll 32
        for (int n = 0; n < N; ++n) {
            const __m512i y = _mm512_set1_epi32(int(b[p * b_p + n]));
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r) sum[n][r] = _mm512_dpbf16_ps(sum[n][r], (__m512bh)x[r], (__m512bh)y);
        }
    }
#pragma GCC unroll 32
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) _mm512_storeu_ps(out + n * out_n + r * 16, sum[n][r]);
}

// As multiply, of operands that are bfloat16.
template <int I, int N, bool ADD>
static inline void multiply_bf16(
    const float* a, int64_t a_k, const float* b, int64_t b_n, int64_t b_k, int64_t K, float* out, int64_t out_n) {
    constexpr int R = I / 16 % 4 == 0 ? 4 : I / 16 % 2 == 0 ? 2 : 1;
    constexpr int COLUMNS = 24 / R;
    static_assert(I % 16 == 0 && PANEL_COLUMNS % COLUMNS == 0, "blocks fill panels");
    ATTN_COUNTED(int64_t(I) * N * K);
    alignas(64) uint32_t rows[PANEL_DEPTH / 2][I];
    alignas(64) uint32_t columns[PANEL_DEPTH / 2][PANEL_COLUMNS];
    if (K <= 0 && !ADD)
        for (int n = 0; n < N; ++n)
            for (int i = 0; i < I; ++i) out[n * out_n + i] = 0.0f;
    for (int64_t k = 0; k < K; k += PANEL_DEPTH) {
        const int depth = int(K - k < PANEL_DEPTH ? K - k : PANEL_DEPTH), pairs = (depth + 1) / 2;
        const bool add = ADD || k > 0;
        pack_rows(a + k * a_k, a_k, depth, I, &rows[0][0], I);
        for (int n = 0; n < N; n += PANEL_COLUMNS) {
            const int count = N - n < PANEL_COLUMNS ? N - n : PANEL_COLUMNS;
            pack_columns(b + n * b_n + k * b_k, b_n, b_k, depth, count, &columns[0][0], PANEL_COLUMNS);
            for (int i = 0; i < I; i += R * 16) {
                int m = 0;
                for (; m + COLUMNS <= count; m += COLUMNS)
                    register_block_bf16<R, COLUMNS>(
                        &rows[0][i], I, &columns[0][m], PANEL_COLUMNS, pairs, out + (n + m) * out_n + i, out_n, add);
                if constexpr (N % PANEL_COLUMNS % COLUMNS != 0)
                    if (m < count)
                        register_block_bf16<R, N % PANEL_COLUMNS % COLUMNS>(
                            &rows[0][i], I, &columns[0][m], PANEL_COLUMNS, pairs, out + (n + m) * out_n + i, out_n, add);
            }
        }
    }
}

}  // namespace attn
#else

namespace attn {

// No such instructions: the same product in f32, which loses nothing.
template <int I, int N, bool ADD>
static inline void multiply_bf16(
    const float* a, int64_t a_k, const float* b, int64_t b_n, int64_t b_k, int64_t K, float* out, int64_t out_n) {
    multiply<I, N, ADD, float>(a, a_k, b, b_n, b_k, K, out, out_n);
}

}  // namespace attn
#endif
