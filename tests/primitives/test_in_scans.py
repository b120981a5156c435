"""A primitive of one's own in a scan's step: with equations it has a class, other forms and a kernel; without them the scan is a loop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

import archdsl
from archdsl.graph.expressions import call
from archdsl.graph.ir import Node, TensorType
from archdsl.primitives import TABLE, custom
from archdsl.primitives.base import Use
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.traits import Elementwise
from archdsl.recurrence.convert import convert
from archdsl.recurrence.definition import Definition, Moves, NotElementary, sizes_of
from archdsl.recurrence.split import split
from archdsl.scanning.explain import scan_summary

if TYPE_CHECKING:
    from archdsl.recurrence.convert import Converter


class Halved(Elementwise):
    """x / 2, said in torch alone."""

    name = "halved"

    def infer(self, use: Use) -> list[TensorType]:
        return [use.types[0]]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return f"({args[0]}) / 2"


class Equated(Halved):
    """The same with its equation."""

    def equations(self, node: Node, c: Converter) -> Definition:
        shape = sizes_of(node.outputs[0])
        return Definition(shape, call("mul", c.stretched(node.inputs[0], shape), 0.5))


class Apart(Equated):
    """To be done before the loop, and part by part for complex numbers."""

    parts = "each"

    def moves(self, node: Node) -> Moves:
        return "before"


SCAN = """
scan fade { in x: [d]; state h: [d] = 0; h' = halved(h) + halved(x); yield h' }
arch A { in x: [T, 3]; return fade(x) }
"""
COMPLEX = """
scan turn { in x: [d]; state h: complex[d] = 0; h' = halved(h) * exp(complex(x, x)) + x; yield real(h') }
arch A { in x: [T, 3]; return turn(x) }
"""


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    custom.unregister_primitive("halved")


def region(text: str) -> Any:
    return next(n for n in archdsl.parse(text).graph.root.nodes if n.op == "scan").instance.region


def test_without_equations_it_is_a_loop() -> None:
    archdsl.register_primitive(Halved())
    assert scan_summary(region(SCAN)) == "runs as a plain loop: `halved` has no index notation"
    assert "step_text" not in archdsl.parse(SCAN).emit()


def test_with_equations_it_has_a_class_and_a_kernel() -> None:
    torch = pytest.importorskip("torch")
    archdsl.register_primitive(Equated())
    assert scan_summary(region(SCAN)).startswith("diagonal affine, the same at all times")
    assert [str(e) for e in convert(region(SCAN), TABLE).step.equations] == ["h'[i] = 0.5 * h[i] + 0.5 * x[i]"]
    spec = archdsl.parse(SCAN)
    assert "step_text" in spec.emit()
    x = torch.randn(2, 7, 3, dtype=torch.float64)
    h, ys = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(7):
        h = h / 2 + x[:, t] / 2
        ys.append(h)
    assert torch.allclose(spec.build(dtype="float64")(x), torch.stack(ys, 1), atol=1e-12)


def test_it_says_where_it_may_be_done() -> None:
    archdsl.register_primitive(Equated())
    assert split(region(SCAN), TABLE).before == []
    archdsl.register_primitive(Apart())
    assert [n.op for n in split(region(SCAN), TABLE).before] == ["halved"]


def test_complex_numbers_part_by_part() -> None:
    archdsl.register_primitive(Equated())
    with pytest.raises(NotElementary, match="`halved` of complex numbers has no index notation"):
        convert(region(COMPLEX), TABLE)
    archdsl.register_primitive(Apart())
    step = convert(region(COMPLEX), TABLE).step
    assert {t.name for t in step.tensors} >= {"h_re", "h_im"}
    assert "h_im[i]" in str(step)
