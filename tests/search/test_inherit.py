"""Weights that a child takes over from its parent (`inherit: true`)."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from archdsl.search.base import Proposal, Trial
from archdsl.search.evaluate import Trainer
from archdsl.search.settings import Budget, Settings, parse_goal
from archdsl.search.space import SpecSpace, open_space
from archdsl.search.study import News, run_study
from archdsl.search.workers import Inline, Job
from archdsl.tasks import get_task

SPACE = """
import "std/transformer.arch"
block Layer = linear(8) | (linear(12) -> relu -> linear(8))

arch Small(vocab = 8) {
    in tokens: int[T] lengths
    table = embedding(vocab, 8)
    return table(tokens) -> layers: repeat 2 { residual(rmsnorm -> Layer) } -> unembed(table)
}
"""
FAST = {"batch": 2, "eval_batches": 1, "eval_every": 2, "lr": 1e-2}


@pytest.fixture(scope="module")
def space() -> SpecSpace:
    return open_space(SPACE)


def point(space: SpecSpace, *options: int) -> dict[str, int]:
    """The point that takes these options in order."""
    made: dict[str, int] = {}
    for option in options:
        choice = space.open(made)
        assert choice is not None
        made[choice.path] = option
    assert space.open(made) is None
    return made


class Watching(Trainer):
    """Notes what each model begins with, after it has inherited."""

    began: dict[str, torch.Tensor]

    def _inherit(self, model: torch.nn.Module) -> None:
        super()._inherit(model)
        self.began = {name: weight.detach().clone() for name, weight in model.named_parameters()}


def trainer(inherit: bool = True) -> Watching:
    return Watching(get_task("mqar", vocab=8, length=8, pairs=2), FAST, "loss", inherit=inherit)


def run(space: SpecSpace, evaluator: Watching, job: Job) -> dict[str, float]:
    evaluator.begin(job)
    return evaluator(space.candidate(job.point), job.seed, job.budget, lambda *_: False)


def test_a_child_begins_from_its_parents_weights_wherever_they_fit(space, tmp_path):
    """Layer 0 is as it was; layer 1 is another, and begins anew, though its first and its last layer have names that the parent's had too."""
    parent = Job(0, point(space, 0, 0), 1, 4, keep=str(tmp_path))
    child = Job(1, point(space, 0, 1), 2, 4, parents=(0,), keep=str(tmp_path))
    evaluator = trainer()
    run(space, evaluator, parent)
    left = load_file(tmp_path / "000000.safetensors")
    assert any(not torch.equal(left[name], evaluator.began[name]) for name in left), "what is left is trained"
    run(space, evaluator, child)
    fresh = dict(space.candidate(child.point).spec.build(seed=child.seed).named_parameters())
    taken = {name for name in fresh if torch.equal(evaluator.began[name], left.get(name, torch.empty(0)))}
    anew = {name for name in fresh if torch.equal(evaluator.began[name], fresh[name])}
    fits = {name for name in fresh if name in left and left[name].shape == fresh[name].shape}
    changed = {name for name in fresh if name.startswith("layers.1.") and ".norm" not in name.lower() and "rms" not in name.lower()}
    assert taken == fits
    assert taken | anew == set(fresh)
    assert fits >= {name for name in fresh if name.startswith(("layers.0.", "table"))}
    assert changed
    assert changed <= anew


def test_the_first_parent_that_left_weights_is_inherited_from(space, tmp_path):
    evaluator = trainer()
    run(space, evaluator, Job(3, point(space, 0, 0), 1, 4, keep=str(tmp_path)))
    run(space, evaluator, Job(5, point(space, 0, 0), 2, 4, parents=(2, 3), keep=str(tmp_path)))
    left = load_file(tmp_path / "000003.safetensors")
    assert all(torch.equal(evaluator.began[name], weight) for name, weight in left.items())


def test_a_pruned_parent_leaves_what_it_had_learned(space, tmp_path):
    evaluator = trainer()
    evaluator.begin(Job(0, point(space, 0, 0), 1, 8, keep=str(tmp_path)))
    evaluator(space.candidate(point(space, 0, 0)), 1, 8, lambda step, _: step >= 4)
    assert (tmp_path / "000000.safetensors").is_file()


def test_without_inherit_nothing_is_kept_or_taken(space, tmp_path):
    plain, heir = trainer(inherit=False), trainer()
    parent, child = (Job(n, point(space, 0, n), 1, 4, parents=(0,) * n, keep=str(tmp_path / "kept")) for n in (0, 1))
    alone = run(space, plain, child)
    run(space, plain, parent)
    assert not (tmp_path / "kept").exists()
    assert run(space, plain, child)["loss"] == alone["loss"]
    run(space, heir, parent)
    assert run(space, heir, child)["loss"] != alone["loss"]


class Lineage:
    """Each trial is a child of the one before it, with other layers; random draws at first."""

    name = "evolution"

    def propose(self, space: Any, goals: Any, history: Any, rng: Any, number: int) -> Proposal:
        if not history:
            return Proposal(space.sample(rng))
        return Proposal(space.mutate(history[-1].point, rng), (history[-1].number,))


def searched(space: SpecSpace, folder: Any, inherit: bool = True, **more: Any) -> dict[str, list[Trial]]:
    settings = Settings(
        "heirs", (parse_goal("min:loss"),), Budget(trials=4), effort=4, confirm=1, driver="evolution", identity={"inherit": inherit}
    )
    return run_study(settings, space, Lineage(), Inline(space, trainer(inherit)), folder, **more).trials


def values(trials: dict[str, list[Trial]]) -> dict[str, list[Any]]:
    return {phase: [(t.point, t.values, t.reports, t.parents) for t in some] for phase, some in trials.items()}


def test_a_study_with_heirs_repeats_and_goes_on_after_an_interruption(space, tmp_path):
    whole = searched(space, tmp_path / "whole")
    assert any(t.parents for t in whole["search"])

    def stop(news: News) -> None:
        if news.kind == "trial" and news.phase == "search" and news.trial and news.trial.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        searched(space, tmp_path / "cut", tell=stop)
    assert values(searched(space, tmp_path / "cut", resume=True)) == values(whole)
    alone = searched(space, tmp_path / "alone", inherit=False)
    assert whole["search"][0].values == alone["search"][0].values, "the first has nobody to inherit from"
    assert [t.values for t in whole["search"]] != [t.values for t in alone["search"]]


def test_random_search_does_not_borrow_what_was_inherited(space, tmp_path):
    """A model that the search trained from its parent's weights is trained from the start for random search, and for the fresh seeds."""
    heirs, alone = searched(space, tmp_path / "heirs"), searched(space, tmp_path / "alone", inherit=False)
    assert {t.key for t in heirs["search"] if t.parents} & {t.key for t in heirs["random"]}, "the space is small enough that they meet"
    assert [t.values for t in heirs["random"]] == [t.values for t in alone["random"]]
