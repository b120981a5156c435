"""Baselines and plots: what they compute, on trials made by hand."""

from __future__ import annotations

import pytest

from archdsl.search.base import Goal, Trial
from archdsl.search.baselines import compare, counting, importance, spearman, volumes
from archdsl.search.plots import Series, chart, short
from archdsl.search.report import write_report
from archdsl.search.settings import Budget, Settings
from archdsl.search.study import Outcome
from archdsl.search.verdict import stamp, verdict
from tests.search.studies import study
from tests.search.toy import ToySpace

SETTINGS = Settings("s", (Goal("loss"),), Budget(trials=4), driver="evolution")


def trial(number: int, loss: float, params: float = 1.0, key: str = "", **point: int) -> Trial:
    return Trial(number, point, "complete", (loss,), key or str(number), {"loss": loss, "params": params})


def outcome(search, random=(), final=(), settings=SETTINGS) -> Outcome:
    return Outcome(settings, {"search": list(search), "random": list(random), "final": list(final)})


def test_rank_correlation():
    assert spearman([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 2, 3], [1, 3, 2, 4]) == pytest.approx(0.9486832980505138)  # ties share their mean rank
    assert spearman([1, 1, 1, 1], [1, 2, 3, 4]) is None
    assert spearman([1, 2], [1, 2]) is None


def test_counting_parameters_picks_the_largest():
    found = counting(SETTINGS, [trial(0, 3.0, 10), trial(1, 1.0, 20), trial(2, 2.0, 40), trial(3, 2.5, 30)], "random")
    assert found is not None
    assert (found.pick.number, found.place) == (2, 2)
    assert found.correlation == pytest.approx(0.4)
    assert counting(Settings("s", (Goal("params"),), Budget(trials=1)), [trial(0, 1.0)], "search") is None


def test_importance_takes_chance_off():
    """A decides everything; b nothing, and must not look as if it did."""
    trials = [trial(i, 1.0 + (i % 2) + 0.01 * (i // 2 % 2), a=i % 2, b=i % 5) for i in range(20)]
    ranked = {path: share for path, share, _ in importance(trials, Goal("loss"))}
    assert ranked["a"] > 0.99
    assert ranked["b"] < 0.05
    assert importance(trials[:2], Goal("loss")) == []


def test_hypervolume_shares():
    goals = (Goal("loss"), Goal("params"))

    def both(number, loss, params):
        return Trial(number, {}, "complete", (loss, params), str(number), {"loss": loss, "params": params})

    shares = volumes({"search": [both(0, 1, 3), both(1, 3, 1)], "random": [both(0, 3, 3)]}, goals)
    assert shares["search"] == pytest.approx(1)
    assert shares["random"] < 0.02
    assert volumes({"search": []}, goals) == {}


def test_the_verdict_calls_noise_noise():
    search, random = [trial(0, 1.0, key="a")], [trial(0, 1.2, key="b")]
    near = [trial(i, v, key=k) for i, (k, v) in enumerate([("a", 1.0), ("b", 1.1), ("a", 1.2), ("b", 1.3), ("a", 1.1), ("b", 1.2)])]
    far = [trial(i, v, key=k) for i, (k, v) in enumerate([("a", 1.0), ("b", 2.1), ("a", 1.1), ("b", 2.0)])]
    worse = [trial(i, v, key=k) for i, (k, v) in enumerate([("b", 1.0), ("a", 2.1), ("b", 1.1), ("a", 2.0)])]
    said = {name: verdict(o, compare(o))[1] for name, o in (("near", outcome(search, random, near)), ("far", outcome(search, random, far)))}
    assert said["near"].endswith("no difference beyond the spread of the seeds.")
    assert said["far"].endswith("the search did better.")
    lost = outcome(search, random, worse)
    assert verdict(lost, compare(lost))[1].endswith("random search did better.")


def test_the_verdict_says_when_the_driver_added_nothing():
    same = outcome([trial(0, 1.0, key="a")], [trial(3, 1.0, key="a")])
    assert "the very same model" in verdict(same, compare(same))[1]
    assert verdict(outcome([]), compare(outcome([]))) == ["No trial ended well and met all limits."]


def test_a_report_without_baselines_says_so():
    assert stamp(outcome([])) == ""
    bare = Outcome(Settings("s", (Goal("loss"),), Budget(trials=1), baselines=False), {"search": [], "random": [], "final": []})
    assert stamp(bare).startswith("No baselines were run")


def test_a_report_of_candidates_that_are_no_specs(tmp_path):
    """Any space will do; the stamp stands in the page and in the winners."""
    found = study(tmp_path, baselines=False, driver="random", driver_options={})
    written = write_report(found, ToySpace(), tmp_path)
    assert "No baselines were run" in written.report.read_text()
    (winner,) = written.winners
    assert "# No baselines were run." in winner.read_text()
    again = write_report(study(tmp_path, driver="random", driver_options={}, resume=True), ToySpace(), tmp_path)
    assert "No baselines were run" not in again.report.read_text()
    assert again.winners == [winner]


def test_charts_hold_their_points_and_hurt_nobody():
    svg = chart(
        [Series("<b>", "search", [(1, 2.0), (2, 1.0)], "steps"), Series("dots", "dim", [(1, 2.0)], names=['"<x>'])], "x & y", "loss"
    )
    assert svg.count("<circle") == 1
    assert "<b>" not in svg and "<x>" not in svg and "x &amp; y" in svg
    assert chart([Series("none", "search", [])], "x", "y") == ""
    assert "nan" not in chart([Series("one", "search", [(5, 5.0)])], "x", "y")
    assert [short(v) for v in (0.51234, 1234, 2.5e6, 999_999.99)] == ["0.5123", "1.234k", "2.5M", "1M"]
