"""build, train and generate, end to end on small models."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TINY = ("--set", "d=16", "--set", "depth=1", "--set", "heads=2", "--set", "vocab=64")


@pytest.fixture
def tiny(run):
    assert run("new", "tiny").exit_code == 0
    return "tiny.arch"


def test_build_counts_what_the_formula_says(run, tiny):
    result = run("build", tiny, *TINY, "--size", "T=32")
    assert result.exit_code == 0, result.output
    assert "built Tiny: 5,168 parameters" in result.stdout
    data = json.loads(run("build", tiny, *TINY, "--size", "T=32", "--json").stdout)
    assert data["parameters"] == data["counted"] == 5168
    assert isinstance(data["flops"], int)
    assert data["built"] is True


def test_a_large_model_is_shown_and_not_built(run):
    result = run("build", "smollm2", "--max-params", "1e6")
    assert result.exit_code == 0, result.output
    assert "not built: 134,515,008 numbers" in result.stdout
    assert json.loads(run("build", "smollm2", "--max-params", "1e6", "--json").stdout)["built"] is False


def test_emitted_source_runs_without_archdsl(run, tiny, tmp_path):
    assert run("build", tiny, *TINY, "--emit", "model.py").exit_code == 0
    driver = (
        "import sys; sys.modules['archdsl'] = None\n"
        "import torch, model\n"
        "m = model.Tiny()\n"
        "print(tuple(m(torch.zeros(2, 5, dtype=torch.long)).shape))\n"
    )
    done = subprocess.run([sys.executable, "-c", driver], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "(2, 5, 64)\n", done.stderr


def test_emit_to_standard_output_is_only_the_source(run, tiny, tmp_path):
    result = run("build", tiny, *TINY, "--emit", "-")
    assert run("build", tiny, *TINY, "--emit", "model.py").exit_code == 0
    assert result.stdout == (tmp_path / "model.py").read_text()
    assert "built Tiny" in result.stderr


def test_saved_weights_come_back(run, tiny):
    assert run("build", tiny, *TINY, "--seed", "3", "--save", "a.safetensors").exit_code == 0
    result = run("build", tiny, *TINY, "--weights", "a.safetensors", "--save", "b.safetensors")
    assert result.exit_code == 0, result.output
    from safetensors.torch import load_file

    a, b = load_file("a.safetensors"), load_file("b.safetensors")
    assert a.keys() == b.keys()
    assert all((a[name] == b[name]).all() for name in a)


def test_weights_that_do_not_fit_are_refused_or_loaded_in_part(run, tiny):
    assert run("build", tiny, *TINY, "--save", "a.safetensors").exit_code == 0
    wider = ("--set", "d=16", "--set", "depth=2", "--set", "heads=2", "--set", "vocab=64")
    refused = run("build", tiny, *wider, "--weights", "a.safetensors")
    assert refused.exit_code == 2
    assert "AD0803" in refused.stderr
    assert run("build", tiny, *wider, "--weights", "a.safetensors", "--partial").exit_code == 0


def test_a_save_name_is_checked_first(run, tiny):
    result = run("build", tiny, "--save", "a.bin")
    assert result.exit_code == 2
    assert "AD0906" in result.stderr


def test_training_learns_saves_resumes_and_generates(run, tiny, tmp_path):
    (tmp_path / "text.txt").write_text("abcd " * 400)
    base = ("train", tiny, "--task", "chars", "--data", "text.txt", "--seq", "16", "--batch", "8", "--save", "run")
    size = ("--set", "d=32", "--set", "depth=1", "--set", "heads=2", "--lr", "1e-2", "--eval-every", "20")
    first = run(*base, *size, "--steps", "40", "--json")
    assert first.exit_code == 0, first.output
    data = json.loads(first.stdout)
    assert data["metrics"]["accuracy"] > 0.95
    assert data["metrics"]["loss"] < data["history"][0]["loss"]
    refused = run(*base, *size, "--steps", "40")
    assert refused.exit_code == 2
    assert "AD0813" in refused.stderr
    assert run(*base, *size, "--steps", "40", "--resume").exit_code == 0
    said = run("generate", tiny, "--weights", "run", "abcd a", "--max-new", "9")
    assert said.exit_code == 0, said.output
    assert said.stdout == "bcd abcd \n"


def test_generate_reads_a_prompt_from_a_file_or_standard_input(run, tiny, tmp_path):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"kind": "characters", "alphabet": [chr(97 + i) for i in range(26)]}))
    assert run("build", tiny, *TINY, "--save", "a.safetensors").exit_code == 0
    (tmp_path / "p.txt").write_text("abc")
    base = ("generate", tiny, *TINY, "--weights", "a.safetensors", "--max-new", "0")
    results = [run(*base, "abc"), run(*base, "--prompt-file", "p.txt"), run(*base, "--prompt-file", "-", input="abc")]
    assert [r.exit_code for r in results] == [0, 0, 0], results[0].output
    assert all("[3 tokens read" in r.stderr for r in results)
    assert run(*base).exit_code == 2
    assert run(*base, "abc", "--prompt-file", "p.txt").exit_code == 2
    assert "AD0910" in run(*base, "").stderr


def test_generate_says_why_a_model_cannot_be_decoded(run, tmp_path):
    (tmp_path / "back.arch").write_text("arch Back { in x: int[T]; return x -> embedding(64, 8) -> flip(axis=0) -> linear(64) }")
    (tmp_path / "a.safetensors").touch()
    result = run("generate", "back.arch", "--weights", "a.safetensors", "abc")
    assert result.exit_code == 2
    assert "AD0809" in result.stderr
    assert "`flip` reverses the axis." in result.stderr


def test_usage_errors(run, tiny):
    assert run("train", tiny, "--task", "mqar", "--resume").exit_code == 2
    assert run("train", tiny, "--task", "mqar", "--data", "x").exit_code == 2
    assert "AD0814" in run("train", tiny, "--task", "mqra").stderr
    assert "AD0806" in run("generate", tiny, "--weights", "nothing", "x").stderr
    assert run("build", tiny, "--dtype", "int4").exit_code == 2


@pytest.mark.slow
def test_the_published_model_answers(run):
    result = run("generate", "smollm2", "--weights", "smollm2-135m", "--chat", "What is the capital of France?", "--max-new", "20")
    assert result.exit_code == 0, result.output
    assert "Paris" in result.stdout
