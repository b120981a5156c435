from __future__ import annotations

import pytest
import torch

from archdsl.graph.ir import Init, Instance
from archdsl.graph.sizes import symbol
from tests.primitives.helpers import refused, value
from tests.primitives.made import Made, close, close_with_gradients


def f64(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_linear(bias, lead):
    made = Made("linear", value(*lead, 6), out=4, bias=bias)
    w = made.module.weight
    reference = lambda x: (x[..., None, :] * w).sum(-1) + (made.module.bias if bias else 0)  # noqa: E731
    close_with_gradients(made, reference, [f64(3, *lead, 6)])
    assert made.text == ("Linear(6, 4)" if bias else "Linear(6, 4, bias=False)")
    assert made.node.outputs[0].type.sizes == (*lead, 4)


def test_linear_begins_like_torch_unless_told():
    made = Made("linear", value(100), out=300)
    assert made.module.weight.abs().max() <= 0.1
    assert float(made.module.weight.std()) == pytest.approx(0.1 / 3**0.5, rel=0.05)
    told = Made("linear", value(100), out=300, weight=Init("normal", (0.5, 0.0)), bias=Init("zeros"))
    assert float(told.module.weight.std()) == pytest.approx(0.5, rel=0.05)
    assert not told.module.bias.any()


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
@pytest.mark.parametrize("bias", ["own", "none", "value"])
def test_weights_that_are_values(batched, lead, bias):
    x, w, b = value(*lead, 6), value(4, 6, batched=batched), value(4, batched=batched)
    args = {"bias": {"own": True, "none": False, "value": b.type}[bias], "value_inputs": {"weight": 1}}
    if bias == "value":
        args["value_inputs"]["bias"] = 2
    made = Made("linear", x, out=4, weight=w.type, **args)
    made.node.inputs += [w, b][: 2 if bias == "value" else 1]
    front = (3,) if batched else ()
    tensors = [f64(3, *lead, 6), f64(*front, 4, 6), f64(*front, 4)][: len(made.node.inputs)]

    def reference(x, w, *more):
        own = made.module.bias if bias == "own" else more[0] if more else torch.zeros(4, dtype=torch.float64)
        rows = []
        for i in range(3):
            rows.append(x[i] @ (w[i] if batched else w).T + (own[i] if bias == "value" and batched else own))
        return torch.stack(rows)

    result = close_with_gradients(made, reference, tensors)
    assert result.shape == (3, *lead, 4)


def test_a_batched_weight_on_a_value_without_batch():
    x, w = value(5, 6, batched=False), value(4, 6)
    made = Made("linear", x, out=4, weight=w.type, bias=False, value_inputs={"weight": 1})
    made.node.inputs.append(w)
    a, b = f64(5, 6), f64(3, 4, 6)
    close(made(a, b), torch.stack([a @ m.T for m in b]))
    assert made.node.outputs[0].type.batched


def test_flops_and_time():
    made = Made("linear", value("T", 6), out=4)
    assert made.p.flops(made.node) == symbol("T") * 48
    assert made.p.time(made.node, 0, -2).ahead is None
    assert made.p.time(made.node, 0, -1).ahead


def test_embedding():
    made = Made("embedding", value(5, kind="int"), vocab=11, d=6)
    ids = torch.randint(0, 11, (3, 5))
    close_with_gradients(made, lambda ids: torch.nn.functional.one_hot(ids, 11).double() @ made.module.weight, [ids])
    assert made.node.outputs[0].type.sizes == (5, 6)
    big = Made("embedding", value(5, kind="int"), vocab=300, d=60)
    assert float(big.module.weight.std()) == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize(("op", "transposed"), [("embedding", False), ("linear", True)])
@pytest.mark.parametrize("bias", [False, True])
def test_unembed_is_the_transpose(op, transposed, bias):
    table = Made("embedding", value(5, kind="int"), vocab=11, d=6) if op == "embedding" else Made("linear", value(11), out=6)
    inner = Instance("table", op, None, table.node.instance.weights)
    made = Made("unembed", value(5, 6), table=inner, bias=bias)
    x = f64(3, 5, 6)
    matrix = table.module.weight if transposed else table.module.weight.T
    close(made(x, table=table.module), x @ matrix + (made.module.bias if bias else 0))
    assert made.node.outputs[0].type.sizes == (5, 11)


def test_refused():
    assert refused("linear", value("d"), out=4).code == "AD0305"
    assert refused("linear", value(4, kind="int"), out=4).code == "AD0314"
    assert refused("linear", value(), out=4).code == "AD0303"
    assert refused("linear", value(4), out=4, bias=2).code == "AD0260"
    assert refused("linear", value(4), out=4, weight=value(4, 5).type).code == "AD0301"
    assert refused("linear", value(4), out=4, weight=value(4).type).code == "AD0303"
    assert refused("linear", value(4), out=4, bias=Init("values", ((1.0, 2.0),))).code == "AD0263"
    assert refused("embedding", value(4), vocab=4, d=4).code == "AD0314"
    assert refused("unembed", value(4), table=Instance("n", "rmsnorm", None)).code == "AD0262"
    table = Made("embedding", value(5, kind="int"), vocab=11, d=6).node.instance
    assert refused("unembed", value(4), table=table).code == "AD0301"
