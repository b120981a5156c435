"""Complex values of a scan's step as two real ones: all that follows (classes, forms, kernels) knows real numbers only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from archdsl.graph.expressions import Const, Expr, call, const
from archdsl.graph.ir import Node, Value
from archdsl.recurrence.definition import Definition, NotElementary, Pair

if TYPE_CHECKING:
    from archdsl.recurrence.convert import Converter

Rule = Callable[[Node, "Converter"], "Definition | list[Definition]"]
Parts = tuple[Expr, Expr | None]  # real and imaginary part; None: a real number
ZERO = const(0)


def each_part(c: Converter, node: Node, rule: Rule) -> list[Definition | Pair]:
    """What a node is that does the same to the real and to the imaginary part."""
    both = []
    for part in (0, 1):
        with _seen(c, node.inputs, [part] * len(node.inputs)):
            made = rule(node, c)
        both.append(made if isinstance(made, list) else [made])
    return [Pair(re, im) for re, im in zip(*both)]


@contextmanager
def _seen(c: Converter, values: Sequence[Value], parts: Sequence[int]) -> Iterator[None]:
    """For a while, each value is its real (0) or imaginary (1) part."""
    kept = {v: c.known[v] for v in values}
    for value, part in zip(values, parts):
        whole = kept[value]
        if isinstance(whole, Pair):
            c.known[value] = whole.im if part else whole.re
        elif part:
            c.known[value] = Definition(whole.shape, ZERO)
    try:
        yield
    finally:
        c.known.update(kept)


def product_of_parts(c: Converter, node: Node, rule: Rule) -> list[Definition | Pair]:
    """What a product of two inputs is: (a + ib)(c + id), leaving out what is real."""
    complex_ = [isinstance(c.known[v], Pair) for v in node.inputs]

    def product(*parts: int) -> Definition | None:
        if any(part and not there for part, there in zip(parts, complex_)):
            return None
        with _seen(c, node.inputs, parts):
            made = rule(node, c)
        assert isinstance(made, Definition)
        return made

    def joined(function: str, first: Definition | None, second: Definition | None) -> Definition:
        if first is None or second is None:
            found = first if first is not None else second
            assert found is not None
            return found
        return Definition(first.shape, call(function, first.body, second.body))

    return [Pair(joined("sub", product(0, 0), product(1, 1)), joined("add", product(0, 1), product(1, 0)))]


def _hold(c: Converter, value: Value) -> None:
    """Parts are read more than once: worked out before."""
    whole = c.known[value]
    if isinstance(whole, Pair) and not (whole.re.diagonal or whole.im.diagonal):
        c.known[value] = Pair(c.held(whole.re, f"{value.name or 't'}_re"), c.held(whole.im, f"{value.name or 't'}_im"))


def parts_of(c: Converter, value: Value, shape: tuple[int, ...]) -> Parts:
    """Both parts of a value as expressions of a result's axes."""
    _hold(c, value)
    found: list[Expr] = []
    count = 2 if isinstance(c.known[value], Pair) else 1
    for part in range(count):
        with _seen(c, [value], [part]):
            found.append(c.stretched(value, shape))
    return found[0], found[1] if count == 2 else None


def scalar_of_parts(function: str, operands: list[Parts], node: Node) -> Parts:
    """A scalar function of complex numbers. Raises NotElementary."""
    (x, xi), *rest = operands
    if function == "complex":
        return x, rest[0][0]
    if function == "real":
        return x, None
    if function == "imag":
        return xi if xi is not None else ZERO, None
    if function == "conj":
        return x, None if xi is None else call("neg", xi)
    if function == "neg":
        return call("neg", x), None if xi is None else call("neg", xi)
    if function == "abs" and xi is not None:
        return call("sqrt", x * x + xi * xi), None
    if function == "exp" and xi is not None:
        size = call("exp", x)
        return size * call("cos", xi), size * call("sin", xi)
    if function in ("add", "sub"):
        return _sum(function, (x, xi), rest[0])
    if function == "mul":
        return _product((x, xi), rest[0])
    if function == "div":
        return _quotient((x, xi), rest[0])
    if function == "pow" and isinstance(rest[0][0], Const) and rest[0][0].value in (2, 3, 4):
        power = (x, xi)
        for _ in range(int(rest[0][0].value.real) - 1):
            power = _product(power, (x, xi))
        return power
    if function == "where":
        (a, ai), (b, bi) = rest
        return call("where", x, a, b), call("where", x, ai if ai is not None else ZERO, bi if bi is not None else ZERO)
    raise NotElementary(f"`{function}` of complex numbers has no index notation", node.origin.span)


def _sum(function: str, a: Parts, b: Parts) -> Parts:
    (x, xi), (y, yi) = a, b
    if xi is None and yi is None:
        return call(function, x, y), None
    return call(function, x, y), call(function, xi if xi is not None else ZERO, yi if yi is not None else ZERO)


def _product(a: Parts, b: Parts) -> Parts:
    (x, xi), (y, yi) = a, b
    if xi is None and yi is None:
        return x * y, None
    if xi is None or yi is None:
        return x * y, (x * yi if yi is not None else xi * y)  # type: ignore[operator]
    return x * y - xi * yi, x * yi + xi * y


def _quotient(a: Parts, b: Parts) -> Parts:
    y, yi = b
    if yi is None:
        return a[0] / y, None if a[1] is None else a[1] / y
    size = y * y + yi * yi
    re, im = _product(a, (y, -yi))
    assert im is not None
    return re / size, im / size
