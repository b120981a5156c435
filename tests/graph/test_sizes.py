"""Symbolic sizes: exact arithmetic, canonical forms, and decisions that never claim what is not so."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archdsl.graph.sizes import (
    Facts,
    Poly,
    SizeTooLarge,
    ceildiv,
    decide_compare,
    decide_divides,
    decide_equal,
    evaluate,
    floordiv,
    mod,
    size_max,
    size_min,
    source,
    substitute,
    symbol,
)

T, H, W, S = map(symbol, "THWS")


def facts(*, divisible=(), equal=(), less_equal=()) -> Facts:
    known = Facts()
    for pair in divisible:
        known.divisible(*pair)
    for pair in equal:
        known.equal(*pair)
    for pair in less_equal:
        known.less_equal(*pair)
    return known


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (2 * T + 1, "2*T + 1"),
        (H / 2, "H/2"),
        (3 * H / 4, "3*H/4"),
        ((H - 1) / 2, "(H - 1)/2"),
        (T * H - T, "H*T - T"),
        (T**2 + T, "T**2 + T"),
        (floordiv(T, 4), "floor(T/4)"),
        (ceildiv(T, 4), "ceil(T/4)"),
        (floordiv(2 * T, 3), "floor(2*T/3)"),
        (floordiv(T, H), "floor(T/H)"),
        (-T, "-T"),
    ],
)
def test_text(size, text):
    assert str(size) == text


def test_constants_collapse_to_plain_numbers():
    assert type(T - T) is int
    assert T - T == 0
    assert type(T + 1 - T) is int
    assert (T + Fraction(1, 2)) - T == Fraction(1, 2)
    assert (T * H) / (T * H) == 1
    assert type((2 * T) / T) is int


def test_equal_sizes_hash_alike():
    assert (T + H) * 2 == 2 * H + 2 * T
    assert hash((T + H) * 2) == hash(2 * H + 2 * T)
    assert T != 3
    assert (T + 1).symbols() == {"T"}
    assert floordiv(T * H, W).symbols() == {"T", "H", "W"}


def test_exact_division_of_polynomials():
    assert (T * T - 1) / (T - 1) == T + 1
    assert (T * H * 6 + H) / H == 6 * T + 1
    assert str(T / H) == "T/H"
    assert (T / H).symbols() == {"T", "H"}


def test_floor_takes_known_multiples_out():
    known = facts(divisible=[(H, 8)])
    assert floordiv(H, 2, known) == H / 2
    assert floordiv(H / 2, 2, known) == H / 4
    assert mod(H, 4, known) == 0
    assert floordiv(H - 2, 2, known) + 1 == H / 2
    assert floordiv(2 * T + 1, 2) == T
    assert mod(2 * T + 1, 2) == 1
    assert floordiv(H, 16, known) == floordiv(H, 16)
    assert isinstance(floordiv(H, 16, known), Poly)
    assert floordiv(7 * T, 2) == 3 * T + floordiv(T, 2)


def test_nested_floors_merge_as_strided_convolutions_need():
    once = floordiv(T + 2 - 3, 2) + 1
    assert str(once) == "ceil(T/2)"
    twice = floordiv(once + 2 - 3, 2) + 1
    for n in range(1, 40):
        assert evaluate(twice, {"T": n}) == ((n - 1) // 2) // 2 + 1
    assert floordiv(floordiv(T, 2), 3) == floordiv(T, 6)


def test_sizes_hundreds_deep_are_compared():
    deep = T
    for _ in range(300):
        deep = floordiv(2 * deep + 1, 3)
    assert decide_compare(">=", deep, 0) is True
    assert decide_compare(">=", deep, 1) is True  # (2 + 1) // 3 is 1 again
    assert decide_compare(">=", deep, 2) is None


def test_facts_about_sums_and_products():
    known = facts(divisible=[(H + 1, 2)])
    assert floordiv(H + 1, 2, known) == (H + 1) / 2
    assert floordiv(H, 2, known) == (H - 1) / 2
    assert decide_divides(H, 2, known)[0] is False
    known = facts(divisible=[(H, 4), (T * W, 3)])
    assert known.divides(3 * H, 4)
    assert known.divides(H + H * T, 4)
    assert known.divides(T * W * S, 3)
    assert known.divides(H * T * W, 12)
    assert not known.divides(H + T, 4)
    assert not known.divides(T, 3)
    assert facts(divisible=[(H / 2, 2)]).divides(H, 4)
    assert facts(divisible=[(H, 4), (H, 6)]).divides(H, 12)


def test_equations_substitute():
    known = facts(equal=[(T, 2 * S)], divisible=[(S, 4)])
    assert known.divides(T, 8)
    assert decide_equal(T / 2, S, known) is True
    assert floordiv(T, 8, known) == S / 4
    chained = facts(equal=[(T, S), (S, W)])
    assert decide_equal(T, W, chained) is True
    odd = facts(equal=[(2 * T, 3 * S)])
    assert odd.divides(S, 2)
    assert odd.divides(T, 3)
    product = facts(equal=[(W * H, T * T)])
    assert decide_equal(2 * W * H + 1, 2 * T * T + 1, product) is True
    before = facts(divisible=[(T, 6)])
    before.equal(T, 3 * S)
    assert before.divides(S, 2)


def test_facts_print():
    known = facts(divisible=[(H, 8), (H + T, 2)], equal=[(T, 2 * S)], less_equal=[(W, 512)])
    assert list(known) == ["H % 8 == 0", "(H + T) % 2 == 0", "T == 2*S", "W <= 512"]
    other = known.copy()
    other.divisible(W, 2)
    assert not known.divides(W, 2)
    assert other.divides(W, 2)


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (T, T, True),
        (2 * (T + 1), 2 * T + 2, True),
        (3, 4, False),
        (T, H, False),
        (T, 8, False),
        (T, T + 1, False),
        (H, 2 * H, False),
        (2 * T, H * 3, False),
        (2 * floordiv(T, 2), T, None),
        (16 * floordiv(T, 16), T, None),
        (2 * ceildiv(T, 2), T + 1, None),
        (floordiv(T, 2) + ceildiv(T, 2), T, None),
        (floordiv(T, 2), floordiv(T, 3), False),
    ],
)
def test_decide_equal(a, b, verdict):
    assert decide_equal(a, b) is verdict
    assert decide_equal(b, a) is verdict


def test_decide_equal_with_facts():
    even = facts(divisible=[(T, 2)])
    assert decide_equal(2 * floordiv(T, 2, even), T, even) is True
    assert decide_equal(2 * floordiv(T, 2), T, even) is not False
    odd = facts(divisible=[(T + 1, 2)])
    assert decide_equal(2 * floordiv(T, 2, odd), T, odd) is False


def test_decide_divides():
    assert decide_divides(12, 4) == (True, 3)
    assert decide_divides(10, 4) == (False, 2)
    assert decide_divides(T, 4) == (None, T / 4)
    assert decide_divides(T, 4, facts(divisible=[(T, 8)])) == (True, T / 4)
    assert decide_divides(2 * T + 1, 2) == (False, T)
    assert decide_divides(H * T, H) == (True, T)
    assert decide_divides(T, H)[0] is None
    assert decide_divides(T, 0)[0] is False
    assert decide_divides(12, T)[0] is not True


def test_decide_compare():
    assert decide_compare("<", T, T + 1) is True
    assert decide_compare(">=", T, 1) is True
    assert decide_compare(">", T, 1) is None
    assert decide_compare("<=", T, T * T) is True
    assert decide_compare("<", T, T) is False
    assert decide_compare("<", T, S) is None
    assert decide_compare(">=", H, 8, facts(divisible=[(H, 8)])) is True
    assert decide_compare("<=", W, 512, facts(less_equal=[(W, 512)])) is True
    assert decide_compare("<", W, T, facts(less_equal=[(W, T - 1)])) is True
    assert decide_compare("<=", floordiv(T, 2), -1) is False
    assert decide_compare("<", 3, 2) is False


def test_max_and_min_drop_what_is_dominated():
    assert size_max(T, T + 1) == T + 1
    assert size_min(T, 1) == 1
    assert size_max(T, 1) == T
    assert size_max(3, 5) == 5
    both = size_max(T, S)
    assert both == size_max(S, T)
    assert str(size_max(both, 4)) == "max(4, S, T)"
    assert evaluate(size_min(T, S), {"T": 3, "S": 9}) == 3


def test_source_computes_the_same():
    rng = random.Random(0)
    for size in (
        H / 2 + 3,
        floordiv(T - 1, 2) * 3 + T * T,
        3 * H / 4,
        size_max(T, S, 4),
        ceildiv(T * H, 3),
        (H - 4) / 4,
        floordiv(T, H) - 2,
    ):
        for _ in range(20):
            values = {"T": rng.randrange(1, 99), "H": 4 * rng.randrange(1, 99), "S": rng.randrange(1, 9)}
            assert eval(source(size), {"max": max}, dict(values)) == evaluate(size, values)
    assert source(T + H, {"T": "x.shape[1]", "H": "y.shape[2]"}) == "y.shape[2] + x.shape[1]"


def test_substitute_simplifies_again():
    assert substitute(floordiv(T, 4), {"T": 8 * S}) == 2 * S
    assert substitute(floordiv(T + 1, 2), {"T": 7}) == 4
    assert substitute(size_max(T, S), {"S": T + 1}) == T + 1
    assert substitute(T / H, {"T": H * 3}) == 3


def _grow(step):
    size = T
    for _ in range(10_000):
        size = step(size)
    return size


@pytest.mark.parametrize(
    "step", [lambda s: floordiv(s * s, H), lambda s: s * 10**18, lambda s: floordiv(s, H), lambda s: (s + H) * (s + W)]
)
def test_budgets_end_hostile_growth(step):
    with pytest.raises(SizeTooLarge):
        _grow(step)


def test_powers_are_bounded():
    with pytest.raises(SizeTooLarge):
        (T + H + W + S + 1) ** 24
    with pytest.raises(SizeTooLarge):
        T**1000


def _trees():
    leaf = st.sampled_from([T, H, S, 1, 2, 3, 7])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["+", "-", "*"]), inner, inner),
            st.tuples(st.sampled_from(["//", "ceil", "%"]), inner, st.sampled_from([2, 3, 4, 8])),
            st.tuples(st.sampled_from(["max", "min"]), inner, inner),
        ),
        max_leaves=6,
    )


def _build(tree, known):
    if not isinstance(tree, tuple):
        return tree
    op, a, b = tree[0], _build(tree[1], known), _build(tree[2], known)
    return {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "//": lambda: floordiv(a, b, known),
        "ceil": lambda: ceildiv(a, b, known),
        "%": lambda: mod(a, b, known),
        "max": lambda: size_max(a, b, facts=known),
        "min": lambda: size_min(a, b, facts=known),
    }[op]()


def _compute(tree, values):
    if isinstance(tree, Poly):
        return values[tree.name]
    if isinstance(tree, int):
        return tree
    op, a, b = tree[0], _compute(tree[1], values), _compute(tree[2], values)
    return {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "//": lambda: a // b,
        "ceil": lambda: -(-a // b),
        "%": lambda: a % b,
        "max": lambda: max(a, b),
        "min": lambda: min(a, b),
    }[op]()


POINTS = [{"T": t, "H": 8 * h, "S": s} for t, h, s in itertools.product((1, 2, 3, 5, 8), (1, 2, 3), (1, 4, 7))]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_trees(), _trees())
def test_symbolic_agrees_with_numbers(left, right):
    known = facts(divisible=[(H, 8)])
    a, b = _build(left, known), _build(right, known)
    pairs = [(_compute(left, p), _compute(right, p)) for p in POINTS]
    assert [evaluate(a, p) for p in POINTS] == [x for x, _ in pairs]
    equal = decide_equal(a, b, known)
    assert equal is not True or all(x == y for x, y in pairs)
    for op, holds in (("<", lambda x, y: x < y), ("<=", lambda x, y: x <= y), (">", lambda x, y: x > y), (">=", lambda x, y: x >= y)):
        verdict = decide_compare(op, a, b, known)
        assert verdict is None or all(holds(x, y) is verdict for x, y in pairs)
    divides, quotient = decide_divides(a, 4, known)
    assert divides is not True or all(x == 4 * evaluate(quotient, p) for (x, _), p in zip(pairs, POINTS))
    assert divides is not False or any(x % 4 for x, _ in pairs)
