"""Products through oneDNN are torch's, in value, gradient and second gradient; whoever watches the calls sees F.linear."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from archdsl.kernels import linear as kernel
from tests.rounding import near

pytestmark = pytest.mark.skipif(not hasattr(torch.ops.mkldnn, "_linear_pointwise"), reason="this torch has no oneDNN")
SIZES = [((1,), 576, 1536), ((3, 7), 512, 320), ((2, 1, 64), 64, 2050)]


@pytest.fixture
def faster(monkeypatch):
    """As on a CPU where oneDNN is taken."""
    monkeypatch.setattr(kernel, "onednn_is_faster", lambda: True)


def results(linear, given, seed):
    """The product, its gradients, and gradients of these."""
    y = linear(*given)
    first = torch.autograd.grad(y, given, seed, create_graph=True)
    return [y, *first, *torch.autograd.grad(sum(g.square().sum() for g in first[:2]), given[:2])]


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("lead", "inputs", "outputs"), SIZES)
def test_values_and_gradients_are_torchs(lead, inputs, outputs, bias):
    x = torch.randn(*lead, inputs, requires_grad=True)
    w = torch.randn(outputs, inputs, requires_grad=True)
    given = (x, w, torch.randn(outputs, requires_grad=True)) if bias else (x, w)
    seed = torch.randn(*lead, outputs)
    ours, plain = results(kernel.linear, given, seed), results(F.linear, given, seed)
    assert "Linear" not in type(ours[0].grad_fn).__name__
    near(ours, plain, results(F.linear, [t.detach().double().requires_grad_() for t in given], seed.double()))


@pytest.mark.usefixtures("faster")
def test_whoever_watches_sees_torch():
    x, w = torch.randn(4, 576), torch.randn(1536, 576)
    with FlopCounterMode(display=False) as counted:
        kernel.linear(x, w)
    assert counted.get_total_flops() == 2 * 4 * 576 * 1536
    assert torch.equal(torch.func.vmap(lambda row: kernel.linear(row, w))(x), torch.func.vmap(lambda row: F.linear(row, w))(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert kernel.linear(x, w).dtype is torch.bfloat16
    assert kernel.linear(x.to("meta"), w.to("meta")).shape == (4, 1536)


@pytest.mark.usefixtures("faster")
def test_other_types_and_small_sizes_are_torchs_own():
    for x, w in ((torch.randn(4, 8), torch.randn(16, 8)), (torch.randn(4, 576).double(), torch.randn(1536, 576).double())):
        assert torch.equal(kernel.linear(x, w), F.linear(x, w))
    with pytest.raises(RuntimeError):
        kernel.linear(torch.randn(4, 577), torch.randn(1536, 576))
