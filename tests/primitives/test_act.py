"""The activation primitive: shapes, learned weights, and the text it writes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from archdsl.diagnostics import Source
from archdsl.graph.acts import lower_act
from archdsl.language.parser import parse
from archdsl.primitives import TABLE
from archdsl.primitives.act import class_name
from archdsl.primitives.support.levels import pack_levels, unpack_levels
from tests.primitives.helpers import LAST, FakeEmitter, check, refused, value

TEXT = """
act relu(x) = max(x, 0)
act golu(x) = x * exp(-exp(-x))
act prelu(x; a: [axis] = 0.25) = if x > 0 then x else a * x
act swish(x; beta = 1.5) = x * sigmoid(beta * x)
act glu(a, b) = a * sigmoid(b)
act relu_wide(x) = max(x, 0)   backward if x > -1 then 1 else 0
"""
DECLARED = {d.name: d for d in parse(Source("acts.arch", TEXT)).declarations}
ACTS = {name: lower_act(decl, {}, DECLARED.get) for name, decl in DECLARED.items()}


class Emitter(FakeEmitter):
    def __init__(self):
        super().__init__()
        self.definitions = {}

    def define(self, name, source):
        self.definitions[name] = source
        return name


def run(node, *tensors, **weights):
    """The node's text computed, with whatever it defines."""
    e = Emitter()
    text = TABLE["act"].emit(node, [f"x{i}" for i in range(len(tensors))], e)
    scope = {
        "torch": torch,
        "F": F,
        "self": SimpleNamespace(**weights),
        "with_kernel": lambda plain: plain,
        "pack_levels": pack_levels,
        "unpack_levels": unpack_levels,
        **{f"x{i}": t for i, t in enumerate(tensors)},
    }
    for source in e.definitions.values():
        exec(source, scope)
    return eval(text, scope), text


def test_shape_and_axes_are_kept():
    x = value("T", 8, ragged=[0])
    node = check("act", x, act=ACTS["golu"])
    assert node.outputs[0].type == x.type
    assert LAST[0].weights == {}


def test_learned_weights():
    check("act", value("T", 8), act=ACTS["swish"])
    (beta,) = LAST[0].weights.values()
    assert (beta.name, beta.shape, beta.init.kind, beta.init.args) == ("beta", (), "constant", (1.5,))
    check("act", value(6, "H", "W"), act=ACTS["prelu"], axis=0)
    (slope,) = LAST[0].weights.values()
    assert (slope.name, slope.shape, slope.init.args) == ("a", (6,), (0.25,))


@pytest.mark.parametrize(
    ("code", "args"),
    [
        ("AD0287", {"act": ACTS["prelu"]}),
        ("AD0287", {"act": ACTS["golu"], "axis": 0}),
        ("AD0304", {"act": ACTS["prelu"], "axis": 5}),
        ("AD0305", {"act": ACTS["prelu"], "axis": 0}),
    ],
)
def test_refused_uses(code, args):
    assert refused("act", value("T", 8), **args).code == code


def test_refused_kinds_and_shapes():
    assert refused("act", value("T", kind="int"), act=ACTS["relu"]).code == "AD0314"
    assert refused("act", value("T", 8), value("T", 9), act=ACTS["glu"]).code == "AD0301"
    assert refused("act", value("T", 8), value(8), act=ACTS["glu"]).code == "AD0301"


def test_torch_function_is_written_where_there_is_one():
    result, text = run(check("act", value("T", 8), act=ACTS["relu"]), torch.tensor([-1.0, 2.0]))
    assert text == "torch.relu(x0)"
    assert result.tolist() == [0, 2]


def test_a_declared_slope_is_never_replaced_by_torch():
    x = torch.tensor([-2.0, -0.5, 1.0], requires_grad=True)
    result, text = run(check("act", value("T"), act=ACTS["relu_wide"]), x)
    assert text == "ReluWide.apply(x0)"
    result.sum().backward()
    assert x.grad.tolist() == [0, 1, 1]


def test_per_axis_parameters_stand_along_their_axis():
    x, slope = torch.randn(2, 6, 3, 4), torch.rand(6)
    result, text = run(check("act", value(6, 3, 4), act=ACTS["prelu"], axis=0), x, a=slope)
    assert text == "Prelu.apply(x0, self.a.view(-1, 1, 1))"
    assert torch.allclose(result, F.prelu(x, slope))
    x, slope = torch.randn(2, 3, 6), torch.rand(6)
    result, text = run(check("act", value("T", 6), act=ACTS["prelu"], axis=-1), x, a=slope)
    assert text == "Prelu.apply(x0, self.a)"
    assert torch.allclose(result, torch.where(x > 0, x, slope * x))


def test_a_constant_keeps_the_shape():
    """A value of learned numbers alone stretches to the input; its gradient is the sum."""
    (declared,) = parse(Source("acts.arch", "act learned(x; b = 2.0) = 3 * b")).declarations
    node = check("act", value("T", 3), act=lower_act(declared, {}, {}.get))
    x, b = torch.zeros(5, 3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    y, _ = run(node, x, b=b)
    assert torch.equal(y, torch.full((5, 3), 6.0))
    y.sum().backward()
    assert torch.equal(x.grad, torch.zeros(5, 3))
    assert b.grad == 45


def test_two_inputs():
    a, b = torch.randn(2, 5), torch.randn(2, 5)
    result, text = run(check("act", value("T"), value("T"), act=ACTS["glu"]), a, b)
    assert text == "Glu.apply(x0, x1)"
    assert torch.allclose(result, F.glu(torch.cat([a, b], -1), -1))


def test_memory_kept_for_backward_is_the_inputs():
    assert TABLE["act"].saved(check("act", value(3, 8), act=ACTS["golu"])) == 24
    assert TABLE["act"].saved(check("act", value(3, 8), value(3, 8), act=ACTS["glu"])) == 48
    assert TABLE["act"].time(check("act", value("T", 8), act=ACTS["golu"]), 0, -2).ahead is None


@pytest.mark.parametrize(
    ("name", "expected"), [("gelu_tanh", "GeluTanh"), ("f", "FAct"), ("none", "NoneAct"), ("tensor", "TensorAct"), ("x1", "X1")]
)
def test_class_names(name, expected):
    assert class_name(name) == expected
