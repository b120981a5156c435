"""The space of a spec: which points there are, how they are drawn and changed, and what they stand for."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from archdsl import api
from archdsl.diagnostics import ArchError
from archdsl.search.base import Rejected
from archdsl.search.screening import ContractMissed
from archdsl.search.space import SpecSpace, open_space
from tests.search.spaces import COUNTS, SPACES

SMALL = sorted(COUNTS)
FREE = re.sub(r"expect (params|state).*\n", "", (api.find("language/hybrid.arch")).read_text())


@pytest.fixture(scope="module")
def opened() -> dict[str, SpecSpace]:
    return {name: open_space(text) for name, text in SPACES.items()}


@pytest.fixture(scope="module")
def hybrid() -> SpecSpace:
    return open_space(FREE)


# ---- counting and listing ----


@pytest.mark.parametrize("name", SMALL)
def test_every_point_is_listed_once_in_order_and_makes_a_model(opened, name):
    space = opened[name]
    points = list(space.points())
    assert space.count().number == len(points) == COUNTS[name]
    assert space.count().exact
    assert len({tuple(p.items()) for p in points}) == len(points)
    for point in points[:60]:
        spec = space.candidate(point).spec
        told = [(path, d.chosen) for path, d in spec.decisions]
        assert sorted(told) == sorted(point.items()) if name == "shared" else told == list(point.items())
        assert space.open(point) is None


def test_equal_rounds_are_one_unit():
    text = "block Op = relu | gelu | tanh\narch A(n = {n}) {{ in x: [8]; return x -> repeat n {{ linear(8) -> Op }} }}"
    short, long = open_space(text.format(n=2) + "\n"), open_space(text.format(n=48) + "\n")
    assert short.count().number == 3**2
    assert long.count().number == 3**48
    assert short.grammar.runs == long.grammar.runs < 10


def test_a_space_of_language_models_is_counted_exactly(hybrid):
    assert hybrid.count().number == sum(9 * 3**depth for depth in range(2, 13))
    assert hybrid.grammar.runs < 400


@pytest.mark.parametrize(("nesting", "number"), [(1, 1), (2, 3), (3, 13), (4, 183)])
def test_a_recursive_block_nests_to_a_limit(nesting, number):
    # c(1) = 1, c(n + 1) = 1 + c(n)**2 + c(n)
    space = open_space(SPACES["grammar"], nesting=nesting)
    assert space.count().number == number
    if number < 20:
        assert len(list(space.points())) == number


def test_options_that_cannot_fit_weigh_nothing(opened):
    space = opened["types"]
    choice = space.open({"Grow/choice": 0, "Grow_2/choice": 0})
    assert choice.weights == (1, 0)
    assert space.open({}).weights == (4, 4, 4)
    with pytest.raises(Rejected, match="does not fit"):
        space.candidate({"Grow/choice": 0, "Grow_2/choice": 0, "choice": 1})


def test_a_count_beyond_the_runs_is_an_estimate_that_sampling_follows():
    arch = "arch A(a in 1..=5 = 1, b in 1..=5 = 1, c in 1..=5 = 1, n in 1..=4 = 1) {"
    text = f"{arch} in x: [8]; return x -> linear(a) -> linear(b) -> linear(c) -> repeat n {{ relu | tanh }} }}\n"
    true = open_space(text)
    rough = open_space(text, runs=40)
    assert true.count().exact
    assert not rough.count().exact
    assert rough.count().number == true.count().number == 125 * (2 + 4 + 8 + 16)
    assert rough.grammar.runs < true.grammar.runs / 4
    rng = random.Random(0)
    depths = Counter(rough.sample(rng)["n"] for _ in range(1500))
    assert all(abs(depths[i] / 1500 - share / 30) < 0.05 for i, share in enumerate((2, 4, 8, 16)))
    assert all(rough.candidate(rough.sample(rng)) for _ in range(20))


def test_an_estimate_that_is_wrong_shows_as_points_that_are_rejected():
    space, rng = open_space(SPACES["depends"], runs=4), random.Random(0)
    assert not space.count().exact  # that a and b matter together is not seen from the defaults
    reasons = []
    for _ in range(60):
        try:
            space.candidate(space.sample(rng))
        except Rejected as rejected:
            reasons.append(str(rejected))
    assert 0 < len(reasons) < 30
    assert all("does not fit the others" in reason for reason in reasons)


# ---- drawing ----


def test_sampling_is_uniform_over_derivations():
    space = open_space(SPACES["grammar"], nesting=3)
    keys = [tuple(p.items()) for p in space.points()]
    rng = random.Random(1)
    drawn = Counter(tuple(space.sample(rng).items()) for _ in range(2600))
    assert set(drawn) == set(keys)
    chi = sum((drawn[k] - 200) ** 2 / 200 for k in keys)
    assert chi < 32.9  # 12 degrees of freedom, p = 0.001


def test_sampling_by_choices_takes_options_alike():
    space = open_space(SPACES["grammar"], nesting=3)
    rng = random.Random(1)
    drawn = Counter(space.sample(rng, by="choices")["T/choice"] for _ in range(1500))
    assert all(420 < drawn[i] < 580 for i in range(3))


@pytest.mark.parametrize("name", sorted(SPACES))
def test_what_is_drawn_mutated_and_crossed_is_a_point(opened, name):
    space, rng = opened[name], random.Random(2)
    for by in ("derivations", "choices"):
        for _ in range(10):
            a, b = space.sample(rng, by), space.sample(rng, by)
            changed = space.mutate(a, rng)
            child = space.cross(a, b, rng)
            for point in (a, changed, child):
                assert [c.path for c in space.choices(point)] == list(point)
                space.candidate(point)
            assert changed != a
    assert space.complete({}) == {path: d.chosen for path, d in api.parse(SPACES[name]).decisions}


def test_a_mutation_keeps_what_it_does_not_open_anew(hybrid):
    rng = random.Random(3)
    for _ in range(30):
        point = hybrid.sample(rng)
        changed = hybrid.mutate(point, rng)
        kept = {p for p in point if changed.get(p) == point[p]}
        if changed["depth"] == point["depth"]:
            assert len(point) - len(kept) == 1
        else:
            assert all(changed[p] == point[p] for p in point if p in changed and p != "depth")


def test_a_child_has_its_parents_decisions(hybrid):
    rng = random.Random(4)
    swapped = 0
    for _ in range(80):
        a, b = hybrid.sample(rng), hybrid.sample(rng)
        child = hybrid.cross(a, b, rng)
        told = [p for p in child if p in a or p in b]
        foreign = [p for p in told if child[p] not in (a.get(p), b.get(p))]
        swapped += bool(foreign)  # a unit of b at another place of a
        assert len(foreign) <= 1  # each Mixer holds one decision
    assert swapped


def test_the_same_seed_gives_the_same_in_every_process():
    program = (
        "import random, hashlib\n"
        "from archdsl.search.space import open_space\n"
        "space = open_space('spaces/hybrids')\n"
        "rng = random.Random(5)\n"
        "points = [space.sample(rng) for _ in range(5)]\n"
        "points += [space.mutate(points[0], rng), space.cross(points[1], points[2], rng)]\n"
        "print(points, [space.candidate(p).key for p in points])\n"
        "print(space.candidate(points[0]).text())\n"
        "import sys; assert 'torch' not in sys.modules\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."}
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


# ---- candidates ----


def test_candidates_are_what_the_spec_gives_with_those_decisions(hybrid):
    rng = random.Random(6)
    for _ in range(12):
        point = hybrid.sample(rng)
        found = hybrid.candidate(point)
        alone = api.parse(FREE, decisions=point)
        assert found.key == alone.structure_hash
        assert found.costs == {
            "parameters": alone.parameters,
            "buffers": alone.buffers,
            "flops": alone.flops(T=1024),
            "state_bytes": alone.state_bytes(T=1024),
            "activation_bytes": alone.activation_bytes(T=1024),
        }


def test_costs_are_given_at_the_sizes_of_the_study():
    space = open_space("hybrid", sizes={"T": 64}, overrides={"vocab": 100})
    point = space.complete({"d": 0})
    spec = api.load("hybrid", decisions=point, vocab=100)
    assert space.candidate(point).costs["flops"] == spec.flops(T=64)


def test_points_of_equal_meaning_have_equal_keys():
    text = "block Op = relu | relu | gelu\narch A { in x: [8]; return x -> Op }\n"
    space = open_space(text)
    keys = [space.candidate(p).key for p in space.points()]
    assert keys[0] == keys[1] != keys[2]


def test_a_candidate_can_be_built(opened):
    import torch

    space = opened["cells"]
    model = space.candidate(space.sample(random.Random(7))).spec.build(seed=0)
    assert model(torch.zeros(2, 5, 8)).shape[0] == 2


def test_a_contract_rejects_before_anything_is_built():
    space = open_space("hybrid")
    with pytest.raises(ContractMissed) as caught:
        space.candidate(space.complete({"d": 2, "depth": 10}))
    assert str(caught.value).startswith("the contract `params < 2_000_000` does not hold: ")
    assert "\n" not in str(caught.value)
    assert caught.value.gap > 1
    assert space.first(random.Random(0)).costs["parameters"] < 2_000_000


def test_a_figure_that_is_pinned_speaks_of_the_defaults():
    text = "arch A(d in {8, 16} = 8) { in x: [8]; return x -> linear(d) }\nexpect params == 72\nexpect params < 150\n"
    space = open_space(text)
    assert [space.candidate(p).costs["parameters"] for p in space.points()] == [72, 144]
    assert space.candidate({"d": 1}).spec.contracts == ["expect params < 150"]


def test_regions_kept_between_candidates_do_not_grow_without_end(monkeypatch):
    monkeypatch.setattr("archdsl.search.screening.REGIONS", 40)
    space = open_space(SPACES["captured"])
    rng = random.Random(8)
    keys = {}
    for _ in range(60):
        point = space.sample(rng)
        assert keys.setdefault(tuple(point.items()), space.candidate(point).key) == space.candidate(point).key
    assert len(space.grammar.session.regions) <= 40
    assert len(set(keys.values())) == 8


# ---- what is wrong with a point ----


@pytest.mark.parametrize(
    ("made", "words"),
    [({"e": 0}, "no decision `e`"), ({"a": 3}, "no option 3"), ({"a": 0, "c": 1}, "no decision `c`")],
)
def test_open_says_what_does_not_fit(opened, made, words):
    with pytest.raises(ArchError) as caught:
        opened["depends"].open(made)
    assert [d.code for d in caught.value.diagnostics] == ["AD1003"]
    assert words in caught.value.diagnostics[0].title


def test_a_candidate_needs_every_decision(opened):
    with pytest.raises(ArchError) as caught:
        opened["depends"].candidate({"a": 0, "b": 0})
    assert [d.code for d in caught.value.diagnostics] == ["AD1003"]
    assert caught.value.diagnostics[0].title == "the decision `choice` is not made"


def test_domains_of_numbers_are_ordered(hybrid):
    first = hybrid.open({})
    assert (first.path, first.kind, first.options, first.ordered) == ("d", "domain", ("64", "128", "256"), True)
    mixer = hybrid.open({"d": 0, "depth": 0, "heads": 0})
    assert (mixer.path, mixer.kind, mixer.ordered) == ("layers.0/residual/f/Mixer/choice", "choice", False)
    assert mixer.weights == (3, 3, 3)
