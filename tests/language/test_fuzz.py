"""Whatever the text, the answer is a tree or diagnostics: never another exception, never long."""

from __future__ import annotations

import time

import pytest

from archdsl.diagnostics import ArchError, Source
from archdsl.language import format_text, parse, same_tree, unparse
from tests.language.generate_specs import Spec
from tests.language.helpers import EXAMPLES, tree
from tests.language.mutate import mutated

TEXTS = [p.read_text(encoding="utf-8") for p in EXAMPLES] + [Spec(seed, declarations=3).text for seed in range(40)]


def judge(error: ArchError, seed: int) -> None:
    assert 1 <= len(error.diagnostics) <= 21, seed
    assert all(d.code.startswith("AD01") and d.title and d.span for d in error.diagnostics), seed
    if seed % 8 == 0:
        assert all(line.isprintable() for line in str(error).split("\n")), seed


def survive(seeds: range) -> int:
    """Parses mutated texts, renders what is wrong with them, and formats those that parse. Returns how many do."""
    accepted = 0
    for seed in seeds:
        parsed, seconds = answer(seed)
        if seconds > 1:  # once may be the collector at work on all that this process holds
            parsed, seconds = answer(seed)
        assert seconds < 1, f"seed {seed} took too long"
        accepted += parsed
    return accepted


def answer(seed: int) -> tuple[bool, float]:
    """Whether a mutated text parses, and the seconds of this thread."""
    text, parsed = mutated(seed, TEXTS), False
    start = time.thread_time()
    try:
        file = parse(Source("fuzz.arch", text))
        parsed = True
        if seed % 8 == 0:
            once = format_text(Source("fuzz.arch", text))
            assert same_tree(tree(once), file), seed
            assert same_tree(tree(unparse(file)), file), seed
    except ArchError as error:
        judge(error, seed)
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{text!r}") from error
    return parsed, time.thread_time() - start


@pytest.mark.parametrize("part", range(5))
def test_mutated_texts(part: int) -> None:
    accepted = survive(range(part * 1000, (part + 1) * 1000))
    assert 20 < accepted < 600


@pytest.mark.slow
@pytest.mark.parametrize("part", range(100))
def test_many_mutated_texts(part: int) -> None:
    survive(range(10_000 + part * 1000, 11_000 + part * 1000))
