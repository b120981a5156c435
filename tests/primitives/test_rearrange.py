import einops
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from archdsl.diagnostics import ArchError
from archdsl.graph.ir import Axis
from archdsl.graph.sizes import Facts, symbol
from tests.primitives.helpers import assumed, check, matches, refused, run, value, warned, written

torch.manual_seed(0)

CASES = [
    ("t (h c) -> h t c", (6, 20), {"h": 4}),
    ("h t c -> t (h c)", (4, 6, 5), {}),
    ("t d -> d t", (6, 5), {}),
    ("a b c d -> d a c b", (2, 3, 4, 5), {}),
    ("a b c d -> b c d a", (2, 3, 4, 5), {}),
    ("a b c d -> a d c b", (2, 3, 4, 5), {}),
    ("c h w -> (h w) c", (3, 4, 5), {}),
    ("c (h p) (w q) -> (h w) (p q c)", (3, 4, 6), {"p": 2, "q": 3}),
    ("(r s c) h w -> c (h r) (w s)", (12, 2, 3), {"r": 2, "s": 2}),
    ("c -> c 1 1", (3,), {}),
    ("c 1 -> 1 c", (3, 1), {}),
    ("1 c 1 -> c", (1, 3, 1), {}),
    ("... c -> c ...", (2, 3, 4), {}),
    ("a ... (h c) -> h a ... c", (2, 3, 5, 8), {"h": 2}),
    ("(a b) -> b a", (6,), {"b": 3}),
    ("a b -> (b a)", (3, 4), {}),
    ("(a 1) b -> b a", (3, 4), {}),
    ("a b c -> (a c) 1 b", (2, 3, 4), {}),
    ("a b -> a b", (2, 3), {}),
]
TILES = [
    ("c -> c h w", (3,), {"h": 2, "w": 4}),
    ("t d -> (t r) d", (3, 4), {"r": 2}),
    ("t d -> (r t) d", (3, 4), {"r": 2}),
    ("k t c -> (k r) t c", (2, 3, 4), {"r": 3}),
    ("a b -> n b m a", (2, 3), {"n": 2, "m": 3}),
    ("... -> n ...", (2, 3), {"n": 2}),
]


def einops_reference(function, pattern, x, named, lead):
    names = " ".join(f"batch{i}" for i in range(lead))
    left, right = pattern.split("->")
    return function(x, f"{names} {left} -> {names} {right}", **named)


@pytest.mark.parametrize("lead", [0, 1, 2])
@pytest.mark.parametrize(("op", "pattern", "sizes", "named"), [("rearrange", *c) for c in CASES] + [("tile", *c) for c in TILES])
def test_equals_einops(op, pattern, sizes, named, lead):
    x = torch.randn(*[2, 3][:lead], *sizes, dtype=torch.float64)
    node = check(op, value(*sizes), pattern=pattern, named=named)
    result = run(node, x)
    expected = einops_reference(einops.repeat if op == "tile" else einops.rearrange, pattern, x, named, lead)
    assert torch.equal(result, expected)
    matches(node, result, lead)


@pytest.mark.parametrize(
    ("pattern", "sizes", "named", "text"),
    [
        ("t (h c) -> h t c", (6, 576), {"h": 9}, "x.unflatten(-1, (9, 64)).transpose(-3, -2)"),
        ("h t c -> t (h c)", (9, 6, 64), {}, "x.transpose(-3, -2).flatten(-2)"),
        ("t d -> d t", (6, 5), {}, "x.transpose(-2, -1)"),
        ("c h w -> h w c", (3, 4, 5), {}, "x.movedim(-3, -1)"),
        ("a b -> a b", (3, 4), {}, "x"),
        ("t (h c) -> t h c", (6, "d"), {"h": 9}, "x.unflatten(-1, (9, -1))"),
    ],
)
def test_text_is_short(pattern, sizes, named, text):
    assert written(check("rearrange", value(*sizes), pattern=pattern, named=named), "x") == text


def test_compound_argument_gets_parentheses():
    assert written(check("rearrange", value(2, 3), pattern="a b -> b a"), "x + y") == "(x + y).transpose(-2, -1)"


def test_whole_axes_keep_identity_and_others_do_not():
    t, d = Axis(symbol("T")), Axis(20)
    (out,) = check("rearrange", value(t, d), pattern="t (h c) -> h t c", named={"h": 4}).outputs
    assert out.type.axes[1] is t
    assert d.identity not in {a.identity for a in out.type.axes}


def test_merging_with_size_one_keeps_identity():
    t = Axis(symbol("T"))
    node = check("rearrange", value(t, 1), pattern="t p -> (t p)")
    assert node.outputs[0].type.axes[0] is t
    node = check("rearrange", value(t), pattern="(t p) -> t p", named={"p": 1})
    assert node.outputs[0].type.axes[0] is t
    assert time_rule(node, -1) is None


def time_rule(node, axis):
    from archdsl.primitives import TABLE

    return TABLE[node.op].time(node, 0, axis).ahead


def test_time_rule():
    node = check("rearrange", value("T", 20), pattern="t (h c) -> h t c", named={"h": 4})
    assert time_rule(node, -2) is None
    assert "regroups" in time_rule(node, -1)
    merged = check("rearrange", value("T", 20), pattern="t d -> (t d)")
    assert "regroups" in time_rule(merged, -2)


def test_sizes_are_proved_assumed_or_refuted():
    facts = Facts()
    facts.divisible(symbol("T"), 4)
    node = check("rearrange", value("T", 8), facts=facts, pattern="(n s) d -> n s d", named={"s": 4})
    assert assumed() == []
    assert str(node.outputs[0].type) == "[T/4, 4, 8]"
    check("rearrange", value("T", 8), pattern="(n s) d -> n s d", named={"s": 4})
    assert assumed() == ["T % 4"]
    wrong = refused("rearrange", value("T", 576), pattern="t (h c) -> h t c", named={"h": 7})
    assert wrong.code == "AD0302"
    assert "h = 7" in wrong.title
    assert "576" in wrong.title


@pytest.mark.parametrize(
    ("pattern", "sizes", "named", "code", "words"),
    [
        ("t d d", (2, 3), {}, "AD0311", "arrow"),
        ("t d -> d", (2, 3), {}, "AD0311", "missing on the right"),
        ("t d -> d t x", (2, 3), {"x": 2}, "AD0311", "missing on the left"),
        ("t (h c -> h t c", (2, 4), {"h": 2}, "AD0311", "never closed"),
        ("t h) -> h t", (2, 4), {}, "AD0311", "without"),
        ("t t -> t", (2, 4), {}, "AD0311", "twice"),
        ("t (h c) -> h t c", (2, 4), {}, "AD0311", "both unknown"),
        ("t (h c) -> h t c", (2, 4), {"h": 2, "z": 3}, "AD0311", "not in the pattern"),
        ("t d -> d t", (2, 4, 5), {}, "AD0312", "2 axes, the input 3"),
        ("t 2 -> t", (2, 2), {}, "AD0311", "Only 1"),
        ("t d! -> t d", (2, 2), {}, "AD0311", "not an axis name"),
        ("t d -> t d", (2, 2), {"d": 3}, "AD0301", "differ"),
        ("t 1 -> t", (2, 2), {}, "AD0301", "differ"),
        ("... d -> d", (2, 2), {}, "AD0311", "one side"),
        ("t (h c) -> h t c", (2, 4), {"h": 0}, "AD0311", "not a size"),
        ("a" * 500 + " -> a", (2, 4), {}, "AD0311", "longer"),
    ],
)
def test_refuses(pattern, sizes, named, code, words):
    found = refused("rearrange", value(*sizes), pattern=pattern, named=named)
    assert found.code == code
    assert words in " ".join((found.title, found.label, found.note, found.hint))


def test_tile_needs_sizes_of_new_axes():
    assert "unknown" in refused("tile", value(3), pattern="c -> c h").label


def test_lengths_are_lost_with_a_warning():
    check("rearrange", value("T", 8, ragged=[0]), pattern="t d -> (t d)")
    assert warned() == ["AD0313"]
    check("rearrange", value("T", 8, ragged=[0]), pattern="t d -> d t")
    assert warned() == []


@st.composite
def patterns(draw):
    """A pattern that splits, moves, merges, and makes size-1 axes; the sizes of its names; the new axes among them."""
    names = [f"n{i}" for i in range(draw(st.integers(1, 5)))]
    new = [f"r{i}" for i in range(draw(st.integers(0, 2)))]
    sizes = {name: draw(st.integers(1, 3)) for name in names + new}

    def grouped(order):
        groups, at = [], 0
        while at < len(order):
            width = draw(st.integers(1, 3))
            groups.append(order[at : at + width])
            at += width
            if draw(st.integers(0, 4)) == 0:
                groups.append([])
        return groups

    left, right = grouped(names), grouped(draw(st.permutations(names + new)))
    return left, right, sizes, new


def spelled(groups):
    return " ".join("1" if not g else g[0] if len(g) == 1 else f"({' '.join(g)})" for g in groups)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(patterns(), st.integers(0, 2))
def test_any_pattern_equals_einops(found, lead):
    left, right, sizes, new = found
    shape = [torch.Size(sizes[n] for n in group).numel() for group in left]
    named = {n: s for n, s in sizes.items() if n in new or any(n in g[1:] for g in left)}
    pattern = f"{spelled(left)} -> {spelled(right)}"
    x = torch.randn([2, 3][:lead] + shape)
    op = "tile" if new else "rearrange"
    node = check(op, value(*shape), pattern=pattern, named=named)
    result = run(node, x)
    matches(node, result, lead)
    function = einops.repeat if new else einops.rearrange
    assert torch.equal(result, einops_reference(function, pattern, x, named, lead))


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text("tdhc12()->. ,…$", max_size=24), st.sampled_from(["rearrange", "tile", "einsum"]))
def test_any_text_is_accepted_or_refused_politely(text, op):
    codes = []
    for sizes in ((2, 4), (4,), ()):
        try:
            check(op, value(*sizes), pattern=text, named={"h": 2})
        except ArchError as error:
            codes += [d.code for d in error.diagnostics]
    assert set(codes) <= {"AD0301", "AD0302", "AD0311", "AD0312"}
