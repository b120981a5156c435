"""What scalar functions are worth in Python's numbers, with the answers of IEEE 754 and of torch where Python's own functions raise."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from typing import Any

Number = Any  # int, float or complex


def ieee(name: str, overflow: float = math.inf, domain: float = math.nan) -> Callable[[Number], Number]:
    """A function of `math` with an answer where that raises; for complex numbers that of `cmath`, if it has one."""
    real, complex_ = getattr(math, name), getattr(cmath, name, None)

    def of(x: Number) -> Number:
        try:
            return complex_(x) if isinstance(x, complex) and complex_ is not None else real(x)
        except OverflowError:
            return overflow
        except (ValueError, ZeroDivisionError):
            return domain

    return of


def is_nan(x: Number) -> bool:
    return bool(x != x)


def div(a: Number, b: Number) -> Number:
    if b != 0:
        return a / b
    if isinstance(a, complex) or isinstance(b, complex) or a == 0 or is_nan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1, b)


def floordiv(a: Number, b: Number) -> Number:
    """Whole numbers exactly; else the floor of the rounded quotient, as torch.floor(a / b)."""
    return a // b if isinstance(a, int) and isinstance(b, int) and b else floor(div(a, b))


def mod(a: Number, b: Number) -> Number:
    """The remainder with the divisor's sign."""
    return a % b if b else math.nan


def power(a: Number, b: Number) -> Number:
    if isinstance(a, int) and isinstance(b, int) and abs(b) * a.bit_length() > 1000:
        a = float(a)  # a power of whole numbers must not fill the memory
    try:
        result = a**b
    except (ZeroDivisionError, OverflowError) as error:
        if isinstance(a, complex) or isinstance(b, complex):
            return math.nan if isinstance(error, ZeroDivisionError) else math.inf
        odd = b % 2 == 1
        return math.copysign(math.inf, a) if odd else math.inf
    return math.nan if isinstance(result, complex) and not isinstance(a, complex) and not isinstance(b, complex) else result


def larger(a: Number, b: Number) -> Number:
    return a if is_nan(a) or a > b else b


def smaller(a: Number, b: Number) -> Number:
    return a if is_nan(a) or a < b else b


def log(x: Number) -> Number:
    if isinstance(x, complex):
        return ieee("log")(x)
    return -math.inf if x == 0 else math.log(x) if x > 0 else math.nan


def log1p(x: float) -> float:
    return -math.inf if x == -1 else math.log1p(x) if x > -1 else math.nan


def rsqrt(x: float) -> float:
    return float(div(1, math.sqrt(x))) if x >= 0 else math.nan


def sign(x: float) -> int:
    """0 for NaN, as torch."""
    return (x > 0) - (x < 0)


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda x: function(x) if math.isfinite(x) else x


floor, ceil, nearest = _whole(math.floor), _whole(math.ceil), _whole(round)


def sinh(x: Number) -> Number:
    return ieee("sinh")(x) if isinstance(x, complex) else math.copysign(ieee("sinh")(abs(x)), x)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def digamma(x: float) -> float:
    """Reflected for negative x, shifted up to 12, then the asymptotic series."""
    if x == 0:
        return -math.copysign(math.inf, x)
    if x < 0:
        part = math.fmod(x, 1) if math.isfinite(x) else 0.0
        return digamma(1 - x) - math.pi / math.tan(math.pi * part) if part else math.nan
    shift = 0.0
    while x < 12:
        shift -= 1 / x
        x += 1
    s = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132))))


def trigamma(x: float) -> float:
    """The derivative of digamma, in the same way."""
    if x <= 0:
        if math.isinf(x):
            return math.nan
        wave = math.sin(math.pi * math.fmod(x, 1))
        return div(math.pi * math.pi, wave * wave) - trigamma(1 - x)
    shift = 0.0
    while x < 12:
        shift += div(1, x * x)
        x += 1
    s = 1 / (x * x)
    return shift + 1 / x + s / 2 + s / x * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * (5 / 66 - s * 691 / 2730)))))
