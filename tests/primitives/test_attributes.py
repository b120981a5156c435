"""Attributes of operations: classes whose names are checked, parameters declared once, what generic readers see."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import archdsl
from archdsl.graph.ir import Attrs, DeclaredAttrs, attributes, frozen, lead_axes, replace
from archdsl.primitives import TABLE
from archdsl.primitives.base import REQUIRED, param, parameters
from archdsl.primitives.linear import LinearAttrs
from tests.primitives.helpers import check, value

ROOT = Path(__file__).resolve().parents[2]


@frozen
class Given(Attrs):
    """One required parameter, one with a default, and one thing found out."""

    size: int = param("size", doc="how many")
    start: float = param("number", 0.5)
    axis: int = -1


def test_parameters_are_the_fields_declared_so() -> None:
    every, required = parameters(Given)
    assert [(p.name, p.kind, p.default, p.doc) for p in every] == [("size", "size", REQUIRED, "how many"), ("start", "number", 0.5, "")]
    assert [p.name for p in required] == ["size"]
    with pytest.raises(TypeError, match="size"):
        Given()


def test_a_misspelt_name_is_an_error() -> None:
    node = check("linear", value("T", 8), out=4)
    with pytest.raises(AttributeError, match="ot"):
        _ = node.attrs.ot
    with pytest.raises(TypeError, match="biass"):
        replace(node.attrs, biass=False)
    with pytest.raises(TypeError, match="biass"):
        LinearAttrs(out=4, biass=False)  # type: ignore[call-arg]


def test_attributes_do_not_change() -> None:
    attrs = check("linear", value("T", 8), out=4).attrs
    with pytest.raises(dataclasses.FrozenInstanceError):
        attrs.out = 5
    with pytest.raises((AttributeError, TypeError)):
        attrs.other = 5


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_primitive_has_a_class_of_its_own(name: str) -> None:
    """Frozen and slotted, also where it extends another's, and all that is no parameter has a value before `infer`."""
    given = TABLE[name].attributes
    assert issubclass(given, Attrs)
    assert given.__dataclass_params__.frozen
    assert "__slots__" in vars(given)
    rest = [f for f in dataclasses.fields(given) if "param" not in f.metadata]
    assert all(f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING for f in rest)


def test_every_node_of_a_spec_holds_its_primitives_class() -> None:
    """A declared weight has one of its own: the groups in front of a colon are lead axes."""
    spec = archdsl.load(ROOT / "specs" / "language" / "smollm2.arch")
    nodes = [n for _, region in spec.graph.walk() for n in region.nodes if n.op in TABLE]
    assert {n.op for n in nodes} >= {"linear", "attend", "rotary", "rmsnorm", "rearrange", "pointwise"}
    assert all(type(n.attrs) is TABLE[n.op].attributes for n in nodes)
    [weight] = [n for n in archdsl.parse("arch A { in x: [8]; param w: [8] ~ ones; return x * w }").graph.root.nodes if n.op == "param"]
    assert isinstance(weight.attrs, DeclaredAttrs)
    assert lead_axes(weight) == 0
    assert attributes(weight).keys() == {"shape", "init", "lead"}


def test_a_parameter_given_as_a_value_is_an_input() -> None:
    """The attributes hold its type; the node says which input it is."""
    spec = archdsl.parse("arch A { in x: [T, 8]; in w: [4, 8]; return linear(4, weight=w, bias=false)(x) }")
    [node] = spec.graph.root.nodes
    assert node.value_inputs == {"weight": 1}
    assert node.attrs.weight == node.inputs[1].type
    assert attributes(node).keys() == {"out", "bias", "weight"}
