"""Arithmetic on static things: numbers, sizes, strings, lists. Exact where it can be: 576 / 9 is 64, 1 / 3 stays a fraction."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from archdsl.elaboration.kinds import Alias, Module, ShapeInit, StaticRange
from archdsl.graph import sizes
from archdsl.graph.ir import Init, Value
from archdsl.graph.sizes import Facts, Poly

MAX_INT = 2**53
NUMBER = (int, float, Fraction, Poly)


class StaticError(Exception):
    """A static operation that has no result: `title` and `hint` for the diagnostic that the caller makes."""

    def __init__(self, title: str, hint: str = "", code: str = "AD0405") -> None:
        super().__init__(title)
        self.title, self.hint, self.code = title, hint, code


def binary(op: str, a: Any, b: Any, facts: Facts) -> Any:
    """The value of `a op b` for statics. Raises StaticError."""
    if op == "==":
        return _equal(a, b, facts)
    if op == "!=":
        return not _equal(a, b, facts)
    if op == "+" and isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return [*a, *b]
    if op == "+" and isinstance(a, str) and isinstance(b, str):
        return a + b
    if op == "*" and isinstance(a, list) and isinstance(b, int):
        if len(a) * max(b, 0) > 65536:
            raise StaticError("this list would be too long", code="AD0404")
        return a * b
    for side in (a, b):
        if isinstance(side, bool) or not isinstance(side, NUMBER):
            raise StaticError(f"`{op}` needs numbers, not {describe(side)}", code="AD0210")
    return _checked(_arithmetic(op, a, b, facts))


def _arithmetic(op: str, a: Any, b: Any, facts: Facts) -> Any:
    if op in ("<", "<=", ">", ">="):
        verdict = sizes.decide_compare(op, a, b, facts)
        if verdict is None:
            raise StaticError(
                f"whether {a} {op} {b} is only known when data arrives", "Compare sizes that are fixed, or state it with `where`."
            )
        return verdict
    if op in ("/", "//", "%") and not isinstance(b, Poly) and b == 0:
        raise StaticError("division by zero", "Check the size or number you divide by.")
    if isinstance(a, float) or isinstance(b, float):
        return _floats(op, a, b)
    if op == "+":
        return a + b
    if op == "-":
        return a - b
    if op == "*":
        return a * b
    if op == "/":
        return a / b if isinstance(a, Poly) or isinstance(b, Poly) else _whole(Fraction(a) / Fraction(b))
    if op == "//":
        return sizes.floordiv(a, b, facts) if isinstance(a, Poly) or isinstance(b, Poly) else a // b
    if op == "%":
        return sizes.mod(a, b, facts) if isinstance(a, Poly) or isinstance(b, Poly) else a % b
    if op == "**":
        return _power(a, b)
    raise StaticError(f"`{op}` does not work on numbers", code="AD0210")


def _floats(op: str, a: Any, b: Any) -> float:
    if isinstance(a, Poly) or isinstance(b, Poly):
        raise StaticError(
            "a size that is only known when data arrives can't be mixed with a decimal number", "Use whole numbers or fractions: `T / 2`."
        )
    x, y = float(a), float(b)
    try:
        return {
            "+": lambda: x + y,
            "-": lambda: x - y,
            "*": lambda: x * y,
            "/": lambda: x / y,
            "//": lambda: math.floor(x / y),
            "%": lambda: x % y,
            "**": lambda: x**y,
        }[op]()
    except (OverflowError, ZeroDivisionError):
        raise StaticError("this number has no finite value") from None
    except KeyError:
        raise StaticError(f"`{op}` does not work on numbers", code="AD0210") from None


def _power(a: Any, b: Any) -> Any:
    if isinstance(b, Fraction):
        return _floats("**", float(a), float(b)) if not isinstance(a, Poly) else _no_power()
    if not isinstance(b, int):
        return _no_power()
    if isinstance(a, Poly):
        if not 0 <= b <= 4:
            return _no_power()
        return a**b
    if abs(b) > 64 and a not in (0, 1, -1):
        raise StaticError("this power is too large", code="AD0404")
    if b < 0:
        if a == 0:
            raise StaticError("division by zero")
        return _whole(Fraction(a) ** b)
    return a**b


def _no_power() -> Any:
    raise StaticError("a size that is only known when data arrives can only be raised to a small whole power")


def _whole(value: Fraction) -> int | Fraction:
    return value.numerator if value.denominator == 1 else value


def _checked(value: Any) -> Any:
    if isinstance(value, complex):
        raise StaticError("this number has no real value")
    if isinstance(value, Fraction):
        value = _whole(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INT:
        raise StaticError(f"this number is too large (over 2**53)", code="AD0404")  # noqa: F541
    if isinstance(value, float) and not math.isfinite(value):
        raise StaticError("this number has no finite value", code="AD0404")
    return value


def _equal(a: Any, b: Any, facts: Facts) -> bool:
    if (
        isinstance(a, (Poly, int, Fraction))
        and isinstance(b, (Poly, int, Fraction))
        and not isinstance(a, bool)
        and not isinstance(b, bool)
    ):
        verdict = sizes.decide_equal(a, b, facts)  # type: ignore[arg-type]  # fractions compare as polynomials do
        if verdict is None:
            raise StaticError(f"whether {a} equals {b} is only known when data arrives", "State it with `where`, or compare fixed sizes.")
        return verdict
    return bool(type(a) is type(b) and a == b) or (isinstance(a, NUMBER) and isinstance(b, NUMBER) and a == b)


def describe(value: Any) -> str:
    """What a static thing is, in words for a message."""
    if value is None:
        return "`none`"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, (int, float, Fraction)):
        return f"the number {value}"
    if isinstance(value, Poly):
        return f"the size {value}"
    if isinstance(value, str):
        return f'the text "{value}"' if len(value) <= 40 else "a text"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, tuple):
        return "a tuple"
    if isinstance(value, Value):
        return f"a value {value.type}"
    if isinstance(value, Module):
        return f"the module `{value.name}`"
    if isinstance(value, StaticRange):
        return f"the range {value.low}..{value.high}"
    if isinstance(value, (Init, ShapeInit)):
        return "an initialiser"
    if isinstance(value, Alias):
        return f"the imported file `{value.name}`"
    return "something else"


def _log2(x: Any) -> Any:
    if isinstance(x, int) and x > 0 and x & (x - 1) == 0:
        return x.bit_length() - 1
    return _real(math.log2)(x)


def _real(function: Callable[[float], float]) -> Callable[[Any], float]:
    def apply(x: Any) -> float:
        try:
            return function(float(x))
        except (ValueError, OverflowError):
            raise StaticError("this number has no finite value here") from None

    return apply


def _ceil(x: Any) -> Any:
    return sizes.ceildiv(x, 1, Facts()) if isinstance(x, Poly) else math.ceil(x)


def _floor(x: Any) -> Any:
    return sizes.floordiv(x, 1, Facts()) if isinstance(x, Poly) else math.floor(x)


def _extreme(pick: Callable[..., Any], symbolic: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    def apply(*xs: Any) -> Any:
        items = list(xs[0]) if len(xs) == 1 and isinstance(xs[0], list) else list(xs)
        if not items:
            raise StaticError("there is nothing to choose from in an empty list")
        if not any(isinstance(x, Poly) for x in items):
            return pick(items)
        result = items[0]
        for x in items[1:]:
            result = symbolic(result, x)
        return result

    return apply


def _total(xs: Any) -> Any:
    """The sum of a list of numbers and sizes; `sum` is the primitive, whose list names axes."""
    result: Any = 0
    for x in xs:
        result = result + x
    return result


def _length(xs: Any) -> int:
    if not isinstance(xs, (list, tuple, str)) and not hasattr(xs, "__len__"):
        raise StaticError(f"only a list has a length, not {describe(xs)}", code="AD0235")
    return len(xs)


# name -> (least, most arguments, function); called with numbers, sizes or lists only
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "ceil": (1, 1, _ceil),
    "floor": (1, 1, _floor),
    "round": (1, 1, lambda x: round(x)),
    "abs": (1, 1, lambda x: abs(x)),
    "min": (1, 64, _extreme(min, sizes.size_min)),
    "max": (1, 64, _extreme(max, sizes.size_max)),
    "clamp": (3, 3, lambda x, low, high: min(max(x, low), high)),
    "sqrt": (1, 1, lambda x: math.isqrt(x) if isinstance(x, int) and x >= 0 and math.isqrt(x) ** 2 == x else _real(math.sqrt)(x)),
    "exp": (1, 1, _real(math.exp)),
    "log": (1, 1, _real(math.log)),
    "log2": (1, 1, _log2),
    "len": (1, 1, _length),
    "total": (1, 1, _total),
    "reverse": (1, 1, lambda xs: list(reversed(list(xs)))),
}


def call(name: str, args: list[Any]) -> Any:
    """A static function applied to statics. Raises StaticError."""
    least, most, function = FUNCTIONS[name]
    if not least <= len(args) <= most:
        raise StaticError(
            f"`{name}` takes {least if least == most else f'{least} or more'} argument{'s' if most > 1 else ''}, not {len(args)}",
            code="AD0203",
        )
    for arg in args:
        if name not in ("len", "total", "min", "max", "reverse") and (isinstance(arg, bool) or not isinstance(arg, NUMBER)):
            raise StaticError(f"`{name}` needs a number, not {describe(arg)}", code="AD0210")
    try:
        return _checked(function(*args))
    except (TypeError, ValueError, OverflowError):
        raise StaticError(f"`{name}` cannot take {', '.join(describe(a) for a in args)}", code="AD0210") from None
