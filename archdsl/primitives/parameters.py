"""What primitives with weights ask about their parameters: options, ranges, initialisers, weights that are values."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Init, Kind, Node, TensorType
from archdsl.graph.sizes import Size
from archdsl.primitives.base import Use
from archdsl.primitives.initialisers import misfit


def option(use: Use[Any], name: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    """A parameter that must be one of a few words. `name` is for the message, here and below."""
    if value not in allowed or isinstance(value, bool) != any(isinstance(a, bool) and a == value for a in allowed):
        words = ", ".join("none" if a is None else str(a).lower() if isinstance(a, bool) else f'"{a}"' for a in allowed)
        use.fail("AD0260", f"`{name}` of {use.primitive.name} cannot be {show(value)}", "no such option", hint=f"Choose from {words}.")
    return value


def show(value: Any) -> str:
    """A static value as a spec writes it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def number(
    use: Use[Any], name: str, value: Any, low: float, high: float = float("inf"), *, above: bool = False, below: bool = False
) -> Any:
    """A number within [low, high]; `above` and `below` exclude the ends. None passes where the parameter admits it."""
    if value is None:
        return None
    inside = isinstance(value, (int, float)) and (value > low if above else value >= low) and (value < high if below else value <= high)
    if not inside:
        top = "" if high == float("inf") else f" and {'below' if below else 'at most'} {high:g}"
        words = f"{'above' if above else 'at least'} {low:g}{top}"
        use.fail("AD0261", f"`{name}` of {use.primitive.name} must be {words}", f"it is {show(value)}")
    return value


def known(use: Use[Any], name: str, value: Any, what: str) -> int:
    """A size parameter that must be a known number because the shape of a weight or kernel hangs on it."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        use.fail("AD0261", f"`{name}` of {use.primitive.name} must be a known whole number", f"it is {show(value)}", note=what)
    return value


def weight(use: Use[Any], name: str, shape: tuple[Size, ...], init: Init, kind: Kind = "float", trainable: bool = True) -> None:
    """Declares a weight after checking that it can begin as asked."""
    use.weight(name, shape, init, kind, trainable)
    problem = misfit(init, use.weights[name].shape)
    if problem is not None:
        use.fail("AD0263", f"the weight `{name or use.primitive.name}` cannot begin as {init}", problem)


def given_init(value: Any, default: Init) -> Init:
    """The initialiser given for a parameter, else the default."""
    return value if isinstance(value, Init) else default


def switch(use: Use[Any], name: str, value: Any) -> bool:
    """A parameter such as `bias` that is true, false, an initialiser or (where allowed) a value: whether there is one."""
    if isinstance(value, (bool, Init, TensorType)):
        return value is not False
    if value is None:
        return False
    title = f"`{name}` of {use.primitive.name} cannot be {show(value)}"
    return use.fail("AD0260", title, "neither true nor false", hint=f"Write {name}=false, or {name} ~ zeros.")


def _input_of(node: Node[Any], name: str) -> int | None:
    """Which input a parameter is that may be given as a value; None where it was not."""
    assert hasattr(node.attrs, name), name
    return node.value_inputs.get(name)


def given_value(node: Node[Any], args: list[str], name: str) -> str | None:
    """Source of a parameter that was given as a value; None if it was not."""
    index = _input_of(node, name)
    return None if index is None else args[index]


def value_node_type(node: Node[Any], name: str) -> TensorType | None:
    """Type of a parameter that was given as a value; None if it was not."""
    index = _input_of(node, name)
    return None if index is None else node.inputs[index].type
