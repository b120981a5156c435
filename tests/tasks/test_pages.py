"""What is said about tasks: the page, the list, one task with a row, and the command that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from archdsl.cli.app import app
from archdsl.tasks import TASKS, get_task
from archdsl.tasks.pages import described, figures, overview

DOCS = Path(__file__).parents[2] / "docs"


def run(*words):
    return CliRunner().invoke(app, ["train", *words])


def test_the_list_has_a_short_line_for_each_task():
    lines = overview().splitlines()
    assert [line.split()[0] for line in lines] == list(TASKS)
    assert all(20 < len(line) < 141 for line in lines)
    assert run("--show").stdout.splitlines() == lines


def test_a_task_is_shown_with_its_options_and_a_row():
    text = described(get_task("mqar", vocab=20, length=16, pairs=2))
    assert "vocab=20" in text
    assert "guessing 0.5, best 1" in text
    assert text.count("=> ") == 1
    assert run("--task", "mqar", "--option", "vocab=20", "--option", "length=16", "--option", "pairs=2", "--show").stdout == text + "\n"
    said = figures(get_task("parity"), {"accuracy": 0.75, "loss": 0.5})
    assert said == "accuracy 0.7500 (guessing 0.5, best 1), loss 0.5000 (guessing 0.693, best 0)"


def test_the_command_sets_the_spec_for_the_task_and_tells_what_came_out():
    result = run("gru_classifier", "--task", "mod_arith", "--set", "d=4", "--set", "n=4", "--steps", "2", "--eval-batches", "1", "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["parameters"] == 11 * 4 + 2 * 3 * 4 * (4 + 4 + 2) + 5 * 9
    assert data["settings"]["modulus"] == 5
    assert set(data["test"]) == set(data["metrics"]) == {"loss", "accuracy"}


def test_stages_and_side_losses_from_the_command_line(tmp_path):
    path = tmp_path / "a.arch"
    body = "return x -> embedding(vocab, 8) -> loop rounds { linear(8) -> tanh } -> linear(vocab)"
    path.write_text(f"arch A(vocab = 4, rounds = 2) {{ in x: int[T]\n {body} }}\n")
    words = (str(path), "--task", "copy", "--steps", "2", "--batch", "2", "--eval-batches", "1")
    assert run(*words, "--stage", "0.5:rounds=1").exit_code == 0
    for wrong, code in ((("--stage", "0.5"), "AD0901"), (("--stage", "0.5:vocab=9"), "AD0817"), (("--side", "x"), "AD0901")):
        result = run(*words, *wrong)
        assert result.exit_code == 2
        assert code in result.stderr
    assert "AD0816" in run(*words, "--side", "router=0.1").stderr


@pytest.mark.parametrize("words", [(), ("hybrid",), ("--task", "mqar"), ("hybrid", "--task", "mqar", "--keep-best")])
def test_what_is_missing_is_told(words):
    assert run(*words).exit_code == 2
