/* Sums over vectors for scans: what a compiler may not reorder by itself without -ffast-math, and would do one number at a time. */
#define LANES (64 / (int)sizeof(real))
#define ALIGNED __attribute__((aligned(64)))

#ifdef __AVX512F__
#include <immintrin.h>
#endif

/* The sum of LANES numbers, as a tree. */
static inline real lanes(real *a) {
#if defined(__AVX512F__) && defined(REAL64)
    return _mm512_reduce_add_pd(_mm512_load_pd(a));
#elif defined(__AVX512F__)
    return _mm512_reduce_add_ps(_mm512_load_ps(a));
#else
    for (int w = LANES / 2; w; w /= 2)
        for (int l = 0; l < w; l++) a[l] += a[l + w];
    return a[0];
#endif
}

typedef real vec __attribute__((vector_size(64), aligned(sizeof(real)), may_alias));
#define VEC(entry) (*(vec *)&(entry))

/* The sum of a vector's numbers. */
static inline __attribute__((always_inline)) real total(vec a) {
    real all[LANES] ALIGNED;
    *(vec *)all = a;
    return lanes(all);
}

#ifdef DENSE
/* y[w][c] = or += the sum over r of x[w][r] * m[r][c], for `wide` sequences at once: a row of m is read once for all of them. */
#define INLINE static inline __attribute__((always_inline))

INLINE void dense_tile(const int W, const int V, int rows, int cols, const real *m, const real *const *x, real *const *y, int c, int fresh) {
    vec sum[4][4];
#pragma GCC unroll 4
    for (int w = 0; w < W; w++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) sum[w][v] = (vec){0};
    for (int r = 0; r < rows; r++) {
        const vec *row = (const vec *)(m + (long)r * cols + c);
#pragma GCC unroll 4
        for (int w = 0; w < W; w++)
#pragma GCC unroll 4
            for (int v = 0; v < V; v++) sum[w][v] += x[w][r] * row[v];
    }
#pragma GCC unroll 4
    for (int w = 0; w < W; w++)
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) {
            vec *to = (vec *)(y[w] + c) + v;
            if (!fresh) sum[w][v] += *to;
            *to = sum[w][v];
        }
}

INLINE void dense_some(const int W, int rows, int cols, const real *m, const real *const *x, real *const *y, int fresh) {
    int c = 0;
    for (; c + 4 * LANES <= cols; c += 4 * LANES) dense_tile(W, 4, rows, cols, m, x, y, c, fresh);
    for (; c + LANES <= cols; c += LANES) dense_tile(W, 1, rows, cols, m, x, y, c, fresh);
    if (c < cols)
        for (int w = 0; w < W; w++) {
            real sum[LANES] ALIGNED = {0};
            for (int r = 0; r < rows; r++)
                for (int k = 0; k < cols - c; k++) sum[k] += x[w][r] * m[(long)r * cols + c + k];
            for (int k = 0; k < cols - c; k++) y[w][c + k] = fresh ? sum[k] : y[w][c + k] + sum[k];
        }
}

static inline void dense(int rows, int cols, const real *m, const real *const *x, real *const *y, int wide, int fresh) {
    for (; wide >= 4; wide -= 4, x += 4, y += 4) dense_some(4, rows, cols, m, x, y, fresh);
    if (wide >= 2) {
        dense_some(2, rows, cols, m, x, y, fresh);
        wide -= 2, x += 2, y += 2;
    }
    if (wide) dense_some(1, rows, cols, m, x, y, fresh);
}
#endif
