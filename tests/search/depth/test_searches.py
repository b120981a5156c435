"""Searches on a stack whose best program is planted; budgets; the general drivers on the depth space."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from archdsl.search.base import seeded
from archdsl.search.depth.judge import Judge, Spent
from archdsl.search.depth.program import COLA, DAMPED, DRLLM, distinct_runs, identity, layer_runs
from archdsl.search.depth.scoring import Exam
from archdsl.search.depth.search import SEARCHES, drive, single_skips
from archdsl.search.depth.space import DepthSpace
from archdsl.search.depth.tree import tree_search
from archdsl.search.drivers.registry import driver
from archdsl.search.drivers.tree import Rule
from tests.search.depth.toys import BEST, planted


def judge(budget: int, marks: dict | None = None) -> Judge:
    stack, questions = planted()
    return Judge(Exam(stack, questions), budget, {} if marks is None else marks)


def solved(program) -> bool:
    """The planted program in any order: turns of different planes commute."""
    return sorted(program) == sorted(BEST)


@pytest.mark.row("cola")
def test_the_planted_program_is_best_by_far():
    found = judge(200)
    found([BEST, identity(6), (0, 1, 3, 4, 5), (0, 1, 2, 3, 4, 4, 5), (0, 1, 3, 4, 4, 4, 5)])
    assert solved(found.best)
    assert found.visited[BEST] > 0.04 + max(value for program, value in found.visited.items() if program != BEST)
    assert found.marks[BEST].accuracy == 1.0


def evaluations(search, seed: int, budget: int = 300) -> int:
    """Distinct programs until the planted one is met; the whole budget if it is not."""
    found = judge(budget, MARKS)
    search(found, seed)
    return next((number for number, program in enumerate(found.visited, 1) if solved(program)), budget)


MARKS: dict = {}  # the toy is the same for all searches


def by_tree(found: Judge, seed: int) -> None:
    rng = seeded(seed, "test")
    steps = tree_search(lambda p: found.one(p), identity(6), 6, DRLLM, Rule(c=0.2, stray=0.1), 2000, rng)
    _until_solved(found, steps)


def _until_solved(found: Judge, steps) -> None:
    try:
        for _ in steps:
            if any(map(solved, found.visited)):
                return
    except Spent:
        pass


@pytest.mark.row("cola")
def test_tree_search_needs_fewer_evaluations_than_random():
    space = DepthSpace(6, DRLLM)
    tree = sorted(evaluations(by_tree, seed) for seed in range(7))
    chance = sorted(evaluations(lambda j, s: drive(j, space, driver("random"), s), seed) for seed in range(7))
    assert tree[3] < 0.5 * chance[3]


@pytest.mark.row("cola")
@pytest.mark.parametrize("name", SEARCHES)
def test_each_search_keeps_to_its_budget_and_betters_the_plain_model(name):
    found = judge(60, MARKS)
    SEARCHES[name](found, 6, 0)
    assert 25 <= len(found.visited) <= 60
    assert all(layer_runs(p) <= 12 for p in found.visited)
    assert found.visited[found.best] >= MARKS[identity(6)].margin
    again = judge(60, MARKS)
    SEARCHES[name](again, 6, 0)
    assert list(again.visited) == list(found.visited)


@pytest.mark.row("cola")
@pytest.mark.parametrize(("name", "budget"), [("beam", 150), ("mcts-cola", 250)])
def test_searches_find_the_planted_program(name, budget):
    hits = 0
    for seed in range(3):
        found = judge(budget, MARKS)
        SEARCHES[name](found, 6, seed)
        hits += any(map(solved, found.visited)) or MARKS[found.best].accuracy == 1.0
    assert hits >= 2


def test_the_sweep_holds_every_block():
    found = judge(1000, MARKS)
    SEARCHES["sweep"](found, 6, 0)
    assert len(found.visited) == 21 + 20
    assert (0, 1, 2, 3, 2, 3, 4, 5) in found.visited
    assert (0, 3, 4, 5) in found.visited
    skips = judge(1000, MARKS)
    single_skips(skips, 6)
    assert set(map(len, skips.visited)) == {5}
    assert set(skips.visited) <= set(found.visited)


def test_the_judge_measures_each_program_once_and_stops():
    found = judge(3)
    found([(0,), (0,), (1,)])
    found([(1,)])
    assert (len(found.visited), found.left) == (2, 1)
    with pytest.raises(Spent):
        found([(2,), (3,), (0,)])
    assert found.left == 0
    assert set(found.visited) == {(0,), (1,), (2,)}
    assert found.one((1,)) == found.visited[1,]


def test_programs_a_search_visits_share_prefixes():
    found = judge(60, MARKS)
    SEARCHES["evolution"](found, 6, 0)
    asked = sum(map(layer_runs, found.visited))
    assert distinct_runs(found.visited) < 0.8 * asked


# ---- the space ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [COLA, DRLLM, DAMPED], ids=lambda r: r.name)
def test_points_are_walks_of_the_space(rules):
    space, rng = DepthSpace(8, rules, most=4), random.Random(0)
    point = space.sample(rng)
    for _ in range(150):
        other = space.sample(rng)
        point = rng.choice((space.mutate(point, rng), space.cross(point, other, rng), other))
        made: dict[str, int] = {}
        while (choice := space.open(made)) is not None:
            assert choice.path in point
            assert 0 <= point[choice.path] < len(choice.options)
            made[choice.path] = point[choice.path]
        assert made == point
        candidate = space.candidate(point)
        assert candidate.costs["layer_runs"] == layer_runs(candidate.program) <= rules.cap * 8
        assert space.mutate(point, rng) != point
        assert space.point(space.edits(point)) == point


def test_all_points_of_a_small_space():
    space = DepthSpace(3, DRLLM, most=2)
    points = list(space.points())
    assert len(points) == len({tuple(p.items()) for p in points}) <= space.count().number
    keys = {space.candidate(p).key for p in points}
    assert {"0..3", "0..2", "0 2", "2", "(0)x2 (1)x2 2"} <= keys
    assert len(keys) < len(points)  # different edits, one program
    assert next(iter(islice(points, 1))) == {"edit.0": 0}
