/* Branch-free exp, log, tanh, erf and their like over `real` (float, or double with REAL64), written so that a compiler turns loops over them
   into vector code without -ffast-math. Errors are a few units in the last place; NaN and infinity behave as in <math.h>, except that exp
   gives 0 where its value would be subnormal. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef REAL64
typedef double real;
typedef int64_t bits;
#define ROUNDER 6755399441055744.0 /* 1.5 * 2^52: adding it leaves the nearest whole number in the low bits */
#define MANTISSA 52
#define BIAS 1023
#define EXP_LOW -708.39
#define EXP_HIGH 709.782712893384
#define LN2_HIGH 0x1.62e42fefa38p-1
#define LN2_LOW 0x1.ef35793c7673p-45
#define HALF_BITS 0x3fe6a09e667f3bcdLL /* sqrt(1/2) */
#define SMALLEST 0x1p-1022 /* normal number */
#define SCALE 54           /* bits that bring any smaller one up to it */
#else
typedef float real;
typedef int32_t bits;
#define ROUNDER 12582912.0f
#define MANTISSA 23
#define BIAS 127
#define EXP_LOW -87.33f
#define EXP_HIGH 88.722839f
#define LN2_HIGH 0x1.62ep-1f
#define LN2_LOW 0x1.0bfbe8p-15f
#define HALF_BITS 0x3f3504f3
#define SMALLEST 0x1p-126f
#define SCALE 24
#endif
#define R(x) ((real)(x))

static inline real from_bits(bits b) { real r; memcpy(&r, &b, sizeof r); return r; }
static inline bits to_bits(real r) { bits b; memcpy(&b, &r, sizeof b); return b; }

/* condition ? a : b without a branch in any form the compiler could split a loop by */
static inline real pick(int condition, real a, real b) {
    bits mask = -(bits)condition;
    return from_bits((to_bits(a) & mask) | (to_bits(b) & ~mask));
}

static inline real m_abs(real x) { return sizeof(real) == 8 ? R(fabs(x)) : R(fabsf((float)x)); }
static inline real m_sqrt(real x) { return sizeof(real) == 8 ? R(sqrt(x)) : R(sqrtf((float)x)); }
static inline real m_floor(real x) { return sizeof(real) == 8 ? R(floor(x)) : R(floorf((float)x)); }
static inline real m_ceil(real x) { return sizeof(real) == 8 ? R(ceil(x)) : R(ceilf((float)x)); }
static inline real m_round(real x) { return sizeof(real) == 8 ? R(rint(x)) : R(rintf((float)x)); }
static inline real m_copysign(real x, real s) { return sizeof(real) == 8 ? R(copysign(x, s)) : R(copysignf((float)x, (float)s)); }
static inline real m_max(real a, real b) { return pick((a != a) | (a > b), a, b); }
static inline real m_min(real a, real b) { return pick((a != a) | (a < b), a, b); }
static inline real m_sign(real x) { return R((x > 0) - (x < 0)); }

/* exp(r) - 1 for |r| <= ln2 / 2, by its series */
static inline real series(real r) {
    real p;
#ifdef REAL64
    p = R(1.0 / 87178291200.0);
    p = p * r + R(1.0 / 6227020800.0);
    p = p * r + R(1.0 / 479001600.0);
    p = p * r + R(1.0 / 39916800.0);
    p = p * r + R(1.0 / 3628800.0);
    p = p * r + R(1.0 / 362880.0);
    p = p * r + R(1.0 / 40320.0);
#else
    p = R(1.0 / 40320.0);
#endif
    p = p * r + R(1.0 / 5040.0);
    p = p * r + R(1.0 / 720.0);
    p = p * r + R(1.0 / 120.0);
    p = p * r + R(1.0 / 24.0);
    p = p * r + R(1.0 / 6.0);
    p = p * r + R(0.5);
    return p * r * r + r;
}

/* x = n ln2 + r: gives exp(r) - 1, and 2^(n - 1) in `half` (so that 2^128 is never formed) */
static inline real reduced(real x, real *half) {
    real c = pick(x < R(EXP_LOW), R(EXP_LOW), x);
    c = pick(c > R(EXP_HIGH), R(EXP_HIGH), c);
    real t = c * R(1.4426950408889634) + R(ROUNDER);
    real n = t - R(ROUNDER);
    *half = from_bits((bits)((uint64_t)(to_bits(t) + (BIAS - 1)) << MANTISSA));
    return series((c - n * R(LN2_HIGH)) - n * R(LN2_LOW));
}

static inline real m_exp(real x) {
    real half, e = reduced(x, &half);
    real y = (half * e + half) * 2;
    y = pick(x > R(EXP_HIGH), R(INFINITY), y);
    return pick(x < R(EXP_LOW), R(0), y);
}

static inline real m_expm1(real x) {
    real half, e = reduced(x, &half);
    real y = (half * e + (half - R(0.5))) * 2;
    y = pick(x > R(EXP_HIGH), R(INFINITY), y);
    return pick(x < R(-40), R(-1), y);
}

/* log(u) + c / u for a finite normal u > 0; c repairs what rounding 1 + x to u has lost */
static inline real log_parts(real u, real c) {
    bits shift = (to_bits(u) - (bits)HALF_BITS) >> MANTISSA;
    real n = R(shift);
    real m = from_bits(to_bits(u) - (bits)((uint64_t)shift << MANTISSA));
    real f = m - 1, s = f / (f + 2), z = s * s, p;
#ifdef REAL64
    p = R(2.0 / 25);
    p = p * z + R(2.0 / 23);
    p = p * z + R(2.0 / 21);
    p = p * z + R(2.0 / 19);
    p = p * z + R(2.0 / 17);
    p = p * z + R(2.0 / 15);
    p = p * z + R(2.0 / 13);
    p = p * z + R(2.0 / 11);
#else
    p = R(2.0 / 11);
#endif
    p = p * z + R(2.0 / 9);
    p = p * z + R(2.0 / 7);
    p = p * z + R(2.0 / 5);
    p = p * z + R(2.0 / 3);
    real h = R(0.5) * f * f;
    return n * R(LN2_HIGH) + (f - (h - (s * (h + p * z) + (n * R(LN2_LOW) + c / u))));
}

static inline real log_edges(real u, real y) {
    y = pick(u == R(INFINITY), u, y);
    y = pick(u == 0, R(-INFINITY), y);
    return pick((u < 0) | (u != u), R(NAN), y);
}

static inline real m_log(real x) {
    int tiny = x < R(SMALLEST);
    real y = log_parts(pick(tiny, x * R(1LL << SCALE), x), 0);
    return log_edges(x, y - pick(tiny, R(SCALE * 0.6931471805599453), R(0)));
}

static inline real m_log1p(real x) {
    real u = 1 + x;
    real y = log_parts(u, x - (u - 1));
    return log_edges(u, pick(x == 0, x, y));
}

static inline real m_sigmoid(real x) {
    real e = m_exp(-m_abs(x));
    return pick(x >= 0, R(1), e) / (1 + e);
}

static inline real m_softplus(real x) { return m_max(x, 0) + m_log1p(m_exp(-m_abs(x))); }
static inline real m_logsigmoid(real x) { return -m_softplus(-x); }

static inline real m_tanh(real x) {
    real t = m_expm1(-2 * m_abs(x));
    return m_copysign(t / (t + 2), x);
}

/* Beyond 20 both are exp(|x|) / 2, taken as a square so that they overflow where they should. */
static inline real m_sinh(real x) {
    real a = m_abs(x), t = m_expm1(a), h = m_exp(R(0.5) * a);
    real y = pick(a > 20, R(0.5) * h * h, R(0.5) * (t + t / (t + 1)));
    return m_copysign(y, x);
}

static inline real m_cosh(real x) {
    real a = m_abs(x), e = m_exp(a), h = m_exp(R(0.5) * a);
    return pick(a > 20, R(0.5) * h * h, R(0.5) * (e + 1 / e));
}

#ifdef REAL64
static inline real m_erf(real x) { return erf(x); }
static inline real m_erfc(real x) { return erfc(x); }
#else
/* erfc(a) for 10.5 >= c = a >= 0.9, as exp(-c^2) times a polynomial in t = 1 / (1 + c / 2) fitted to 5e-10 */
static inline real erfc_tail(real c, real exponential) {
    real t = 1 / (1 + R(0.5) * c);
    real p = R(-0.06600487595);
    p = p * t + R(0.2057007881);
    p = p * t + R(-0.1714470071);
    p = p * t + R(-0.04711596903);
    p = p * t + R(0.01758744484);
    p = p * t + R(0.07064391467);
    p = p * t + R(0.1799981641);
    p = p * t + R(0.2462500317);
    p = p * t + R(0.2821444409);
    p = p * t + R(0.282093015);
    return exponential * p * t;
}

/* erf(x) for |x| <= 1, by its series */
static inline real erf_core(real x) {
    real z = x * x;
    real p = R(-1.0 / (39916800.0 * 23));
    p = p * z + R(1.0 / (3628800.0 * 21));
    p = p * z + R(-1.0 / (362880.0 * 19));
    p = p * z + R(1.0 / (40320.0 * 17));
    p = p * z + R(-1.0 / (5040.0 * 15));
    p = p * z + R(1.0 / (720.0 * 13));
    p = p * z + R(-1.0 / (120.0 * 11));
    p = p * z + R(1.0 / (24.0 * 9));
    p = p * z + R(-1.0 / (6.0 * 7));
    p = p * z + R(1.0 / (2.0 * 5));
    p = p * z + R(-1.0 / 3);
    return R(1.1283791670955126) * (x + x * (p * z));
}

static inline real m_erf(real x) {
    real a = m_abs(x), c = pick(a > R(10.5), R(10.5), a);
    real y = pick(a <= 1, erf_core(a), 1 - erfc_tail(c, m_exp(-c * c)));
    return pick(x != x, x, m_copysign(y, x));
}

static inline real m_erfc(real x) {
    real a = m_abs(x), c = pick(a > R(10.5), R(10.5), a);
    /* c^2 as a rounded number and the rest, which the exponential would magnify */
    real high = from_bits(to_bits(c) & ~0xfff), low = (c - high) * (c + high);
    real square = high * high + low, rest = low - (square - high * high);
    real tail = erfc_tail(c, m_exp(-square) * (1 - rest));
    real y = pick(a <= 1, 1 - erf_core(x), pick(x > 0, tail, 2 - tail));
    return pick(x != x, x, y);
}
#endif

/* What is rarely used: worked out in double, without vectors. */

/* The remainder with the sign of b. */
static inline real m_mod(real a, real b) {
    real r = sizeof(real) == 8 ? R(fmod(a, b)) : R(fmodf((float)a, (float)b));
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

/* The derivative of log |gamma|: reflected for x < 0, shifted up to 12, then the asymptotic series */
static inline real m_digamma(real x_) {
    double x = x_, y = 0;
    if (x == 0) return R(copysign(INFINITY, -x));
    if (x < 0) {
        double part = fmod(x, 1);
        if (part == 0 || part != part) return R(NAN);
        y = -M_PI / tan(M_PI * part);
        x = 1 - x;
    }
    for (; x < 12; x++) y -= 1 / x;
    double s = 1 / (x * x);
    return R(y + log(x) - 0.5 / x - s * (1.0 / 12 - s * (1.0 / 120 - s * (1.0 / 252 - s * (1.0 / 240 - s / 132)))));
}

/* Its derivative, in the same way */
static inline real m_trigamma(real x_) {
    double x = x_, y = 0, sign = 1;
    if (x <= 0) {
        double part = fmod(x, 1), wave = sin(M_PI * part);
        if (part == 0) return R(INFINITY);
        y = -M_PI * M_PI / (wave * wave);
        sign = -1;
        x = 1 - x;
    }
    for (; x < 12; x++) y += 1 / (x * x);
    double s = 1 / (x * x);
    double series = 1.0 / 6 - s * (1.0 / 30 - s * (1.0 / 42 - s * (1.0 / 30 - s * (5.0 / 66 - s * 691 / 2730))));
    return R(sign * (y + 1 / x + s / 2 + s / x * series));
}
