"""How weights may begin: the distributions a spec can name, as functions that give an `Init`. Drawn by support/random.py.

A function raises TypeError or ValueError, in words for the user, when its numbers make no sense.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from archdsl.graph.functions import FUNCTIONS
from archdsl.graph.ir import Init


def _number(value: Any, what: str, above: float | None = None) -> float:
    """A finite number, larger than `above` if that is given. `normal(sqrt(2 / n))`: a function of numbers is one."""
    if isinstance(value, Init) and value.kind == "apply" and value.args[1].kind == "constant" and value.args[0] in FUNCTIONS:
        value = FUNCTIONS[value.args[0]].value(value.args[1].args[0])
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be a number") from None
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError(f"{what} must be a finite number")
    if above is not None and number <= above:
        raise ValueError(f"{what} must be more than {above:g}, not {number:g}")
    return number


def _spread(value: Any, what: str) -> float:
    number = _number(value, what)
    if number < 0:
        raise ValueError(f"{what} must not be negative, but is {number:g}")
    return number


def zeros() -> Init:
    return Init("zeros")


def ones() -> Init:
    return Init("ones")


def eye() -> Init:
    """The identity matrix in the last two axes."""
    return Init("eye")


def constant(value: Any) -> Init:
    return Init("constant", (_number(value, "the value"),))


def normal(std: Any = 0.02, mean: Any = 0.0) -> Init:
    spread, middle = _spread(std, "std"), _number(mean, "mean")
    return Init("normal", (spread, middle) if middle else (spread,))


def truncated_normal(std: Any = 0.02) -> Init:
    """Normal, drawn anew beyond two standard deviations."""
    return Init("truncated_normal", (_number(std, "std", above=0),))


def uniform(low: Any = -1.0, high: Any = 1.0) -> Init:
    low, high = _number(low, "low"), _number(high, "high")
    if low > high:
        raise ValueError(f"low must not be above high, but {low:g} > {high:g}")
    return Init("uniform", (low, high))


def loguniform(low: Any, high: Any) -> Init:
    """Uniform in the logarithm: as likely between 0.001 and 0.01 as between 0.01 and 0.1."""
    low, high = _number(low, "low", above=0), _number(high, "high", above=0)
    if low > high:
        raise ValueError(f"low must not be above high, but {low:g} > {high:g}")
    return Init("loguniform", (low, high))


def orthogonal(gain: Any = 1.0) -> Init:
    """Rows or columns orthonormal, times gain (Saxe et al., 2014)."""
    return Init("orthogonal", (_number(gain, "gain"),))


def xavier_uniform(gain: Any = 1.0) -> Init:
    """Variance 2 gain² / (fan_in + fan_out) (Glorot & Bengio, 2010)."""
    return Init("xavier_uniform", (_number(gain, "gain"),))


def xavier_normal(gain: Any = 1.0) -> Init:
    return Init("xavier_normal", (_number(gain, "gain"),))


def kaiming_uniform(a: Any = 0.0, fan: Any = "in") -> Init:
    """Variance 2 / ((1 + a²) fan) (He et al., arXiv:1502.01852); a is the slope of the leaky ReLU that follows, fan the side kept even."""
    return _kaiming("kaiming_uniform", a, fan)


def kaiming_normal(a: Any = 0.0, fan: Any = "in") -> Init:
    return _kaiming("kaiming_normal", a, fan)


def _kaiming(kind: str, a: Any, fan: Any) -> Init:
    if fan not in ("in", "out"):
        raise ValueError('fan must be "in" or "out"')
    return Init(kind, (_number(a, "a"),) if fan == "in" else (_number(a, "a"), "out"))


def lecun_normal(gain: Any = 1.0) -> Init:
    """Variance gain² / fan_in (LeCun et al., 1998), as self-normalising networks need it (arXiv:1706.02515)."""
    return Init("lecun_normal", (_number(gain, "gain"),))


def arange(start: Any = 0, step: Any = 1) -> Init:
    """start, start + step, … along the last axis, the same in all rows."""
    return Init("arange", (_number(start, "start"), _number(step, "step")))


def legs() -> Init:
    """The matrix of HiPPO-LegS in the last two axes: it keeps a signal's past as Legendre coefficients (Gu et al., arXiv:2008.07669)."""
    return Init("legs")


def values(numbers: Any) -> Init:
    """A written list: as long as the last axis (the same in all rows), or as many numbers as the weight has."""
    flat: list[float] = []

    def collect(item: Any) -> None:
        if isinstance(item, (list, tuple)):
            for part in item:
                collect(part)
        else:
            flat.append(_number(item, "each value"))

    collect(numbers)
    if not flat:
        raise ValueError("the list is empty")
    return Init("values", (tuple(flat),))


def _apply(function: str) -> Callable[[Any], Init]:
    def of(inner: Any) -> Init:
        if not isinstance(inner, Init):
            inner = constant(inner)
        low = _lowest(inner)
        if low is not None and function in ("log", "inv_softplus") and low <= 0:
            raise ValueError(f"{function} needs values above 0, but {inner} reaches {low:g}")
        if low is not None and function == "sqrt" and low < 0:
            raise ValueError(f"sqrt needs values of at least 0, but {inner} reaches {low:g}")
        return Init("apply", (function, inner))

    of.__name__ = function
    return of


def _lowest(init: Init) -> float | None:
    """The smallest value an initialiser can give, where that is plain to see."""
    if init.kind in ("constant", "uniform", "loguniform"):
        return float(init.args[0])
    if init.kind == "arange" and init.args[1] >= 0:
        return float(init.args[0])
    if init.kind == "values":
        return min(init.args[0])
    return {"zeros": 0.0, "ones": 1.0, "eye": 0.0, "normal": -math.inf, "truncated_normal": -math.inf}.get(init.kind)


_PLAIN: tuple[Callable[..., Init], ...] = (
    zeros, ones, constant, eye, normal, truncated_normal, uniform, loguniform, orthogonal, xavier_uniform, xavier_normal, kaiming_uniform,
    kaiming_normal, lecun_normal, arange, legs, values,
)  # fmt: skip

TABLE: dict[str, Callable[..., Init]] = {
    **{f.__name__: f for f in _PLAIN},
    **{name: _apply(name) for name in ("inv_softplus", "log", "exp", "sqrt", "neg")},
}


def plain(init: Init) -> tuple[Any, ...]:
    """An `Init` as the nested tuple that `support.random.initialise` takes: ("apply", "log", ("arange", 1.0, 1.0))."""
    return (init.kind, *(plain(a) if isinstance(a, Init) else a for a in init.args))


def misfit(init: Init, shape: tuple[int, ...]) -> str | None:
    """Why a weight of this shape cannot begin so; None if it can."""
    if init.kind == "apply":
        return misfit(init.args[1], shape)
    if init.kind == "legs" and (len(shape) < 2 or shape[-1] != shape[-2]):
        return "legs needs a square matrix in the last two axes"
    if init.kind in ("eye", "orthogonal", "xavier_uniform", "xavier_normal") and len(shape) < 2:
        return f"{init.kind} needs a weight with at least two axes"
    if init.kind == "values":
        count = len(init.args[0])
        total = math.prod(shape)
        if count not in (1, total) and (not shape or count != shape[-1]):
            return f"{count} values do not fill a weight of shape {list(shape)}"
    return None
