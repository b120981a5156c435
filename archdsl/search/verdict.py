"""The result in a few plain sentences: what was found, and whether it is more than chance and counting parameters give."""

from __future__ import annotations

from archdsl.search.base import Trial
from archdsl.search.baselines import Comparison
from archdsl.search.intervals import difference_margin
from archdsl.search.settings import Settings, said, with_spread
from archdsl.search.study import Outcome


def stamp(outcome: Outcome) -> str:
    """What must stand over a report that compares with nothing."""
    return "" if outcome.settings.baselines else "No baselines were run: nothing here says that the search did better than chance."


def verdict(outcome: Outcome, found: Comparison) -> list[str]:
    settings = outcome.settings
    best = next(iter(outcome.winners), None)
    if best is None:
        return ["No trial ended well and met all limits."]
    lines = [_best(settings, best, len(outcome.winners))]
    if found.done and settings.driver != "random":
        lines.append(_against_random(settings, best, found))
        if found.volumes:
            mine, theirs = found.volumes.get("search", 0.0), found.volumes.get("random", 0.0)
            lines.append(f"Of the hypervolume of both fronts together the search covers {mine:.0%}, random search {theirs:.0%}.")
    if found.counting is not None:
        lines.append(_against_counting(settings, best, found))
    for phase, end in outcome.ends.items():
        if end != "budget":
            lines.append(f"The {'search' if phase == 'search' else 'random baseline'} ended early ({end}).")
    return lines


def _best(settings: Settings, best: Trial, count: int) -> str:
    scores = ", ".join(f"{g.metric} {said(v)}" for g, v in zip(settings.goals, best.values or (), strict=True))
    front = f"The front has {count} trials; best at {settings.goals[0].metric}" if count > 1 else "The winner"
    return f"{front} is trial {best.number}: {scores}."


def _against_random(settings: Settings, best: Trial, found: Comparison) -> str:
    theirs = found.random_best
    if theirs is None:
        return "Random search with the same budget found nothing that meets the limits."
    if theirs.key == best.key:
        at = f" best at {settings.goals[0].metric}" if len(settings.goals) > 1 else ""
        return f"Random search with the same budget found the very same model{at}: there the driver added nothing."
    goal = settings.goals[0]
    ours = {r.phase: r for r in found.retrained}
    mine, other = ours.get("search"), ours.get("random")
    if mine is None or other is None or mine.mean is None or other.mean is None:
        return f"Random search with the same budget found {goal.metric} {said((theirs.values or (0.0,))[0])}."
    ahead = goal.worth(mine.mean) - goal.worth(other.mean)
    margin = difference_margin(mine.values, other.values)
    fresh = with_spread(other.mean, other.spread)
    text = f"On fresh seeds it reaches {goal.metric} {with_spread(mine.mean, mine.spread)}, random search's winner {fresh}: "
    if margin is not None and abs(ahead) <= margin:
        return text + "no difference beyond the spread of the seeds."
    return text + ("the search did better." if ahead > 0 else "random search did better." if ahead < 0 else "the same.")


def _against_counting(settings: Settings, best: Trial, found: Comparison) -> str:
    counted = found.counting
    assert counted is not None
    goal = settings.goals[0]
    value = counted.pick.metrics[goal.metric]
    text = f"Counting parameters would have picked {goal.metric} {said(value)} (place {counted.place} of {counted.trials})"
    if counted.correlation is None:
        return f"{text}."
    return f"{text}; its rank correlation with the result is {counted.correlation:+.2f}."
