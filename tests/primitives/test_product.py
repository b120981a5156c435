import pytest
import torch

from archdsl.graph.ir import Node, Origin, Value
from archdsl.primitives import TABLE
from tests.primitives.helpers import REGION, SPAN, check, matches, refused, run, value, written

torch.manual_seed(1)


def random(sizes, batched, lead, kind=torch.float64):
    return torch.randn(*(lead if batched else ()), *sizes, dtype=kind)


MATMUL = [
    ((4, 3), (3, 5), "ij,jk->ik"),
    ((3,), (3, 5), "j,jk->k"),
    ((4, 3), (3,), "ij,j->i"),
    ((3,), (3,), "j,j->"),
    ((2, 4, 3), (2, 3, 5), "hij,hjk->hik"),
    ((2, 4, 3), (3, 5), "hij,jk->hik"),
    ((4, 3), (2, 3, 5), "ij,hjk->hik"),
    ((3,), (2, 3, 5), "j,hjk->hk"),
    ((2, 4, 3), (3,), "hij,j->hi"),
]


@pytest.mark.parametrize("lead", [(), (3,), (3, 2)])
@pytest.mark.parametrize(("left", "right"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize(("a", "b", "pattern"), MATMUL)
def test_matmul(a, b, pattern, left, right, lead):
    node = check("matmul", value(*a, batched=left), value(*b, batched=right))
    x, y = random(a, left, lead), random(b, right, lead)
    result = run(node, x, y)
    first, second = pattern.split("->")[0].split(",")
    out = pattern.split("->")[1]
    dots = "..." if left or right else ""
    expected = torch.einsum(f"{'...' if left else ''}{first},{'...' if right else ''}{second}->{dots}{out}", x, y)
    torch.testing.assert_close(result, expected, rtol=1e-12, atol=1e-12)
    matches(node, result, len(lead))


def test_batch_of_vectors_is_not_read_as_a_matrix():
    """[B, n] @ [B, n, m] with B = n would be accepted by torch.matmul as a matrix product."""
    node = check("matmul", value(3), value(3, 4))
    x, y = torch.randn(3, 3, dtype=torch.float64), torch.randn(3, 3, 4, dtype=torch.float64)
    torch.testing.assert_close(run(node, x, y), torch.einsum("bj,bjk->bk", x, y))


def test_matmul_text_is_plain():
    assert written(check("matmul", value(4, 3), value(3, 5))) == "a @ b"
    assert written(check("matmul", value(4, 3), value(3, 5)), "x + y", "-w") == "(x + y) @ (-w)"
    assert written(check("matmul", value(3), value(3, 5, batched=False)), "q", "w") == "q @ w"


def test_matmul_refuses():
    assert refused("matmul", value(4, 3), value(4, 5)).code == "AD0301"
    assert refused("matmul", value(2, 4, 3), value(5, 3, 5)).code == "AD0301"
    assert refused("matmul", value(2, 4, 3), value(2, 2, 3, 5)).code == "AD0310"
    assert refused("matmul", value(), value(3)).code == "AD0303"
    assert refused("matmul", value(3, kind="bool"), value(3)).code == "AD0314"


def diagonal(sizes, batched=True):
    inner = value(*sizes, batched=batched)
    made = check("diag", inner)
    node = Node("diag", [inner], made.attrs, [], Origin(SPAN))
    out = Value(made.outputs[0].type, REGION, node)
    node.outputs = [out]
    return out


@pytest.mark.parametrize("lead", [(), (3,), (3, 2)])
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("other", [(4, 5), (4,), (2, 4, 5)])
@pytest.mark.parametrize("side", ["left", "right"])
def test_diag_products_never_build_the_matrix(lead, batched, other, side):
    if side == "right":
        other = other if len(other) == 1 else (*other[:-2], other[-1], other[-2])
    d, s = diagonal((4,), batched[0]), value(*other, batched=batched[1])
    node = check("matmul", *((d, s) if side == "left" else (s, d)))
    a, x = random((4,), batched[0], lead), random(other, batched[1], lead)
    result = run(node, *((a, x) if side == "left" else (x, a)))
    dense = torch.diag_embed(a)
    if len(other) == 1:
        expected = torch.einsum("...i,...i->...i", a, x)
    else:
        for _ in range(len(other) - 2):
            dense = dense.unsqueeze(-3)
        expected = dense @ x if side == "left" else x @ dense
    torch.testing.assert_close(result, expected)
    text = written(node)
    assert "diag" not in text
    assert "@" not in text
    matches(node, result, len(lead))


def test_diag_text_and_cost():
    node = check("matmul", diagonal((4,)), value(4, 5))
    assert written(node, "g", "S") == "g[..., :, None] * S"
    assert TABLE["matmul"].flops(node) == 20
    assert TABLE["matmul"].flops(check("matmul", value(4, 3), value(3, 5))) == 120
    assert TABLE["matmul"].flops(check("matmul", value(2, 4, 3), value(3, 5))) == 240


def test_diag_alone():
    node = check("diag", value(2, 4))
    x = torch.randn(3, 2, 4)
    matches(node, run(node, x))
    assert torch.equal(run(node, x), torch.diag_embed(x))


@pytest.mark.parametrize("lead", [(), (3,), (3, 2)])
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(("a", "b"), [((4,), (5,)), ((2, 4), (2, 5)), ((4,), (2, 5)), ((2, 4), (5,))])
def test_outer(a, b, batched, lead):
    node = check("outer", value(*a, batched=batched[0]), value(*b, batched=batched[1]))
    x, y = random(a, batched[0], lead), random(b, batched[1], lead)
    names = ["" if len(s) == 1 else "h" for s in (a, b)]
    dots = ["..." if on else "" for on in batched]
    result = run(node, x, y)
    expected = torch.einsum(f"{dots[0]}{names[0]}i,{dots[1]}{names[1]}j->...{max(names)}ij", x, y)
    torch.testing.assert_close(result, expected)
    matches(node, result, len(lead))


def test_dot():
    node = check("dot", value(2, 4), value(2, 4))
    x, y = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    torch.testing.assert_close(run(node, x, y), (x * y).sum(-1))
    assert written(node, "p - q", "r") == "((p - q) * r).sum(-1)"


def test_time_rules():
    def rule(*args):
        return TABLE["matmul"].time(*args).ahead

    square = check("matmul", value("T", 4), value(4, 5))
    assert rule(square, 0, -2) is None
    assert "sums" in rule(square, 0, -1)
    assert "sums" in rule(square, 1, -2)
    assert rule(square, 1, -1) is None
    vector = check("matmul", value("T", 4), value(4))
    assert "sums" in rule(vector, 1, -1)


EINSUM = [
    ("t d, e d -> t e", [(6, 4), (5, 4)], "td,ed->te"),
    ("t h c, s h c -> h t s", [(6, 2, 4), (7, 2, 4)], "thc,shc->hts"),
    ("i i -> ", [(4, 4)], "ii->"),
    ("time depth -> time", [(6, 4)], "td->t"),
    ("a b, b c, c -> a", [(2, 3), (3, 4), (4,)], "ab,bc,c->a"),
    ("dim data -> data dim", [(2, 3)], "xy->yx"),
]


@pytest.mark.parametrize("lead", [(), (3,), (3, 2)])
@pytest.mark.parametrize(("pattern", "sizes", "plain"), EINSUM)
def test_einsum(pattern, sizes, plain, lead):
    for unbatched in range(len(sizes) + 1):
        batched = [i != unbatched for i in range(len(sizes))]
        node = check("einsum", *(value(*s, batched=b) for s, b in zip(sizes, batched)), pattern=pattern)
        tensors = [random(s, b, lead) for s, b in zip(sizes, batched)]
        result = run(node, *tensors)
        left, right = plain.split("->")
        terms = ",".join(("..." if b else "") + t for t, b in zip(left.split(","), batched))
        expected = torch.einsum(f"{terms}->{'...' if any(batched) else ''}{right}", *tensors)
        torch.testing.assert_close(result, expected)
        matches(node, result, len(lead))


def test_einsum_rest_axes():
    node = check("einsum", value(2, 3, 4), value(5, 4, batched=False), pattern="... d, e d -> ... e")
    x, w = torch.randn(6, 2, 3, 4), torch.randn(5, 4)
    torch.testing.assert_close(run(node, x, w), x @ w.T)
    matches(node, run(node, x, w))


def test_einsum_of_too_many_axes():
    many = " ".join(f"a{i}" for i in range(60))
    assert refused("einsum", value(*[1] * 60), pattern=f"{many} -> a0").code == "AD0311"


def test_einsum_cost_and_time():
    node = check("einsum", value("T", 4), value(5, 4, batched=False), pattern="t d, e d -> t e")
    assert str(TABLE["einsum"].flops(node)) == "40*T"
    assert TABLE["einsum"].time(node, 0, -2).ahead is None
    assert "sums" in TABLE["einsum"].time(node, 0, -1).ahead


@pytest.mark.parametrize(
    ("pattern", "sizes", "named", "code"),
    [
        ("t d, e d -> t e", [(6, 4), (5, 3)], {}, "AD0301"),
        ("t d -> t e", [(6, 4)], {}, "AD0311"),
        ("t d, e d -> t e", [(6, 4)], {}, "AD0311"),
        ("t (h c) -> t", [(6, 4)], {}, "AD0311"),
        ("t d -> t t", [(6, 4)], {}, "AD0311"),
        ("t d -> t", [(6, 4, 2)], {}, "AD0312"),
        ("t d -> t", [(6, 4)], {"d": 5}, "AD0301"),
        ("t d -> t", [(6, 4)], {"z": 5}, "AD0311"),
    ],
)
def test_einsum_refuses(pattern, sizes, named, code):
    assert refused("einsum", *(value(*s) for s in sizes), pattern=pattern, named=named).code == code
