"""Where a study's trials are: an Optuna storage that all its processes share, and beside it trials.jsonl, from which it can be made again.

A phase of a study (the search, its random baseline, the last trainings) is one Optuna study; trial n is Optuna's trial n. What an ended trial
was stands whole in its attribute `record`, what it is to be in `plan`; parameters, values and the other attributes are there for Optuna's tools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archdsl.search import log as logs
from archdsl.search.base import Choice, Goal, Point, Trial
from archdsl.search.lock import FileLock, Lock, RowLock
from archdsl.search.owner import GRACE_SECONDS, Watch, myself
from archdsl.search.settings import wrong
from archdsl.search.storage import connect, guarded, set_aside, sqlite_path

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial

LOG, DATABASE = "trials.jsonl", "study.db"
Decisions = Callable[[Point], Sequence[tuple[Choice, int]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A trial as the store has it. ended: what it was, if it has ended; taken: whether it is marked as running; plan: its point, key and
    parents, as far as they were noted; owner, beat: who runs it."""

    number: int
    id: int
    taken: bool
    ended: Trial | None
    plan: Mapping[str, Any]
    owner: Any
    beat: Any

    @property
    def key(self) -> str:
        return self.ended.key if self.ended else str(self.plan.get("key", ""))


class Store:
    """A study's store. Calls that change it hold `lock()`; so do reads on which a claim is built.

    decisions: a point's decisions with the options taken, for Optuna's tools. grace: see `Watch`.
    """

    def __init__(
        self, folder: Path, name: str, url: str | None = None, decisions: Decisions = lambda point: [], grace: float = GRACE_SECONDS
    ) -> None:
        self.folder, self.name, self.decisions = folder, name, decisions
        self.url = url or f"sqlite:///{folder / DATABASE}"
        self.me = myself()
        self.said: list[str] = []  # what was mended, one line each
        self.log = logs.Log(folder / LOG)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise wrong(
                "AD1037", f"cannot make the folder {folder}", note=error.strerror or str(error), hint="Choose another with --out."
            ) from None
        self._file = sqlite_path(self.url)
        self.watch = Watch(self.me, one_machine=self._file is not None, grace=grace)
        self._lock: Lock | None = FileLock(self._file.with_name(f"{self._file.name}.lock")) if self._file else None
        self._raw: RDBStorage | None = None
        self._storage: BaseStorage | None = None
        self._phases: dict[str, Phase] = {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        with guarded(self.url):
            if self._lock is None:
                self._lock = RowLock(self._connected().engine, self.name)
            with self._lock.held():
                yield

    @property
    def storage(self) -> BaseStorage:
        from optuna.storages import get_storage

        if self._storage is None:
            self._storage = get_storage(self._connected())
        return self._storage

    def _connected(self) -> RDBStorage:
        self._raw = self._raw or connect(self.url)
        return self._raw

    def begin(self, settings: Mapping[str, Any], phases: Mapping[str, Sequence[Goal]], resume: bool) -> None:
        """Opens the study or makes it. Raises AD1035 if it is there and is not to be gone on with, or has other settings."""
        with self.lock():
            logged = self.log.read()
            if logged.damaged:
                self.said.append(f"{self.log.path.name}: {logged.damaged} damaged line{'s' * (logged.damaged > 1)} left out")
            if self._file is not None and (why := set_aside(self._file)):
                self.said.append(f"{self._file.name} was damaged ({why}); kept as {self._file.name}.damaged and made again from {LOG}")
            known = self._known_settings() or logged.settings
            if known is not None:
                self._same(known, settings, resume)
            try:
                lost = self._open(settings, phases, logged)
            except Damaged as damage:
                if self._file is None:
                    raise wrong("AD1036", f"the study {self.name} in the storage is damaged", note=str(damage)) from None
                self.close()
                set_aside(self._file, str(damage))
                self.said.append(f"{self._file.name} was damaged ({damage}); kept as {self._file.name}.damaged and made again from {LOG}")
                self._open(settings, phases, logged)
                return
            if lost and not any("made again" in line for line in self.said):
                self.said.append(f"{lost} trial{'s' * (lost > 1)} that the database had lost {'are' if lost > 1 else 'is'} back from {LOG}")

    def phase(self, name: str) -> Phase:
        return self._phases[name]

    def _known_settings(self) -> dict[str, Any] | None:
        try:
            attributes = self.storage.get_study_user_attrs(self.storage.get_study_id_from_name(self.name))
        except KeyError:
            return None
        settings = attributes.get("settings")
        if not isinstance(settings, dict):
            raise wrong("AD1035", f"the storage holds a study {self.name} that archdsl did not make", hint="Give this one another `name`.")
        return settings

    def _same(self, known: Mapping[str, Any], settings: Mapping[str, Any], resume: bool) -> None:
        if not resume:
            hint = "Go on with it (--resume), or choose another folder (--out) or name."
            raise wrong("AD1035", f"there is a study in {self.folder} already", hint=hint)
        differ = sorted(k for k in known.keys() | settings.keys() if known.get(k) != _plain(settings.get(k)))
        if differ:
            note = "; ".join(f"{k} was {_short(known.get(k))} and is {_short(_plain(settings.get(k)))}" for k in differ)
            hint = "Use the same settings, or another folder (--out). The budget, --jobs and the baselines may change."
            raise wrong("AD1035", f"the study in {self.folder} was begun with other settings", note=f"{note}.", hint=hint)

    def _open(self, settings: Mapping[str, Any], phases: Mapping[str, Sequence[Goal]], logged: logs.Logged) -> int:
        """Makes what is missing on either side. Returns how many ended trials only the log had."""
        if logged.settings is None:
            self.log.begin(settings)
        lost = 0
        for name, goals in phases.items():
            phase = Phase(self, name, goals, settings)
            lost += phase.mend(logged.trials.get(name, {}))
            self._phases[name] = phase
        return lost

    def close(self) -> None:
        """Ends the connection."""
        if self._storage is not None:
            self._storage.remove_session()
        if self._raw is not None:
            self._raw.engine.dispose()
        self._raw = self._storage = None
        self._phases = {}


class Damaged(Exception):
    """The database lacks what it once had."""


class Phase:
    """The trials of one phase."""

    def __init__(self, store: Store, name: str, goals: Sequence[Goal], settings: Mapping[str, Any]) -> None:
        from optuna.study import StudyDirection

        self.store, self.name = store, name
        title = store.name if name == "search" else f"{store.name}/{name}"
        storage = store.storage
        try:
            self.id = storage.get_study_id_from_name(title)
        except KeyError:
            directions = [StudyDirection.MAXIMIZE if g.best == "max" else StudyDirection.MINIMIZE for g in goals]
            self.id = storage.create_new_study(directions, title)
            storage.set_study_system_attr(self.id, "study:metric_names", [g.metric for g in goals])
        if "settings" not in storage.get_study_user_attrs(self.id):
            storage.set_study_user_attr(self.id, "settings", dict(settings))
        self._ended: dict[int, Trial] = {}
        self._options: dict[str, tuple[str, ...]] = {}

    def entries(self) -> list[Entry]:
        """All trials, by number."""
        with guarded(self.store.url):
            trials = self.store.storage.get_all_trials(self.id, deepcopy=False)
        return [self._entry(t) for t in sorted(trials, key=lambda t: t.number)]

    def history(self) -> list[Trial]:
        """The ended trials, by number."""
        return [e.ended for e in self.entries() if e.ended is not None]

    def add(self, plan: Mapping[str, Any], taken: bool = True) -> Entry:
        """A new trial, taken by this process or by none."""
        from optuna.distributions import CategoricalDistribution
        from optuna.trial import TrialState, create_trial

        params: dict[str, Any] = {}
        kinds: dict[str, BaseDistribution] = {}
        for choice, index in self.store.decisions(plan.get("point", {})):
            texts = _distinct(choice.options)
            name = self._parameter(choice.path, texts)
            kinds[name] = CategoricalDistribution(texts)
            params[name] = texts[index]
        template = create_trial(
            state=TrialState.RUNNING if taken else TrialState.WAITING,
            params=params,
            distributions=kinds,
            user_attrs={"plan": dict(plan), "owner": self.store.me if taken else {}},
        )
        made = self.store.storage.create_new_trial(self.id, template_trial=template)
        return self._entry(self.store.storage.get_trial(made))

    def take(self, entry: Entry) -> None:
        """Makes a trial that nobody runs this process's."""
        self.store.storage.set_trial_user_attr(entry.id, "owner", self.store.me)

    def describe(self, entry: Entry, plan: Mapping[str, Any]) -> None:
        """Notes the plan of a trial that has none."""
        self.store.storage.set_trial_user_attr(entry.id, "plan", dict(plan))

    def release(self, number: int) -> None:
        """Gives a trial back unfinished: any process may take it."""
        from optuna.trial import TrialState

        entry = self._one(number)
        if entry is not None and entry.ended is None and self.mine(entry):
            self.store.storage.set_trial_user_attr(entry.id, "owner", {})
            self.store.storage.set_trial_state_values(entry.id, TrialState.WAITING)

    def mine(self, entry: Entry) -> bool:
        return isinstance(entry.owner, dict) and entry.owner.get("token") == self.store.me["token"]

    def elapsed(self) -> float:
        """Seconds that this phase has run, over all times it was gone on with."""
        return float(self.store.storage.get_study_user_attrs(self.id).get("elapsed", 0.0))

    def elapse(self, seconds: float) -> None:
        if seconds > self.elapsed():
            self.store.storage.set_study_user_attr(self.id, "elapsed", round(seconds, 1))

    def beat(self, id: int, count: int) -> None:
        """A sign of life of a running trial."""
        with guarded(self.store.url):
            self.store.storage.set_trial_user_attr(id, "beat", count)

    def report(self, id: int, step: int, value: float) -> None:
        """An intermediate value, for Optuna's tools."""
        with guarded(self.store.url):
            self.store.storage.set_trial_intermediate_value(id, step, value)

    def finish(self, trial: Trial, reported: bool = False) -> bool:
        """Notes how a trial ended: in the log first, then in the database. False if another process was quicker. reported: whether the
        database has its reports already."""
        entry = self._one(trial.number)
        assert entry is not None
        if entry.ended is not None:
            return False
        self.store.log.add(self.name, trial)
        self._write(entry.id, trial, reported)
        return True

    def mend(self, logged: Mapping[int, Trial]) -> int:
        """Makes the database and the log agree. Returns how many ended trials only the log had. Raises Damaged."""
        for number in range(len(self.entries()), max(logged, default=-1) + 1):
            self.add(_plan(logged[number]) if number in logged else {}, taken=False)
        entries, lost = self.entries(), 0
        if [e.number for e in entries] != list(range(len(entries))):
            raise Damaged("trials are missing")
        for entry in entries:
            if entry.ended is not None and entry.number not in logged:
                self.store.log.add(self.name, entry.ended)
            elif entry.ended is None and entry.number in logged:
                self._write(entry.id, logged[entry.number])
                lost += 1
        return lost

    def _write(self, id: int, trial: Trial, reported: bool = False) -> None:
        from optuna.trial import TrialState

        storage = self.store.storage
        record = logs.to_json(trial)
        for step, value in record["reports"] if not reported else ():
            storage.set_trial_intermediate_value(id, step, value)
        storage.set_trial_user_attr(id, "record", json.dumps(record))
        for name, value in record["metrics"].items():
            storage.set_trial_user_attr(id, name, value)
        storage.set_trial_user_attr(id, "how it ended", f"{trial.status}{': ' if trial.note else ''}{trial.note}")
        if trial.violations:
            storage.set_trial_system_attr(id, "constraints", record["violations"])
        states = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
        storage.set_trial_state_values(id, states.get(trial.status, TrialState.PRUNED), trial.values)

    def _one(self, number: int) -> Entry | None:
        return next((e for e in self.entries() if e.number == number), None)

    def _entry(self, trial: FrozenTrial) -> Entry:
        ended = None
        if trial.state.is_finished():
            if trial.number not in self._ended:
                try:
                    self._ended[trial.number] = logs.from_json(json.loads(trial.user_attrs["record"]))
                except (KeyError, TypeError, ValueError, AttributeError):
                    raise Damaged(f"trial {trial.number} has lost its record") from None
            ended = self._ended[trial.number]
        given = trial.user_attrs
        taken = trial.state.name == "RUNNING"
        return Entry(trial.number, trial._trial_id, taken, ended, given.get("plan", {}), given.get("owner"), given.get("beat"))

    def _parameter(self, path: str, options: tuple[str, ...]) -> str:
        """The name of a decision's parameter. Optuna wants equal options under one name; a path may have others after other choices."""
        if not self._options:
            for trial in self.store.storage.get_all_trials(self.id, deepcopy=False):
                self._options |= {name: tuple(d.choices) for name, d in trial.distributions.items()}  # type: ignore[attr-defined]
        name, count = path[-400:], 1
        while self._options.setdefault(name, options) != options:
            count += 1
            name = f"{path[-400:]} ({count})"
        return name


def _plan(trial: Trial) -> dict[str, Any]:
    return {"point": dict(trial.point), "key": trial.key, "parents": list(trial.parents)}


def _distinct(texts: Sequence[str]) -> tuple[str, ...]:
    """Options as texts that differ, in order."""
    found: list[str] = []
    for text in texts:
        found.append(text if text not in found else f"{text} ({len(found) + 1})")
    return tuple(found)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
