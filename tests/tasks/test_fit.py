"""Which specs a task takes, what it sets in them, and what is said when they do not fit."""

from __future__ import annotations

import pytest

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.tasks import get_task
from archdsl.tasks.fit import check_task, settings_for, task_options

LANGUAGE = "arch A(vocab = 9) { in x: int[T]\n return x -> embedding(vocab, 4) -> linear(vocab) }"
LABEL = "arch A(vocab = 9, classes = 2) { in x: int[T]\n return x -> embedding(vocab, 4) -> mean(axis=0) -> linear(classes) }"
IMAGE = "arch A(classes = 10) { in x: [3, H, W] where H % 32 == 0 and W % 32 == 0\n return x -> mean(axis=[1, 2]) -> linear(classes) }"
FIXED = 'arch A(size = 28) { in x: [3, size, size]\n return x -> rearrange("c h w -> (c h w)") -> linear(10) }'
SERIES = "arch A(channels = 1) { in x: [T, channels]\n return x -> linear(8) -> linear(channels) }"
WINDOW = 'arch A(horizon = 4) { in x: [96, 1]\n return x -> rearrange("t c -> (t c)") -> linear(horizon) }'


def told(text: str, task: str, options: dict | None = None, **settings) -> tuple[str, str]:
    """What is wrong, and the hint; empty if all is well."""
    spec = archdsl.parse(text, **settings)
    made = get_task(task, **task_options(task, options or {}, spec))
    try:
        check_task(spec, made)
    except ArchError as error:
        (problem,) = error.diagnostics
        assert problem.code == "AD0911"
        return problem.title, problem.hint
    return "", ""


@pytest.mark.parametrize(
    ("text", "task", "options", "settings"),
    [
        (LANGUAGE, "copy", {"vocab": 9}, {}),
        (LANGUAGE, "reachability", {"nodes": 8}, {}),
        (LABEL, "reachability", {"nodes": 8}, {}),
        (LABEL, "digits", {}, {"vocab": 17, "classes": 10}),
        (IMAGE, "digits", {"scale": 4}, {}),
        (FIXED, "digits", {}, {"size": 8}),
        (SERIES, "forecast", {"channels": 1}, {}),
        (SERIES, "forecast", {}, {"channels": 3}),
        (WINDOW, "forecast", {"horizon": 4}, {}),
    ],
)
def test_what_fits(text, task, options, settings):
    if task == "digits":
        pytest.importorskip("sklearn")
    assert told(text, task, options, **settings) == ("", "")


@pytest.mark.parametrize(
    ("text", "task", "options", "title", "hint"),
    [
        (LANGUAGE, "copy", {"vocab": 64}, "64 tokens, and its table 9", "--set vocab=64, or make the task smaller: --option vocab=9"),
        (LABEL, "copy", {"vocab": 9}, "does not give logits [T, 9]", "return logits [T, 9]"),
        (LABEL, "mod_arith", {"modulus": 3}, "logits for 2 and the task has 3 classes", "--set classes=3"),
        (IMAGE, "copy", {}, "not a sequence of tokens", "int[T]"),
        (LANGUAGE, "forecast", {}, "not a series", "[T, channels]"),
        (IMAGE, "digits", {}, "H is 8 and must be a multiple of 32", "--option scale=4"),
        (FIXED, "digits", {}, "size 28 where the task's has 8", "--set size=8"),
        (WINDOW, "forecast", {"horizon": 6}, "does not give numbers [6, 1]", "horizon"),
        (WINDOW, "forecast", {"length": 48, "horizon": 4}, "size 96 where the task's has 48", "--option length=96"),
        (SERIES, "forecast", {"channels": 2}, "size 1 where the task's has 2", "--set channels=2"),
    ],
)
def test_what_does_not_fit_and_how_to_mend_it(text, task, options, title, hint):
    if task == "digits":
        pytest.importorskip("sklearn")
    said = told(text, task, options)
    assert title in said[0]
    assert hint in said[1]


def test_what_a_task_sets():
    assert settings_for(get_task("copy", symbols=3), ["vocab", "d", "classes"]) == {"vocab": 16}
    assert settings_for(get_task("parity"), ["vocab", "classes"]) == {"vocab": 2, "classes": 2}
    assert settings_for(get_task("mod_arith", modulus=40), ["vocab"]) == {"vocab": 46}
    assert settings_for(get_task("forecast", horizon=3), ["horizon", "channels", "vocab"]) == {"horizon": 3, "channels": 1}
