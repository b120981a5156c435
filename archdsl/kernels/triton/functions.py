"""Functions that Triton's language lacks, from those it has, accurate near zero too: the emitted kernels call them by name."""

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
    return tl.maximum(x, 0 * x) + m_log1p(tl.exp(-tl.abs(x)))


@jit
def m_tanh(x):  # type: ignore[no-untyped-def]
    """tanh by expm1(-2|x|), never above one."""
    e = m_expm1(-2 * tl.abs(x))
    t = -e / (e + 2)
    return tl.where(x < 0, -t, t)


@jit
def m_sinh(x):  # type: ignore[no-untyped-def]
    """(exp(x) - exp(-x)) / 2."""
    e = m_expm1(tl.abs(x))
    t = (e + e / (e + 1)) / 2
    return tl.where(x < 0, -t, t)


@jit
def m_cosh(x):  # type: ignore[no-untyped-def]
    """(exp(x) + exp(-x)) / 2."""
    return (tl.exp(x) + tl.exp(-x)) / 2


@jit
def m_asinh(x):  # type: ignore[no-untyped-def]
    """log(x + sqrt(x^2 + 1)), odd."""
    a = tl.abs(x)
    t = m_log1p(a + a * a / (1 + tl.sqrt(a * a + 1)))
    return tl.where(x < 0, -t, t)


@jit
def m_sign(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1."""
    return tl.where(x > 0, 0 * x + 1, tl.where(x < 0, 0 * x - 1, 0 * x))


@jit
def m_round(x):  # type: ignore[no-untyped-def]
    """To the nearest whole number, halves to even."""
    r = tl.floor(x + 0.5)
    odd = r - 2 * tl.floor(r / 2)
    return tl.where(r - x == 0.5, r - odd, r)


@jit
def m_pow(x, y):  # type: ignore[no-untyped-def]
    """x ** y by exp(y log|x|); a negative x takes a whole y only."""
    p = tl.exp(y * tl.log(tl.abs(x)))
    odd = y - 2 * tl.floor(y / 2)
    signed = tl.where(odd == 0, p, tl.where(odd == 1, -p, p * float("nan")))
    powered = tl.where(x < 0, signed, tl.where((x == 0) & (y == 0), 0 * p + 1, p))
    return tl.where(y == 0, 0 * x + 1, powered)


HELPERS = {f.__name__: f for f in (
    m_expm1, m_log1p, m_sigmoid, m_softplus, m_tanh, m_sinh, m_cosh, m_asinh, m_sign, m_round, m_pow,
)}  # fmt: skip
