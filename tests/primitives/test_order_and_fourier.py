import pytest
import torch

from archdsl.graph.sizes import Facts, symbol
from archdsl.primitives import TABLE
from tests.primitives.helpers import assumed, check, matches, refused, run, value, written

LEADS = [(), (2,), (2, 3)]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("axis", [0, -1])
def test_topk_and_sort(axis, lead):
    x = torch.randn(*lead, 5, 6)
    dim = -2 if axis == 0 else -1
    node = check("topk", value(5, 6), k=3, axis=axis)
    values, places = run(node, x)
    matches(node, (values, places), len(lead))
    assert torch.equal(values, x.topk(3, dim).values)
    assert torch.equal(x.gather(dim, places), values)
    for descending in (False, True):
        node = check("sort", value(5, 6), axis=axis, descending=descending)
        assert torch.equal(run(node, x), x.sort(dim, descending=descending).values)
        node = check("argsort", value(5, 6), axis=axis, descending=descending)
        matches(node, run(node, x), len(lead))
        assert torch.equal(x.gather(dim, run(node, x)), x.sort(dim, descending=descending).values)


def test_padding_is_ranked_last():
    x = torch.tensor([[3.0, 9.0, 1.0, 7.0], [5.0, 4.0, 8.0, 9.0]])
    lengths = torch.tensor([3, 2])
    node = check("argsort", value("T", ragged=[0]), axis=0)
    assert run(node, x, lengths=lengths).tolist() == [[2, 0, 1, 3], [1, 0, 2, 3]]
    node = check("topk", value("T", ragged=[0]), k=2, axis=0)
    assert run(node, x, lengths=lengths)[1].tolist() == [[1, 0], [0, 1]]


def test_order_refuses():
    assert refused("topk", value(5), k=6).code == "AD0316"
    assert refused("sort", value(5, kind="complex")).code == "AD0314"
    assert TABLE["topk"].time(check("topk", value("T", 3), k=2), 0, -2).ahead is None
    assert "ranks" in TABLE["sort"].time(check("sort", value("T", 3), axis=0), 0, -2).ahead


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("axis", [0, -1, [0, 1]])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_transforms(axis, norm, lead):
    x = torch.randn(*lead, 6, 5, dtype=torch.float64)
    dim = (-2, -1) if isinstance(axis, list) else axis - 2 if axis == 0 else axis
    many = "n" if isinstance(axis, list) else ""
    for op in ("fft", "ifft", "rfft"):
        node = check(op, value(6, 5), axis=axis, norm=norm)
        result = run(node, x)
        matches(node, result, len(lead))
        torch.testing.assert_close(result, getattr(torch.fft, op + many)(x, dim=dim, norm=norm))
    n = 6 if axis == 0 else 5
    forth = check("rfft", value(6, 5), axis=axis, norm=norm)
    back = check("irfft", forth.outputs[0], axis=axis, norm=norm, n=n)
    again = run(back, run(forth, x))
    matches(back, again, len(lead))
    torch.testing.assert_close(again, x)


def test_sizes_of_transforms():
    assert str(check("rfft", value("T", 3), axis=0).outputs[0].type) == "complex[floor(T/2) + 1, 3]"
    facts = Facts()
    facts.divisible(symbol("T"), 2)
    forth = check("rfft", value("T", 3), axis=0, facts=facts)
    back = check("irfft", forth.outputs[0], axis=0, facts=facts)
    assert str(back.outputs[0].type) == "[T, 3]"
    check("irfft", check("rfft", value("T", 3), axis=0).outputs[0], axis=0, n=symbol("T"))
    assert assumed() == []
    assert refused("irfft", value(4, kind="complex"), n=9).code == "AD0301"
    assert refused("rfft", value(4, kind="complex")).code == "AD0314"
    assert refused("fft", value(4), norm="x").code == "AD0316"
    assert refused("fft", value(4, 4), axis=[0, 0]).code == "AD0304"
    assert written(check("rfft", value(8)), "x") == "torch.fft.rfft(x, dim=-1)"
    assert "transforms" in TABLE["fft"].time(check("fft", value("T", 3), axis=0), 0, -2).ahead
