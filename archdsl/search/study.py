"""A study: proposes, runs and notes trials until its budget is spent, alone or with other processes on the same storage.

Trial n is proposed from the seed and from the ended trials with numbers up to n - lag; it waits until these have ended. So the same settings give
the same search however many processes share the work, however it was interrupted, and whoever finished first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from archdsl.search.base import Driver, Exhausted, Proposal, Space, Trial, seeded
from archdsl.search.fidelity import bounds, bracket
from archdsl.search.fronts import front
from archdsl.search.owner import BEAT_SECONDS, GRACE_SECONDS
from archdsl.search.preflight import ALIKE, preflight
from archdsl.search.proposing import Made, Uniform, decisions, judge, propose
from archdsl.search.settings import Settings, metric_name
from archdsl.search.store import Entry, Phase, Store
from archdsl.search.workers import Event, Job, Pool

REPEATS = 20  # duplicates in a row after which a phase ends
PHASES = ("search", "random", "final")
FRESH = "fresh_seed"  # which of the fresh seeds a last training had, among its metrics
Said = Literal["wait", "done"]


@dataclass(frozen=True, slots=True)
class News:
    """What a study tells while it runs. kind: "note" (a line to say), "phase" (begins), "trial" (ended), "report", "idle" (time passed)."""

    kind: Literal["note", "phase", "trial", "report", "idle"]
    text: str = ""
    phase: str = ""
    trial: Trial | None = None
    running: int = 0
    total: int | None = None


@dataclass
class Outcome:
    """What a study found: its trials by phase, and how the phases ended ("budget", "exhausted", "repeats")."""

    settings: Settings
    trials: dict[str, list[Trial]]
    ends: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def winners(self) -> list[Trial]:
        """The front of the search, the best at the first goal first."""
        return winners(self.trials["search"], self.settings)


def winners(trials: Sequence[Trial], settings: Settings) -> list[Trial]:
    goal = settings.goals[0]
    found = front(trials, settings.goals)
    return sorted(found, key=lambda t: (-goal.worth((t.values or (0.0,))[0]), t.number))[: 1 if len(settings.goals) == 1 else None]


def run_study(
    settings: Settings,
    space: Space,
    driver: Driver,
    pool: Pool,
    folder: Path,
    *,
    url: str | None = None,
    resume: bool = False,
    tell: Callable[[News], None] = lambda news: None,
    grace: float = GRACE_SECONDS,
) -> Outcome:
    """Runs a study to its end, or goes on with it. pool: where trials run (workers.Processes, workers.Inline).

    Raises AD1030 for a space with nothing to choose, AD1034 for a goal that nothing measures, AD1035 for a study that is there with other
    settings, AD1036 and AD1037 for a storage or disk that fails, AD1002 and AD1039 where no candidate meets the contracts and the limits.
    """
    first = preflight(settings, space, pool.metrics)
    goals = {"search": settings.goals, "random": settings.goals, "final": settings.goals}
    store = Store(folder, settings.name, url, lambda point: decisions(space, point), grace)
    store.begin(settings.lasting(), goals, resume)
    study = _Study(settings, space, driver, pool, store, tell)
    for line in store.said:
        tell(News("note", line))
    if getattr(space, "alike", False):
        tell(News("note", ALIKE))
    begun = len(store.phase("search").history())
    if begun:
        tell(News("note", f"Going on with a study in which {begun} trial{'s have' if begun > 1 else ' has'} ended."))
    else:
        tell(News("note", cost_of_baselines(settings, pool.estimate(first, settings.effort), pool.jobs)))
    try:
        study.run()
        outcome = Outcome(settings, {name: store.phase(name).history() for name in PHASES}, study.ends, list(store.said))
    finally:
        store.close()
    return outcome


def cost_of_baselines(settings: Settings, seconds: float | None, jobs: int) -> str:
    """What the baselines cost, to be said before anything is run."""
    from archdsl.search.settings import said_time

    if not settings.baselines:
        return "No baselines (--no-baselines): the report will say that nothing was compared."
    sides = 1 if settings.driver == "random" else 2
    parts = [] if sides == 1 else [f"random search with the same budget ({settings.budget})"]
    parts.append(f"{sides * settings.confirm} trainings of the winner{'s' * (sides > 1)} on fresh seeds")
    text = f"Baselines, after the search: {' and '.join(parts)}"
    if seconds is None:
        return f"{text}. --no-baselines leaves them out."
    trials = settings.confirm * sides + ((settings.budget.trials or 0) if sides > 1 else 0)
    more = trials * seconds / jobs + ((settings.budget.seconds or 0.0) if sides > 1 else 0.0)
    return f"{text}: at most {said_time(more)} more (a trial takes about {said_time(seconds)}). --no-baselines leaves them out."


@dataclass
class _Running:
    entry: Entry
    made: Made
    job: Job
    reports: list[tuple[int, float]] = field(default_factory=list)


class _Study:
    def __init__(self, settings: Settings, space: Space, driver: Driver, pool: Pool, store: Store, tell: Callable[[News], None]) -> None:
        self.settings, self.space, self.driver, self.pool, self.store, self.tell = settings, space, driver, pool, store, tell
        self.ends: dict[str, str] = {}
        self.running: dict[int, _Running] = {}
        self.beats = 0

    def run(self) -> None:
        self._phase("search")
        if self.settings.baselines:
            if self.settings.driver != "random":
                self._phase("random")
            self._phase("final")

    # ---- one phase ----

    def _phase(self, name: str) -> None:
        phase = self.store.phase(name)
        self.began, self.spent = time.monotonic(), phase.elapsed()
        total = self.settings.budget.trials if name != "final" else len(self._finals())
        self.tell(News("phase", phase=name, total=total))
        beaten = time.monotonic()
        try:
            while True:
                state = self._fill(phase)
                if state == "done" and not self.running:
                    return
                for event in self.pool.poll(0.2):
                    self._heard(phase, event)
                self.tell(News("idle", phase=name, running=len(self.running)))
                if time.monotonic() - beaten > BEAT_SECONDS:
                    beaten = time.monotonic()
                    self._beat(phase)
        except BaseException:
            self._release(phase)
            raise

    def _fill(self, phase: Phase) -> Said | None:
        """Starts trials while there is room. Says why it stopped: nothing may start yet, or nothing is left."""
        while self.pool.busy() < self.pool.jobs:
            with self.store.lock():
                got = self._claim(phase)
            if got == "wait" or got == "done":
                return got
            if isinstance(got, Trial):
                self.tell(News("trial", phase=phase.name, trial=got, running=len(self.running)))
            else:
                self.running[got.entry.number] = got
                self.pool.start(got.job)
        return None

    def _claim(self, phase: Phase) -> _Running | Trial | Said:
        """The next trial for this process; or one that ended as it was proposed. The lock is held."""
        entries = phase.entries()
        for entry in entries:
            if entry.ended is None and not phase.mine(entry):
                if not entry.taken or self.store.watch.dead(entry.owner, entry.beat):
                    return self._again(phase, entry, entries)
        left: Said = "done" if all(e.ended is not None for e in entries) else "wait"
        number = len(entries)
        if phase.name == "final":
            return self._final(phase, entries) or left
        if self._spent(phase, number, entries):
            return left
        if any(e.ended is None for e in entries[: max(0, number - self.settings.lag + 1)]):
            return "wait"
        try:
            made = self._made(phase, number, entries)
        except Exhausted as why:
            self.ends[phase.name] = f"exhausted: {why}"
            return left
        entry = phase.add(_plan(made))
        return self._begin(phase, entry, made, entries)

    def _again(self, phase: Phase, entry: Entry, entries: Sequence[Entry]) -> _Running | Trial | Said:
        """Takes up a trial that somebody began and nobody runs."""
        older = entries[: entry.number]
        if phase.name != "final" and any(e.ended is None for e in older[: max(0, entry.number - self.settings.lag + 1)]):
            return "wait"
        phase.take(entry)
        if phase.name == "final":
            left = self._left_finals(entries)
            return self._run_final(phase, entry, entry.plan or (left[0] if left else {}))
        made = self._made(phase, entry.number, older)
        phase.describe(entry, _plan(made))
        return self._begin(phase, entry, made, older)

    def _made(self, phase: Phase, number: int, entries: Sequence[Entry]) -> Made:
        known = [e.ended for e in entries[: max(0, number - self.settings.lag + 1)] if e.ended is not None]
        keys = {e.key for e in entries if e.key}
        if phase.name == "random":
            return propose(self.space, Uniform(), self.settings, "random", known, keys, number)
        return propose(self.space, self.driver, self.settings, "trial", known, keys, number)

    def _begin(self, phase: Phase, entry: Entry, made: Made, entries: Sequence[Entry]) -> _Running | Trial:
        if made.status is not None:
            status: Any = made.status
            trial = self._trial(entry.number, made, status, made.why, violations=made.violations)
            phase.finish(trial)
            return trial
        if phase.name == "random" and (same := self._measured(made.key)) is not None:
            metrics, note = same.metrics, f"as trial {same.number} of the search"
            trial = self._trial(entry.number, made, "complete", note, metrics=metrics, reports=same.reports)
            phase.finish(trial)
            return trial
        known = [e.ended for e in entries[: max(0, entry.number - self.settings.lag + 1)] if e.ended is not None]
        job = Job(
            entry.number,
            dict(made.proposal.point),
            self.settings.seed,
            self.settings.effort,
            _stops(self.settings, known, entry.number),
            self.settings.goals[0].best,
            made.proposal.parents,
            str(self.store.folder / "weights" / phase.name),
        )
        return _Running(entry, made, job)

    def _measured(self, key: str) -> Trial | None:
        """A complete trial of the search that means the same: its result is this one's too, unless it began with a parent's weights."""
        heirs = bool(self.settings.identity.get("inherit"))
        alike = (t for t in self.store.phase("search").history() if t.key == key and t.status == "complete")
        return next((t for t in alike if not (heirs and t.parents)), None)

    def _spent(self, phase: Phase, number: int, entries: Sequence[Entry]) -> bool:
        budget = self.settings.budget
        last = [e.ended for e in entries[-REPEATS:]]
        if len(last) == REPEATS and all(t is not None and t.status == "duplicate" for t in last):
            self.ends[phase.name] = f"repeats: the last {REPEATS} proposals were all tried before"
            return True
        spent = number >= budget.trials if budget.trials is not None else self._elapsed() >= (budget.seconds or 0)
        if spent:
            self.ends[phase.name] = "budget"
        return spent

    def _elapsed(self) -> float:
        return self.spent + time.monotonic() - self.began

    # ---- what comes of trials ----

    def _heard(self, phase: Phase, event: Event) -> None:
        running = self.running.get(event.number)
        if running is None:
            return
        if event.kind == "report":
            running.reports.append((event.step, event.value))
            phase.report(running.entry.id, event.step, event.value)
            return
        trial = self._ended(running, event)
        with self.store.lock():
            first = phase.finish(trial, reported=True)
            phase.elapse(self._elapsed())
        del self.running[event.number]
        if first:
            self.tell(News("trial", phase=phase.name, trial=trial, running=len(self.running)))

    def _ended(self, running: _Running, event: Event) -> Trial:
        number, made, reports = running.entry.number, running.made, tuple(running.reports)
        metrics = {**made.costs, **{metric_name(k): v for k, v in event.metrics.items()}}
        more: Any = {"metrics": metrics, "reports": reports, "seconds": event.seconds}
        if event.kind == "failed":
            return self._trial(number, made, "failed", event.message, **more)
        if event.stopped:
            step, value = reports[-1]
            return self._trial(
                number, made, "pruned", f"stopped at {step}, where its {self.settings.goals[0].metric} was {value:.4g}", **more
            )
        wanted = [*(g.metric for g in self.settings.goals), *(limit.metric for limit in self.settings.limits)]
        missing = sorted({name for name in wanted if name not in metrics})
        if missing:
            return self._trial(number, made, "failed", f"no finite {', '.join(missing)}", **more)
        return self._trial(number, made, "complete", made.proposal.note, **more)

    def _trial(self, number: int, made: Made, status: Any, note: str, **more: Any) -> Trial:
        metrics: Mapping[str, float] = more.pop("metrics", made.costs or {})
        values = tuple(metrics[g.metric] for g in self.settings.goals) if status == "complete" else None
        if status == "complete":
            more["violations"] = (*(limit.violation(metrics[limit.metric]) for limit in self.settings.limits), 0.0)
        return Trial(number, dict(made.proposal.point), status, values, made.key, metrics, parents=made.proposal.parents, note=note, **more)

    def _beat(self, phase: Phase) -> None:
        self.beats += 1
        for running in self.running.values():
            phase.beat(running.entry.id, self.beats)

    def _release(self, phase: Phase) -> None:
        """Gives back what was running, so that a later process need not find out."""
        self.pool.close()
        try:
            with self.store.lock():
                for number in self.running:
                    phase.release(number)
        except Exception:
            pass  # the storage fails: whoever goes on sees that this process is gone
        self.running.clear()

    # ---- the last trainings ----

    def _finals(self) -> list[tuple[Trial, int]]:
        """The winner of the search and that of the baseline, each with each fresh seed."""
        best: list[Trial] = []
        for name in ("search", "random"):
            found = winners(self.store.phase(name).history(), self.settings)[:1]
            best += [t for t in found if all(t.key != other.key for other in best)]
        return [(trial, i) for i in range(self.settings.confirm) for trial in best]

    def _left_finals(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """The plans of last trainings that nobody has begun."""
        there = {(e.key, e.ended.metrics.get(FRESH) if e.ended else e.plan.get("fresh")) for e in entries}
        plans = [{"point": dict(t.point), "key": t.key, "parents": [t.number], "fresh": i} for t, i in self._finals()]
        return [plan for plan in plans if (plan["key"], plan["fresh"]) not in there]

    def _final(self, phase: Phase, entries: Sequence[Entry]) -> _Running | Trial | None:
        for plan in self._left_finals(entries):
            return self._run_final(phase, phase.add(plan), plan)
        return None

    def _run_final(self, phase: Phase, entry: Entry, plan: Mapping[str, Any]) -> _Running | Trial:
        if not plan:  # made anew for a trial of which nothing is known, and nothing is left to train
            trial = Trial(entry.number, {}, "failed", note="not needed any more")
            phase.finish(trial)
            return trial
        fresh, parents = int(plan["fresh"]), tuple(int(p) for p in plan["parents"])
        proposal = Proposal({str(k): int(v) for k, v in plan["point"].items()}, parents, f"seed {fresh + 1}")
        made = judge(self.space, self.settings, proposal)
        made = replace(made, costs={**(made.costs or {}), FRESH: float(fresh)})
        if made.status is not None:
            trial = self._trial(entry.number, made, "failed", made.why)
            phase.finish(trial)
            return trial
        seed = seeded(self.settings.seed, "final", fresh).randrange(1 << 31)
        return _Running(entry, made, Job(entry.number, dict(proposal.point), seed, self.settings.effort))


def _plan(made: Made) -> dict[str, Any]:
    return {"point": dict(made.proposal.point), "key": made.key, "parents": list(made.proposal.parents)}


def _stops(settings: Settings, known: Sequence[Trial], number: int) -> tuple[tuple[int, float], ...]:
    """The bounds of pruning for a trial, from the trials of its bracket that it knows."""
    rule = settings.pruning
    if rule is None:
        return ()

    def spared(n: int) -> int:
        return bracket(n, rule.at, settings.effort, rule.keep, rule.brackets)

    own = spared(number)
    return bounds(rule.at[own:], rule.keep, rule.after, [t for t in known if spared(t.number) == own], settings.goals[0])
