"""Functions that Triton's language lacks, from those it has, right at the edges and near zero too: the emitted kernels call them by name.

They follow kernels/vector_math.h. What is rarely used is worked out in float64 whatever the kernel's dtype.
"""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl

jit: Any = triton.jit


@jit
def m_expm1(x):  # type: ignore[no-untyped-def]
    """exp(x) - 1: a Taylor polynomial near zero, where the difference would lose digits."""
    y = tl.where(tl.abs(x) < 0.5, x, 0 * x)
    p = 1 + y / 14
    p = 1 + y / 13 * p
    p = 1 + y / 12 * p
    p = 1 + y / 11 * p
    p = 1 + y / 10 * p
    p = 1 + y / 9 * p
    p = 1 + y / 8 * p
    p = 1 + y / 7 * p
    p = 1 + y / 6 * p
    p = 1 + y / 5 * p
    p = 1 + y / 4 * p
    p = 1 + y / 3 * p
    p = 1 + y / 2 * p
    return tl.where(tl.abs(x) < 0.5, y * p, tl.exp(x) - 1)


@jit
def m_log1p(x):  # type: ignore[no-untyped-def]
    """log(1 + x): 2 atanh(x / (2 + x)) as a series near zero."""
    small = tl.abs(x) < 0.5
    y = tl.where(small, x, 0 * x)
    z = y / (2 + y)
    s = z * z
    p = 0 * s
    for k in tl.static_range(16):
        p = 1.0 / (31 - 2 * k) + s * p
    return tl.where(small, 2 * z * p, tl.log(1 + x))


@jit
def m_sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)), the exponential never above one."""
    e = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1 / (1 + e), e / (1 + e))


@jit
def m_softplus(x):  # type: ignore[no-untyped-def]
    """log(1 + exp(x))."""
    return tl.where(x > 0, x, 0.0) + m_log1p(tl.exp(-tl.abs(x)))


@jit
def m_tanh(x):  # type: ignore[no-untyped-def]
    """tanh by expm1(-2|x|), never above one."""
    e = m_expm1(-2 * tl.abs(x))
    t = -e / (e + 2)
    return tl.where(x < 0, -t, t)


@jit
def m_sinh(x):  # type: ignore[no-untyped-def]
    """(exp(x) - exp(-x)) / 2; far out as a square, so that it overflows where it should."""
    a = tl.abs(x)
    e = m_expm1(tl.where(a > 20, 0 * a, a))
    h = tl.exp(a / 2)
    t = tl.where(a > 20, h / 2 * h, (e + e / (e + 1)) / 2)
    return tl.where(x < 0, -t, t)


@jit
def m_cosh(x):  # type: ignore[no-untyped-def]
    """(exp(x) + exp(-x)) / 2, in the same way."""
    a = tl.abs(x)
    h = tl.exp(a / 2)
    return tl.where(a > 20, h / 2 * h, (tl.exp(a) + tl.exp(-a)) / 2)


@jit
def m_asinh(x):  # type: ignore[no-untyped-def]
    """log(x + sqrt(x^2 + 1)), odd; far out log(2 x)."""
    a = tl.abs(x)
    far = a > 1e9
    b = tl.where(far, 0 * a, a)
    t = tl.where(far, tl.log(a) + 0.6931471805599453, m_log1p(b + b * b / (1 + tl.sqrt(b * b + 1))))
    return tl.where(x < 0, -t, t)


@jit
def m_atan(x):  # type: ignore[no-untyped-def]
    """By atan(x) = pi / 2 - atan(1 / x) beyond one, two halvings of the angle, and the series."""
    a = tl.abs(x)
    y = tl.where(a > 1, 1 / a, a)
    y = y / (1 + tl.sqrt(1 + y * y))
    y = y / (1 + tl.sqrt(1 + y * y))
    s = y * y
    p = 0 * s
    for k in tl.static_range(14):
        p = 1.0 / (27 - 2 * k) - s * p
    t = 4 * y * p
    t = tl.where(a > 1, 1.5707963267948966 - t, t)
    return tl.where(x < 0, -t, t)


@jit
def m_asin(x):  # type: ignore[no-untyped-def]
    """By the tangent of half the angle."""
    return 2 * m_atan(x / (1 + tl.sqrt((1 - x) * (1 + x))))


@jit
def m_acos(x):  # type: ignore[no-untyped-def]
    """By the tangent of half the angle."""
    return 2 * m_atan(tl.sqrt((1 - x) / (1 + x)))


@jit
def m_sign(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1; 0 for NaN."""
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, 0.0)).to(x.dtype)


@jit
def m_round(x):  # type: ignore[no-untyped-def]
    """To the nearest whole number, halves to even."""
    r = tl.floor(x)
    odd = r - 2 * tl.floor(r / 2)
    return tl.where(x - r == 0.5, r + odd, tl.where(x - r > 0.5, r + 1, r))


@jit
def m_max(x, y):  # type: ignore[no-untyped-def]
    """NaN where either is."""
    return tl.where((x != x) | (x > y), x, y)


@jit
def m_min(x, y):  # type: ignore[no-untyped-def]
    """NaN where either is."""
    return tl.where((x != x) | (x < y), x, y)


@jit
def m_floordiv(x, y):  # type: ignore[no-untyped-def]
    """The floor of the quotient, which `/` does not round correctly in float32."""
    if x.dtype == tl.float32:
        return tl.floor(tl.fdiv(x, y, ieee_rounding=True))
    else:
        return tl.floor(x / y)


@jit
def m_mod(x, y):  # type: ignore[no-untyped-def]
    """The remainder with the sign of y."""
    r = x % y
    return tl.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)


@jit
def m_pow(x, y):  # type: ignore[no-untyped-def]
    """x ** y by exp(y log|x|), which in float64 loses as many digits as that product has; a negative x takes a whole y only."""
    log = tl.log(tl.abs(x).to(tl.float64))
    p = tl.exp(tl.where(log == 0, 0.0, y.to(tl.float64) * log)).to(x.dtype)
    odd = y - 2 * tl.floor(y / 2) == 1
    whole = (y == tl.floor(y)) | (log == float("inf")) | (x == 0)
    signed = tl.where(odd, -p, tl.where(whole, p, float("nan")))
    return tl.where(y == 0, 1.0, tl.where((x < 0) | (1 / x < 0), signed, p))


@jit
def m_erfc(x_):  # type: ignore[no-untyped-def]
    """1 - erf(x); beyond one, where the difference would lose digits, exp(-x^2) t times a polynomial in t = 1 / (1 + x / 2), fitted to 5e-19."""
    x = x_.to(tl.float64)
    a = tl.where(tl.abs(x) > 1, tl.where(tl.abs(x) < 28, tl.abs(x), 28.0), 1.0)
    t = 1 / (1 + a / 2)
    u = (t - 11 / 30) / 0.3
    p = -3.053533869994315e-12 + u * 3.8631384579558926e-12
    p = -4.175800576452154e-11 + u * p
    p = 7.801096104269886e-11 + u * p
    p = 1.9974959981066643e-10 + u * p
    p = -9.04832211200874e-10 + u * p
    p = 6.537159477392765e-11 + u * p
    p = 7.132993087546129e-09 + u * p
    p = -1.2477107658095605e-08 + u * p
    p = -4.3654962732524625e-08 + u * p
    p = 1.7741034754169127e-07 + u * p
    p = 2.097843992211471e-07 + u * p
    p = -2.0652446336430223e-06 + u * p
    p = -7.732756353287399e-07 + u * p
    p = 2.534637956882781e-05 + u * p
    p = 9.962268683395215e-06 + u * p
    p = -0.0003710771074675862 + u * p
    p = -0.0006705533732123972 + u * p
    p = 0.0058107059450743775 + u * p
    p = 0.04366321321251725 + u * p
    p = 0.16419859225223998 + u * p
    p = 0.4287116755835546 + u * p
    high = a.to(tl.float32).to(tl.float64)  # its square is exact; a rounded one the exponential would magnify
    tail = tl.exp(-high * high) * tl.exp((high - a) * (high + a)) * t * p
    return tl.where(x > 1, tail, tl.where(x < -1, 2 - tail, 1 - tl.erf(x))).to(x_.dtype)


@jit
def m_lgamma(x_):  # type: ignore[no-untyped-def]
    """log |gamma(x)|, to 5e-15 near its zeros at 1 and 2: reflected below 1/2, shifted up to 10, then Stirling's series."""
    x = x_.to(tl.float64)
    z = tl.where(x < 0.5, 1 - x, x)
    product = 0 * z + 1
    for _ in tl.static_range(10):
        product = tl.where(z < 10, product * z, product)
        z = tl.where(z < 10, z + 1, z)
    s = 1 / (z * z)
    series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - s * (691 / 360360)))))) / z
    y = z * (tl.log(z) - 1) - tl.log(z) / 2 + 0.9189385332046727 + series - tl.log(product)
    wave = tl.abs(tl.sin(3.141592653589793 * (x % 1)))
    y = tl.where(x < 0.5, 1.1447298858494002 - tl.log(wave) - y, y)
    y = tl.where((x <= 0) & (x == tl.floor(x)), float("inf"), y)
    return tl.where(tl.abs(x) == float("inf"), float("inf"), y).to(x_.dtype)


@jit
def m_digamma(x_):  # type: ignore[no-untyped-def]
    """The derivative of lgamma: reflected for x < 0, shifted up to 12, then the asymptotic series."""
    x = x_.to(tl.float64)
    z = tl.where(x < 0, 1 - x, x)
    y = 0 * z
    for _ in tl.static_range(12):
        y = tl.where(z < 12, y - 1 / z, y)
        z = tl.where(z < 12, z + 1, z)
    s = 1 / (z * z)
    y += tl.log(z) - 0.5 / z - s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132))))
    part = 3.141592653589793 * (x % 1)
    y = tl.where(x < 0, y - 3.141592653589793 * tl.cos(part) / tl.sin(part), y)
    y = tl.where((x < 0) & (x == tl.floor(x)), float("nan"), y)
    return tl.where(x == 0, -1 / x, tl.where(x == float("inf"), x, y)).to(x_.dtype)


@jit
def m_trigamma(x_):  # type: ignore[no-untyped-def]
    """The derivative of digamma, in the same way."""
    x = x_.to(tl.float64)
    z = tl.where(x <= 0, 1 - x, x)
    y = 0 * z
    for _ in tl.static_range(12):
        y = tl.where(z < 12, y + 1 / (z * z), y)
        z = tl.where(z < 12, z + 1, z)
    s = 1 / (z * z)
    y += 1 / z + s / 2 + s / z * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * (5 / 66 - s * (691 / 2730))))))
    slope = 3.141592653589793 / tl.sin(3.141592653589793 * (x % 1))
    y = tl.where(x <= 0, slope * slope - y, y)
    y = tl.where((x <= 0) & (x == tl.floor(x)), float("inf"), y)
    y = tl.where(x == float("inf"), 0.0, tl.where(x == -float("inf"), float("nan"), y))
    return y.to(x_.dtype)


HELPERS = {f.__name__: f for f in (
    m_expm1, m_log1p, m_sigmoid, m_softplus, m_tanh, m_sinh, m_cosh, m_asinh, m_atan, m_asin, m_acos, m_sign, m_round, m_max, m_min,
    m_floordiv, m_mod, m_pow, m_erfc, m_lgamma, m_digamma, m_trigamma,
)}  # fmt: skip
