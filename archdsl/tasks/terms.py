"""Terms of structurally recursive functions, as words, and their reduction one unfolding at a time (Zhang et al. 2024, "Transformer-based
models are not yet perfect at learning to emulate structural recursion", arXiv:2401.12947).

Binary numbers are written from their constructors, the outermost first: 1 is `1`, 2b is `X0 b`, 2b + 1 is `X1 b`; so the least significant
bit comes first. Trees are `.` or `( label left right )`. Those brackets, and `F` for a traversal, are an assumption: the paper's own symbols
may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from archdsl.tasks.base import Option

Words = tuple[str, ...]
Tree = tuple["Tree", int, "Tree"] | None

MARKS: Words = ("_", "=", ";")  # padding, the end of a question, the end of an answer
OPTIONS = {
    "k": Option(0, "ask for the term after k more unfoldings, of a term unfolded some times already; 0: for the value", 0, 1 << 10),
    "examples": Option(0, "questions with their answers that stand before the one asked", 0, 64),
    "oversample": Option(0.0, "share of training rows drawn so that every depth is alike, as held-out rows of `test` are", 0.0, 1.0),
}


def number(value: int) -> Words:
    """A number of at least 1 as constructors."""
    return (*(f"X{value >> i & 1}" for i in range(value.bit_length() - 1)), "1")


def unfold_successor(term: Words) -> Words | None:
    """S 1 -> X0 1; S X0 b -> X1 b; S X1 b -> X0 S b. None if there is nothing to unfold."""
    if "S" not in term:
        return None
    at = term.index("S")
    head, rest = term[:at], term[at + 2 :]
    return head + {"1": ("X0", "1"), "X0": ("X1", *rest), "X1": ("X0", "S", *rest)}[term[at + 1]]


def unfold_traversal(order: str) -> Callable[[Words], Words | None]:
    """The first `F tree` unfolds: F . to nothing; F ( a l r ) to `a F l F r` ("pre") or `F l a F r` ("in")."""

    def unfold(term: Words) -> Words | None:
        if "F" not in term:
            return None
        at = term.index("F")
        end = _tree_end(term, at + 1)
        if term[at + 1] == ".":
            return term[:at] + term[end:]
        label, left = term[at + 2], at + 3
        right = _tree_end(term, left)
        first, second = ("F", *term[left:right]), ("F", *term[right : end - 1])
        made = (label, *first, *second) if order == "pre" else (*first, label, *second)
        return term[:at] + made + term[end:]

    return unfold


def unfolded(term: Words, unfold: Callable[[Words], Words | None], times: int) -> Words:
    """The term after some unfoldings, or its value if there are fewer."""
    for _ in range(times):
        after = unfold(term)
        if after is None:
            return term
        term = after
    return term


def _tree_end(term: Words, start: int) -> int:
    """Where the tree that begins at `start` has ended."""
    open_, at = 0, start
    while True:
        open_ += (term[at] == "(") - (term[at] == ")")
        at += 1
        if open_ == 0:
            return at


def written(tree: Tree) -> Words:
    """A tree as words; labels are `a0`, `a1`, …"""
    if tree is None:
        return (".",)
    left, label, right = tree
    return ("(", f"a{label}", *written(left), *written(right), ")")


def height(tree: Tree) -> int:
    """Nodes on the longest way down."""
    return 0 if tree is None else 1 + max(height(tree[0]), height(tree[2]))


@cache
def trees_within(nodes: int, tall: int) -> int:
    """How many shapes a tree of so many nodes and at most this height has."""
    if nodes == 0:
        return 1
    return 0 if tall <= 0 else sum(trees_within(i, tall - 1) * trees_within(nodes - 1 - i, tall - 1) for i in range(nodes))


def trees_of(nodes: int, tall: int) -> int:
    """How many shapes have just this height."""
    return trees_within(nodes, tall) - (trees_within(nodes, tall - 1) if tall else 0)


def draw_tree(nodes: int, tall: int, exact: bool, below: Callable[[int], int]) -> Tree:
    """A tree, each shape alike: of at most or just this height. Labels are 0. below(n) draws a number from 0 to below n."""
    if nodes == 0:
        return None
    sides = _sides(nodes, tall, exact)
    draw = below(sum(weight for weight, *_ in sides))
    for weight, count, left, right in sides:
        if draw < weight:
            return draw_tree(count, *left, below), 0, draw_tree(nodes - 1 - count, *right, below)
        draw -= weight
    raise AssertionError


Side = tuple[int, bool]


@cache
def _sides(nodes: int, tall: int, exact: bool) -> list[tuple[int, int, Side, Side]]:
    """The ways to split a tree: how many shapes, the nodes on the left, and (height, exact) of both sides."""
    found: list[tuple[int, int, Side, Side]] = []
    for i in range(nodes):
        j = nodes - 1 - i
        if not exact:
            found.append((trees_within(i, tall - 1) * trees_within(j, tall - 1), i, (tall - 1, False), (tall - 1, False)))
            continue
        found.append((trees_of(i, tall - 1) * trees_within(j, tall - 1), i, (tall - 1, True), (tall - 1, False)))
        lower = trees_within(i, tall - 2) if tall >= 2 else 0
        found.append((lower * trees_of(j, tall - 1), i, (tall - 2, False), (tall - 1, True)))
    return [side for side in found if side[0]]
