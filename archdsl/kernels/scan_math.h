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
