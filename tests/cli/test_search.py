"""`archdsl search` from the command to the files it leaves, on a space that trains in no time."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import pytest
import yaml

from archdsl.search.config import StudyFile, parse_study, read_study, scalar
from archdsl.search.plan import prepare
from archdsl.search.progress import Progress
from archdsl.search.settings import Budget, parse_budget, parse_goal, parse_limit, said_time
from archdsl.share import share
from tests.cli.conftest import ROOT, process

SPACE = """import "std/gates.arch"
import "std/transformer.arch"

block Mixer = Attention(1) | causal_conv(2) | gate(silu)
arch Small(vocab = 16, d in {4, 8} = 4) {
    in tokens: int[T] lengths
    table = embedding(vocab, d)
    return table(tokens) -> layers: repeat 2 { residual(rmsnorm -> Mixer) } -> rmsnorm -> unembed(table)
}
expect causal
"""
STUDY = """name: small
space: small.arch
task: {name: mqar, vocab: 16, length: 12, pairs: 2}
goals: [loss, min:state_bytes]
limits: ["params < 1e5"]
budget: 6
training: {steps: 6, batch: 4, eval_every: 2, eval_batches: 1}
pruning: {at: [2], keep: 0.7, after: 3}
driver: {name: evolution, population: 3}
confirm: 2
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A folder with a study that ran in a process of its own; what it wrote to the terminal."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "small.arch").write_text(SPACE)
    (folder / "study.yaml").write_text(STUDY)
    ran = process("search", "study.yaml", "--out", "s", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return folder, {"out": ran.stdout, "err": ran.stderr}


def test_it_says_the_cost_of_the_baselines_first(done):
    lines = done[1]["err"].splitlines()
    assert re.fullmatch(r"small: \d+ points, 6 trials, evolution", lines[0])
    assert re.match(
        r"Baselines, after the search: random search with the same budget \(6 trials\) and 4 trainings .* about [\d.]+ s\)", lines[1]
    )
    assert lines[2].startswith("trial ")


def test_it_ends_in_a_table_and_a_verdict(done):
    out = done[1]["out"]
    assert "Best of 6 trials" in out
    assert "random search" in out
    assert "Counting parameters would have picked" in out
    assert re.search(r"^wrote s/report.html$", out, re.MULTILINE)


def test_results_json_says_everything(done):
    results = json.loads((done[0] / "s" / "results.json").read_text())
    assert len(results["trials"]["search"]) == len(results["trials"]["random"]) == 6
    assert results["stamp"] == ""
    assert results["baselines"]["random"]["trials"] == 6
    assert {len(r["values"]) for r in results["baselines"]["fresh_seeds"]} == {2}
    assert set(results["baselines"]["hypervolume"]) == {"search", "random"}
    measured = results["winners"][0]["metrics"]
    assert {"loss", "accuracy", "params", "flops", "state_bytes", "latency_ms"} <= set(measured)


def test_winners_are_specs(done, run):
    folder = done[0] / "s"
    files = sorted((folder / "winners").glob("*.arch"))
    results = json.loads((folder / "results.json").read_text())
    assert [f"winners/{f.name}" for f in files] == [w["file"] for w in results["winners"]]
    for path, winner in zip(files, results["winners"], strict=True):
        text = path.read_text()
        assert text.startswith(
            f"# Found by `archdsl search` of small.arch: study small, driver evolution, seed 0, trial {winner['number']}"
        )
        assert "# Scores: " in text
        checked = run("check", str(path), "--json")
        assert checked.exit_code == 0, checked.output
        assert json.loads(checked.stdout)["specs" if "specs" in checked.stdout else "ok"]
        assert " | " not in re.sub(r'""".*?"""|#.*', "", text, flags=re.DOTALL), "no choice is left"
    built = run("build", str(files[0]), "--json")
    assert json.loads(built.stdout)["parameters"] == results["winners"][0]["metrics"]["params"]


class Page(html.parser.HTMLParser):
    """Tags that are open, and every address in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        self.addresses += [v or "" for k, v in attributes if k in ("src", "href", "data", "action", "xlink:href")]
        assert tag not in ("script", "link", "iframe", "object")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text += data


def test_the_report_needs_nothing_from_elsewhere(done):
    text = (done[0] / "s" / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert all(address.startswith("#") for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/)", text)
    for heading in ("Baselines", "Course", "Trials of the search", "Trials of random search", "Fresh seeds", "Settings"):
        assert heading in page.text
    assert text.count("<svg") >= 3, "two plots and the winner's picture"
    assert "most parameters" in page.text


def test_going_on_changes_nothing(done):
    """All trials have ended: nothing runs, and the report says the same."""
    before = json.loads((done[0] / "s" / "results.json").read_text())
    ran = process("search", "study.yaml", "--out", "s", "--resume", "--json", cwd=done[0])
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["ok"]
    assert {key: said[key] for key in before} == before == json.loads((done[0] / "s" / "results.json").read_text())


def test_going_on_with_other_settings_is_refused(done):
    ran = process("search", "study.yaml", "--out", "s", "--resume", "--steps", "8", "--seed", "3", cwd=done[0])
    assert ran.returncode == 2
    assert ran.stderr.split("error", 1)[1].startswith("[AD1035]: the study in s was begun with other settings")
    assert "effort was 6 and is 8; seed was 0 and is 3" in " ".join(ran.stderr.split())


def test_a_study_that_is_there_is_not_begun_again(done):
    ran = process("search", "study.yaml", "--out", "s", "--json", cwd=done[0])
    assert ran.returncode == 2
    (problem,) = json.loads(ran.stdout)["diagnostics"]
    assert problem["code"] == "AD1035"


@pytest.mark.slow
def test_a_dry_run_runs_nothing(done):
    ran = process("search", "study.yaml", "--out", "never", "--dry-run", cwd=done[0])
    assert ran.returncode == 0, ran.stderr
    assert "Nothing was run" in ran.stdout
    assert not (done[0] / "never").exists()


# ---- options and study files ----


def test_options_replace_what_the_study_says(tmp_path):
    from archdsl.cli.search import _merged

    given = dict.fromkeys(("budget", "task", "driver", "seed", "storage", "arch", "baselines", "steps", "batch", "lr"))
    given |= {"goals": (), "limits": (), "settings": (), "task_options": (), "driver_options": ()}
    study = parse_study_text(STUDY)
    assert _merged(study, given, None) == study
    changed = _merged(study, {**given, "budget": "3m", "task_options": ("pairs=3",), "settings": ("d=8",), "steps": 10}, 2)
    assert changed.task is not None
    assert changed.task.options == {"vocab": 16, "length": 12, "pairs": 3}
    assert (changed.budget, changed.set, changed.training.steps, changed.training.batch, changed.jobs) == ("3m", {"d": "8"}, 10, 4, 2)
    other = _merged(study, {**given, "task": "copy", "driver": "random"}, None)
    assert (other.task.name, other.task.options, other.driver.options) == ("copy", {}, {})


def parse_study_text(text: str) -> StudyFile:
    from archdsl.diagnostics import Source

    return parse_study(Source("study.yaml", text))


def test_a_language_model_is_searched_on_mqar(tmp_path):
    (tmp_path / "small.arch").write_text(SPACE)
    plan = prepare(StudyFile(space=str(tmp_path / "small.arch")))
    assert plan.task.name == "mqar"
    assert plan.said == ("No task was given. Small is a language model, so it is searched on mqar (vocab 64); --task chooses another.",)
    assert plan.default.arguments["vocab"] == 64


@pytest.mark.parametrize(
    ("text", "budget"), [("50", Budget(trials=50)), (7, Budget(trials=7)), ("90s", Budget(seconds=90)), ("1.5h", Budget(seconds=5400))]
)
def test_budgets(text, budget):
    assert parse_budget(text) == budget


def test_goals_and_limits():
    assert parse_goal("accuracy", {"accuracy": "max"}).best == "max"
    assert parse_goal("min:parameters").metric == "params"
    limit = parse_limit("params<=2_000_000")
    assert limit.violation(2e6) <= 0 < limit.violation(2e6 + 1)
    assert parse_limit("params < 5").violation(5) > 0
    assert parse_limit("accuracy > 0.5").violation(0.6) < 0 < parse_limit("accuracy > 0.5").violation(0.4)
    assert parse_limit("x > 0").violation(1) < 0


def test_values_on_the_command_line_are_read_as_in_a_file():
    assert [scalar(t) for t in ("3", "0.5", "true", "abc", "[1", "2024-01-01")] == [3, 0.5, True, "abc", "[1", "2024-01-01"]


def test_shipped_studies_are_right():
    """Each can be prepared, stands in the folder's README, and names a space that is shipped."""
    files = sorted(share("search").glob("*.yaml"))
    assert files
    readme = (ROOT / "search" / "README.md").read_text()
    for path in files:
        study = read_study(path)
        assert f"`{path.stem}`" in readme
        assert study.name == path.stem
        prepare(study, path.parent)


def test_the_guide_tells_every_key_of_a_study_file():
    guide = (ROOT / "docs" / "search.md").read_text()
    for kind in (StudyFile, *(f.annotation for n, f in StudyFile.model_fields.items() if n == "training")):
        for key in kind.model_fields:
            assert re.search(rf"^\s*#?\s*{key}:|`{key}`", guide, re.MULTILINE), key
    for block in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL):
        StudyFile.model_validate(yaml.safe_load(block))


def test_the_live_line(capsys):
    from archdsl.search.base import Trial
    from archdsl.search.study import News
    from tests.search.studies import SETTINGS

    progress = Progress(SETTINGS)
    progress(News("phase", phase="search", total=8))
    progress(News("trial", phase="search", trial=Trial(0, {}, "complete", (0.51,), metrics={"loss": 0.51, "params": 1234}), running=1))
    progress(News("trial", phase="search", trial=Trial(1, {}, "failed", note="its process crashed"), running=2))
    assert capsys.readouterr().err.splitlines() == [
        "trial   0  loss 0.51  params 1,234  (best 0.51)",
        "trial   1  failed  its process crashed  (best 0.51)",
    ]
    assert re.fullmatch(r"\[bold\]search\[/bold\] 2/8  ·  best 0.51  ·  1 failed  ·  2 running  ·  .* left", progress.status())


def test_times():
    assert [said_time(s) for s in (0.25, 3, 12.3, 600, 9000)] == ["0.2 s", "3 s", "12 s", "10 min", "2.5 h"]
