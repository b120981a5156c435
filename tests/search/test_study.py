"""Studies: what is proposed, what is run, what is noted, and that the same settings give the same search."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from archdsl.diagnostics import ArchError
from archdsl.search.base import Exhausted, Goal, Proposal
from archdsl.search.preflight import preflight
from archdsl.search.proposing import Uniform, propose
from archdsl.search.settings import Budget, Pruning, parse_limit
from archdsl.search.space import open_space
from archdsl.search.study import News, cost_of_baselines, winners
from archdsl.search.workers import Processes, Work
from tests.cli.conftest import ROOT
from tests.search.studies import SETTINGS, facts, study
from tests.search.toy import ToyEvaluator, ToySpace

QUICK = {"baselines": False, "driver": "random", "driver_options": {}}


class Recorder:
    """Random search that notes what it was shown."""

    name = "random"

    def __init__(self) -> None:
        self.shown: dict[int, list[int]] = {}

    def propose(self, space, goals, history, rng, number):
        self.shown[number] = [t.number for t in history]
        return Proposal(space.sample(rng))


def code(caught) -> str:
    return caught.value.diagnostics[0].code


# ---- the same settings, the same search ----


def test_processes_find_what_one_process_finds(tmp_path):
    """Two workers at once, with lag 2: the same trials as one after another."""
    alone = study(tmp_path / "a")
    pool = Processes(Work("tests.search.toy:make", {"evaluator": {"seconds": 0.01}}), 2)
    try:
        shared = study(tmp_path / "b", pool=pool)
    finally:
        pool.close()
    assert facts(alone) == facts(shared)
    assert len(alone.trials["search"]) == len(alone.trials["random"]) == 8
    assert len(alone.trials["final"]) == 4


def test_another_seed_is_another_search(tmp_path):
    assert facts(study(tmp_path / "a", **QUICK)) != facts(study(tmp_path / "b", **QUICK, seed=1))


@pytest.mark.parametrize("lag", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_proposal_knows_the_trials_up_to_the_lag(tmp_path, lag):
    driver = Recorder()
    study(tmp_path, **QUICK, lag=lag, chosen=driver)
    assert driver.shown == {n: list(range(max(0, n - lag + 1))) for n in range(8)}


@pytest.mark.parametrize("phase", ["search", pytest.param("random", marks=pytest.mark.slow), pytest.param("final", marks=pytest.mark.slow)])
def test_an_interrupted_study_goes_on_as_if_nothing_had_happened(tmp_path, phase):
    whole = study(tmp_path / "whole")

    def stop(news: News) -> None:
        if news.kind == "trial" and news.phase == phase and news.trial and news.trial.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(tmp_path / "cut", tell=stop)
    assert facts(study(tmp_path / "cut", resume=True)) == facts(whole)


def test_a_larger_budget_goes_on_from_the_smaller(tmp_path):
    long = study(tmp_path / "long", **QUICK, budget=Budget(trials=12))
    study(tmp_path / "grown", **QUICK, budget=Budget(trials=5))
    assert facts(study(tmp_path / "grown", **QUICK, budget=Budget(trials=12), resume=True)) == facts(long)


def _kill_and_go_on(folder: Path, kills: int, seconds: float, rng: random.Random) -> None:
    """Starts the toy study again and again, ending it with SIGKILL at a random moment; then lets it end."""
    command = [sys.executable, "-m", "tests.search.studies", str(folder), str(seconds)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for _ in range(kills):
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE)
        time.sleep(0.6 + rng.random() * 1.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def _check_killed(folder: Path, whole) -> None:
    import optuna

    again = study(folder, resume=True)
    assert facts(again) == facts(whole)
    storage = f"sqlite:///{folder}/study.db"
    for summary in optuna.get_all_study_summaries(storage):
        states = [t.state for t in optuna.load_study(study_name=summary.study_name, storage=storage).trials]
        assert all(state.is_finished() for state in states)


def test_killed_at_random_moments(tmp_path):
    """Nothing that ended is lost, nothing is stuck, and the result is that of an unkilled study. The long proof is below."""
    whole = study(tmp_path / "whole")
    _kill_and_go_on(tmp_path / "killed", 2, 0.05, random.Random(1))
    _check_killed(tmp_path / "killed", whole)


@pytest.mark.slow
def test_killed_at_fifty_random_moments(tmp_path):
    whole = study(tmp_path / "whole")
    rng = random.Random(2)
    for i in range(10):
        _kill_and_go_on(tmp_path / f"killed-{i}", 5, 0.05, rng)
        _check_killed(tmp_path / f"killed-{i}", whole)


MOSTLY_TOO_LARGE = """
arch Deep(depth in 1..=14 = 2) { in x: [T, 8]; return x -> repeat depth { linear(8) | rmsnorm } }
expect params < 100
"""


def test_where_few_points_meet_the_contracts_options_are_drawn_alike():
    """Half of all points have fourteen layers; of these one in a thousand is small enough. The baseline draws as the search does."""
    space = open_space(MOSTLY_TOO_LARGE)
    point = preflight(SETTINGS, space, ["loss"])
    assert space.candidate(point)
    assert space.alike
    settings, keys = replace(SETTINGS, limits=()), set()
    for number in range(10):
        made = propose(space, Uniform(), settings, "random", [], keys, number)
        assert made.status is None, made.why
    roomy = open_space(MOSTLY_TOO_LARGE.replace("< 100", "< 1000"))
    preflight(SETTINGS, roomy, ["loss"])
    assert not roomy.alike


# ---- what is run ----


def test_a_crash_is_one_trial_that_failed(tmp_path):
    work = Work("tests.search.toy:make", {"evaluator": {"crash": 0, "raises": 3}})
    pool = Processes(work, 2)
    try:
        outcome = study(tmp_path, **QUICK, pool=pool, budget=Budget(trials=16))
    finally:
        pool.close()
    ended = {t.point["d0"]: (t.status, t.note) for t in outcome.trials["search"]}
    assert ended[0] == ("failed", "its process ended with code 7")
    assert ended[3] == ("failed", "ValueError: a first digit")
    assert {status for digit, (status, _) in ended.items() if digit not in (0, 3)} == {"complete"}


def test_a_trial_that_takes_too_long_fails(tmp_path):
    pool = Processes(Work("tests.search.toy:make", {"evaluator": {"seconds": 30.0}}), 1, trial_seconds=0.2)
    try:
        outcome = study(tmp_path, **QUICK, pool=pool, budget=Budget(trials=1))
    finally:
        pool.close()
    assert [(t.status, t.note) for t in outcome.trials["search"]] == [("failed", "took longer than 0.2 s")]


def test_workers_end_with_the_process_that_started_them(tmp_path):
    script = (
        "import time\nfrom archdsl.search.workers import *\n"
        "pool = Processes(Work('tests.search.toy:make', {'evaluator': {'seconds': 60.0}}), 1)\npool.metrics\n"
        "pool.start(Job(0, {'d0': 1, 'd1': 1, 'd2': 1}, 0, 10))\nprint(pool._workers[0].process.pid, flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists() or Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("the worker outlived its parent")


def test_a_time_budget_stops_trials_from_being_started(tmp_path):
    start = time.monotonic()
    outcome = study(tmp_path, evaluator=ToyEvaluator(seconds=0.1), **QUICK, budget=Budget(seconds=1.0))
    assert 1 <= len(outcome.trials["search"]) <= 10
    assert time.monotonic() - start < 30
    again = study(tmp_path, evaluator=ToyEvaluator(seconds=0.1), **QUICK, budget=Budget(seconds=1.0), resume=True)
    assert len(again.trials["search"]) <= len(outcome.trials["search"]) + 1  # the time is spent


def test_limits_known_without_training_are_met_before_it(tmp_path):
    outcome = study(tmp_path, **QUICK, limits=(parse_limit("params < 108"),))
    assert all(t.metrics["params"] < 108 for t in outcome.trials["search"])
    assert all(t.feasible for t in outcome.trials["search"])


def test_a_limit_on_what_is_measured_makes_trials_infeasible(tmp_path):
    outcome = study(tmp_path, **QUICK, limits=(parse_limit("accuracy > 0.1"),))
    for t in outcome.trials["search"]:
        assert t.status == "complete"
        assert t.feasible == (t.metrics["accuracy"] > 0.1)
    assert all(t.feasible for t in outcome.winners)


def test_a_point_that_is_no_candidate_is_drawn_again(tmp_path):
    outcome = study(tmp_path, space=ToySpace(reject=2), **QUICK)
    assert {t.status for t in outcome.trials["search"]} == {"complete"}
    assert 2 not in {t.point["d0"] for t in outcome.trials["search"]}


def test_what_means_the_same_is_run_once(tmp_path):
    outcome = study(tmp_path, space=ToySpace(digits=2, alike=True), **QUICK, budget=Budget(trials=60))
    keys = [t.key for t in outcome.trials["search"] if t.status == "complete"]
    assert len(keys) == len(set(keys)) >= 12  # of the 16 sums
    assert outcome.ends["search"].startswith(("repeats", "exhausted"))


def test_a_driver_may_come_to_an_end(tmp_path):
    class Short(Recorder):
        def propose(self, space, goals, history, rng, number):
            if number == 3:
                raise Exhausted("three are enough")
            return super().propose(space, goals, history, rng, number)

    outcome = study(tmp_path, **QUICK, chosen=Short())
    assert len(outcome.trials["search"]) == 3
    assert outcome.ends["search"] == "exhausted: three are enough"


def test_pruning_stops_the_worse(tmp_path):
    outcome = study(tmp_path, **QUICK, lag=1, pruning=Pruning((10,), 0.5, 4), budget=Budget(trials=30))
    seen: list[float] = []
    for t in outcome.trials["search"]:
        value = dict(t.reports)[10]
        worse = len(seen) >= 4 and value > sorted(seen)[-(-len(seen) // 2) - 1]
        assert (t.status == "pruned") == worse
        assert [step for step, _ in t.reports] == ([10] if worse else [10, 20])
        seen.append(value)
    assert 5 < sum(t.status == "pruned" for t in outcome.trials["search"]) < 25


# ---- honesty ----


def test_baselines_are_announced_before_anything_runs(tmp_path):
    said: list[str] = []
    study(tmp_path, tell=lambda news: said.append(news.text or news.kind))
    assert said[0].startswith("Baselines, after the search: random search with the same budget (8 trials) and 4 trainings")
    assert "trial" not in said[:1]


def test_random_search_gets_the_same_budget_and_winners_fresh_seeds(tmp_path):
    outcome = study(tmp_path)
    assert len(outcome.trials["random"]) == 8
    best = [winners(outcome.trials[phase], SETTINGS)[0] for phase in ("search", "random")]
    finals = outcome.trials["final"]
    assert [t.key for t in finals] == [t.key for t in best] * 2
    assert len({t.values for t in finals if t.key == best[0].key}) == 2  # two seeds
    assert finals[0].values != best[0].values


def test_a_random_search_is_its_own_baseline(tmp_path):
    outcome = study(tmp_path, driver="random", driver_options={})
    assert outcome.trials["random"] == []
    assert len(outcome.trials["final"]) == 2
    assert "1 " not in cost_of_baselines(outcome.settings, None, 1)


def test_several_goals_make_a_front(tmp_path):
    outcome = study(tmp_path, goals=(Goal("loss"), Goal("params")), baselines=False)
    assert len(outcome.winners) > 1
    losses = [t.values[0] for t in outcome.winners]
    assert losses == sorted(losses)
    assert [t.values[1] for t in outcome.winners] == sorted((t.values[1] for t in outcome.winners), reverse=True)


# ---- what cannot be searched ----


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"goals": (Goal("los"),)}, "AD1034"),
        ({"limits": (parse_limit("lattency < 3"),)}, "AD1034"),
        ({"limits": (parse_limit("params < 100"),)}, "AD1039"),
        ({"space": ToySpace(digits=0)}, "AD1030"),
    ],
)
def test_bad_settings_are_told_before_anything_runs(tmp_path, given, expected):
    with pytest.raises(ArchError) as caught:
        study(tmp_path / "new", **QUICK, **given)
    assert code(caught) == expected
    assert not (tmp_path / "new").exists()
