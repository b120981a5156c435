"""The functions that emitted text calls: traced whole, on the meta device, in bfloat16, and their gradients."""

import pytest
import torch
from torch.autograd import gradcheck

from tests.primitives.helpers import FakeEmitter, check, run, value, written

LENGTHS = torch.tensor([4, 2])
INDEX = torch.tensor([[0, 2, 1], [3, 3, 0]])
ROWS = torch.tensor([[0, 1, 0, 2], [1, 1, 2, 0]])


def ragged(op, **args):
    return check(op, value("T", 3, ragged=[0]), **args), ()


CASES = {
    **{op: ragged(op, axis=0) for op in ("mean", "variance", "std", "sum", "amax", "logsumexp", "prod")},
    **{op: ragged(op, axis=0) for op in ("softmax", "log_softmax", "normalise", "flip")},
    "last": ragged("last"),
    "maxpool1d": (check("maxpool1d", value(4, "S", ragged=[1]), k=2, stride=1), ()),
    "avgpool1d": (check("avgpool1d", value(4, "S", ragged=[1]), k=2, stride=1), ()),
    "shift": ragged("shift", n=-1),
    "upsample": (check("upsample", value(4, 3), scale=2, mode="linear"), ()),
    "tile": (check("tile", value(4, 3), pattern="a b -> n a b", named={"n": 2}), ()),
    "expand": (check("expand", value(4, 3), shape=[2, 4, 3]), ()),
    "pad": (check("pad", value(4, 3), before=2, mode="reflect"), ()),
    "take": (check("take", value(4, 3), value(3, kind="int")), (INDEX,)),
    "take_shared": (check("take", value(4, 3), value(3, kind="int", batched=False), axis=1), (INDEX[0].clamp(max=2),)),
    "gather": (check("gather", value(4, 3), value(2, 3, kind="int", batched=False)), (INDEX,)),
    **{
        op: (check(op, value(4, 3), value(4, kind="int"), n=3), (ROWS,))
        for op in ("segment_sum", "segment_mean", "segment_max", "segment_softmax")
    },
}


@pytest.fixture(params=sorted(CASES))
def case(request):
    node, others = CASES[request.param]

    def apply(x):
        on = [t.to(x.device) for t in others]
        result = run(node, x, *on, lengths=LENGTHS.to(x.device), sizes={"T": 4, "S": 3})
        return result.real if result.is_complex() else result

    return apply


def test_meta(case):
    x = torch.randn(2, 4, 3)
    assert case(x.to("meta")).shape == case(x).shape


def test_bfloat16(case):
    result = case(torch.randn(2, 4, 3, dtype=torch.bfloat16))
    assert result.dtype == torch.bfloat16


def test_gradients(case):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(case, (x,))


@pytest.mark.parametrize("name", sorted(CASES))
def test_traced_without_a_break(name):
    from tests.primitives.helpers import SUPPORT

    node, others = CASES[name]
    text = written(node, "x", *("i" * bool(others)), emitter=FakeEmitter({"T": 4, "S": 3}, lengths=True))
    scope = {"torch": torch, "F": torch.nn.functional, **SUPPORT}
    exec(f"def function(x, lengths, i=None):\n    return {text}", scope)
    x = torch.randn(2, 4, 3)
    args = (x, LENGTHS, *others)
    compiled = torch.compile(scope["function"], backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(*args), scope["function"](*args))
