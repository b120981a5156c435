"""The store: a database and a log that make each other whole, owners that die, and disks that fill."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from archdsl.diagnostics import ArchError
from archdsl.search.base import Goal, Trial
from archdsl.search.log import Log, from_json, to_json
from archdsl.search.owner import Watch, myself
from archdsl.search.settings import Budget
from archdsl.search.storage import hidden, sqlite_path
from archdsl.search.store import Store
from tests.cli.conftest import ROOT
from tests.search.studies import facts, study
from tests.search.toy import ToyEvaluator

PLAIN = {"baselines": False, "driver": "random", "driver_options": {}, "budget": Budget(trials=6)}
TRIAL = Trial(3, {"a": 1, "b/c": 0}, "complete", (0.5,), "k", {"loss": 0.5}, (0.0,), ((10, 0.7),), (1, 2), "mutated", 1.5)


class Counting(ToyEvaluator):
    """Counts the trials that are really run."""

    def __call__(self, candidate, seed, budget, report):
        self.ran = getattr(self, "ran", 0) + 1
        return super().__call__(candidate, seed, budget, report)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ended")
    return folder, facts(study(folder, **PLAIN))


@pytest.fixture
def done(ended, tmp_path):
    """A study that has ended, to be harmed, and its facts."""
    return shutil.copytree(ended[0], tmp_path / "s"), ended[1]


def again(folder):
    """Goes on with a study; what it said, its facts, and how many trials it had to run."""
    said: list[str] = []
    evaluator = Counting()
    outcome = study(
        folder, **PLAIN, resume=True, evaluator=evaluator, tell=lambda news: said.append(news.text) if news.kind == "note" else None
    )
    return said, facts(outcome), getattr(evaluator, "ran", 0)


# ---- the log ----


def test_a_trial_is_read_as_it_was_written():
    assert from_json(json.loads(json.dumps(to_json(TRIAL)))) == TRIAL


def test_a_torn_line_is_cut_off(tmp_path):
    log = Log(tmp_path / "trials.jsonl")
    log.begin({"name": "x"})
    log.add("search", TRIAL)
    whole = log.path.read_bytes()
    for cut in range(1, 60, 7):
        log.path.write_bytes(whole[:-cut])
        found = log.read()
        assert (found.settings, found.trials, found.damaged) == ({"name": "x"}, {}, 1)
        log.add("search", TRIAL)
        assert log.path.read_bytes() == whole
    assert log.read().trials == {"search": {3: TRIAL}}


def test_a_changed_line_is_left_out(tmp_path):
    log = Log(tmp_path / "trials.jsonl")
    log.begin({"name": "x"})
    log.add("search", TRIAL)
    log.path.write_text(log.path.read_text().replace("0.5", "0.4", 1))
    found = log.read()
    assert (found.trials, found.damaged) == ({}, 1)


@pytest.mark.parametrize("text", ["null\n", "[]\n", "{}\n", '{"sum": 3}\n', "\n", "\x00\xff\n", "[" * 5000 + "\n"])
def test_rubbish_in_the_log_is_left_out(tmp_path, text):
    log = Log(tmp_path / "trials.jsonl")
    log.path.write_text(text, encoding="latin-1")
    assert log.read().damaged == 1


# ---- lost and damaged ----


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "study.db").unlink(),
        lambda folder: (folder / "study.db").write_bytes(b""),
        lambda folder: (folder / "study.db").write_bytes(b"no database at all, but long enough to look at"),
        lambda folder: os.truncate(folder / "study.db", 40_000),
        lambda folder: _overwrite(folder / "study.db", 4096 * 3, 4096 * 6),
        lambda folder: _sql(folder / "study.db", "DELETE FROM trials WHERE number = 2"),
        lambda folder: _sql(folder / "study.db", "DELETE FROM trial_user_attributes WHERE key = 'record'"),
    ],
    ids=["gone", "empty", "rubbish", "cut", "overwritten", "row lost", "records lost"],
)
def test_the_database_is_made_again_from_the_log(done, harm):
    folder, before = done
    harm(folder)
    said, after, ran = again(folder)
    assert after == before
    assert ran == 0
    assert "trials.jsonl" in said[0] and "\n" not in said[0]
    import optuna

    (name,) = [s.study_name for s in optuna.get_all_study_summaries(f"sqlite:///{folder}/study.db") if "/" not in s.study_name]
    trials = optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/study.db").trials
    assert [t.state.name for t in trials] == ["COMPLETE"] * 6
    assert all(t.params for t in trials)


@pytest.mark.parametrize("cut", ["gone", "half", "middle"])
def test_the_log_is_made_again_from_the_database(done, cut):
    folder, before = done
    log = folder / "trials.jsonl"
    text = log.read_text()
    lines = text.splitlines(keepends=True)
    if cut == "gone":
        log.unlink()
    elif cut == "half":
        log.write_text(text[: len(text) // 2])
    else:
        log.write_text("".join(line if i != 3 else line.replace("1", "2", 1) for i, line in enumerate(lines)))
    _, after, ran = again(folder)
    assert (after, ran) == (before, 0)
    assert sorted(Log(log).read().trials["search"]) == list(range(6))


def test_a_trial_that_both_have_lost_is_run_again(done):
    folder, before = done
    (folder / "study.db").unlink()
    lines = (folder / "trials.jsonl").read_text().splitlines(keepends=True)
    (folder / "trials.jsonl").write_text("".join(line for line in lines if '"number": 2' not in line))
    _, after, ran = again(folder)
    assert (after, ran) == (before, 1)


def _overwrite(path, start, end):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * (end - start))


def _sql(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


# ---- for Optuna's tools ----


def test_optuna_reads_the_study_and_its_dashboard_shows_it(done):
    import optuna

    folder, before = done
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/study.db")
    read = optuna.load_study(study_name="toy", storage=storage)
    for trial, (number, point, _, values, *_) in zip(read.trials, before["search"], strict=True):
        assert (trial.number, trial.values) == (number, list(values))
        assert trial.params == {path: str(index) for path, index in point.items()}
        assert trial.user_attrs["accuracy"] == pytest.approx(1 / (1 + values[0]))
        assert list(trial.intermediate_values) == [10, 20]
    dashboard = pytest.importorskip("optuna_dashboard")
    app = dashboard.wsgi(storage)

    def get(path: str, query: str = "") -> tuple[str, bytes]:
        status: list[str] = []
        asked = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query, "SERVER_NAME": "x", "SERVER_PORT": "80"}
        asked |= {"wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, "wsgi.input": io.BytesIO()}
        body = b"".join(app(asked, lambda line, *_: status.append(line)))
        return status[0], body

    assert get(f"/dashboard/studies/{read._study_id}")[0] == "200 OK"
    status, body = get(f"/api/studies/{read._study_id}", "after=0")
    assert status == "200 OK"
    assert len(json.loads(body)["trials"]) == 6


# ---- owners ----


def test_who_counts_as_dead():
    me = myself()
    watch = Watch(me, one_machine=True, grace=0.0)
    other = {**me, "token": "other"}
    assert not watch.dead(me, 0)
    assert not watch.dead(other, 0), "the same process is alive"
    assert watch.dead({**other, "pid": 2**22 + 1}, 0), "no such process"
    assert watch.dead({**other, "start": "1"}, 0), "another process has its number now"
    assert watch.dead({**other, "boot": "another"}, 0), "the machine was started anew"
    assert watch.dead({}, 0) and watch.dead(None, 0), "released"


def test_another_machine_is_judged_by_its_heartbeat():
    me = myself()
    far = {**me, "token": "far", "host": "far", "boot": "far"}
    watch = Watch(me, one_machine=False, grace=0.05)
    assert not watch.dead(far, 1)
    assert not watch.dead(far, 2)
    import time

    time.sleep(0.1)
    assert not watch.dead(far, 3), "it moved"
    time.sleep(0.1)
    assert watch.dead(far, 3)


def test_a_trial_of_a_dead_process_is_taken_over(tmp_path):
    """Its owner was killed while it ran: whoever comes next runs it, and nothing else."""
    study(tmp_path, **{**PLAIN, "budget": Budget(trials=2)})
    store = Store(tmp_path, "toy")
    store.me = {**store.me, "pid": 2**22 + 1, "token": "dead"}
    settings = store._known_settings()
    goals = (Goal("loss"),)
    store.begin(settings, {"search": goals, "random": goals, "final": goals}, resume=True)
    with store.lock():
        assert store.phase("search").add({"point": {"d0": 1, "d1": 1, "d2": 1}, "key": "x", "parents": []}).number == 2
    store.close()
    _, after, ran = again(tmp_path)
    assert ran == 4
    assert after == facts(study(tmp_path / "fresh", **PLAIN))


def test_processes_share_the_work(tmp_path):
    """Two processes on one study: each trial is run once, by one of them."""
    command = [sys.executable, "-m", "tests.search.studies", str(tmp_path / "shared"), "0.1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE) for _ in range(2)]
    assert [p.wait(120) for p in both] == [0, 0], [p.stderr.read() for p in both if p.stderr]
    lines = (tmp_path / "shared" / "trials.jsonl").read_text().splitlines()
    whole = study(tmp_path / "alone")
    assert len(lines) == 1 + sum(map(len, whole.trials.values()))
    assert facts(study(tmp_path / "shared", resume=True)) == facts(whole)
    owners = set()
    import optuna

    for t in optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path}/shared/study.db").trials:
        owners.add(t.user_attrs["owner"]["pid"])
    assert len(owners) == 2


# ---- what a study refuses ----


def test_a_study_is_not_begun_twice(done):
    with pytest.raises(ArchError) as caught:
        study(done[0], **PLAIN)
    assert caught.value.diagnostics[0].code == "AD1035"


def test_other_settings_are_told_apart(done):
    with pytest.raises(ArchError) as caught:
        study(done[0], **{**PLAIN, "seed": 4, "effort": 30}, resume=True)
    (problem,) = caught.value.diagnostics
    assert problem.code == "AD1035"
    assert problem.note == "effort was 20 and is 30; seed was 0 and is 4."


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql+psycopg2://a:secret@127.0.0.1:9/x", "127.0.0.1"),
        ("mysql+pymysql://a:secret@127.0.0.1:9/x", "127.0.0.1"),
        ("sqlite:////no/such/folder/study.db", "no/such/folder"),
        ("http://example.org", "http"),
        ("sqlite://", "sqlite"),
        ("nonsense", "nonsense"),
    ],
)
def test_a_storage_that_does_not_answer_is_one_line(tmp_path, url, word):
    with pytest.raises(ArchError) as caught:
        study(tmp_path / "s", **PLAIN, url=url)
    (problem,) = caught.value.diagnostics
    assert problem.code in ("AD1036", "AD1037")
    assert word in problem.title
    assert "secret" not in str(caught.value)
    assert "\n" not in problem.title + problem.note + problem.hint


def test_passwords_are_not_shown():
    assert hidden("postgresql://me:pa:ss@host/db") == "postgresql://me:***@host/db"
    assert sqlite_path("postgresql://me@host/db") is None


@pytest.mark.parametrize("size", [1200, pytest.param(90_000, marks=pytest.mark.slow), 175_000])
def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, size):
    """A limit on the size of files stands for the disk: the log meets it (1,200), or the database."""
    script = (
        f"import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        "from pathlib import Path; from archdsl.diagnostics import ArchError; from tests.search.studies import study; from tests.search.test_store import PLAIN\n"
        f"try:\n    study(Path({str(tmp_path)!r}), **{{**PLAIN, 'budget': __import__('archdsl.search.settings').search.settings.Budget(trials=200)}}, resume=True)\n"
        "except ArchError as error:\n    print(len(error.diagnostics), error.diagnostics[0].code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "1 AD1037\n", done.stderr
    logged = Log(tmp_path / "trials.jsonl").read()
    assert logged.damaged == 0
    before = {n: t.key for n, t in logged.trials.get("search", {}).items()}
    after = study(tmp_path, **{**PLAIN, "budget": Budget(trials=max(before, default=0) + 2)}, resume=True)
    assert {t.number: t.key for t in after.trials["search"] if t.number in before} == before
