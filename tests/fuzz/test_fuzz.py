"""Whatever the input, the answer is a model or diagnostics: never another exception, never long."""

import contextlib
import time

import pytest

from archdsl.api import check_text
from archdsl.diagnostics import ArchError
from tests.fuzz.mutate import corpus, mutated
from tests.language.generate_specs import Spec


def survive(seeds):
    texts = corpus()
    accepted = refused = 0
    for seed in seeds:
        text = mutated(seed, texts)
        ended, seconds = answer(text, seed)
        if seconds > 1.0:  # once may be the collector at work on all that this process holds
            ended, seconds = answer(text, seed)
        assert seconds < 1.0, f"seed {seed} took too long"
        accepted += ended == "accepted"
        refused += ended == "refused"
    assert accepted + refused == len(seeds)
    return accepted, refused


def answer(text, seed):
    """How it ended, and the seconds of this thread."""
    start = time.thread_time()
    try:
        check_text(text)
        ended = "accepted"
    except ArchError as error:
        ended = "refused" if str(error) and all(d.code.startswith("AD") for d in error.diagnostics) else "refused without a code"
    except Exception as error:
        raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{text}") from error
    return ended, time.thread_time() - start


@pytest.mark.parametrize("part", range(5))
def test_mutated_specs(part):
    accepted, refused = survive(range(part * 1000, (part + 1) * 1000))
    assert accepted > 10
    assert refused > 500


def test_grammar_made_specs():
    for seed in range(500):
        with contextlib.suppress(ArchError):
            check_text(Spec(seed).text)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(100))
def test_many_mutated_specs(part):
    survive(range(10_000 + part * 1000, 10_000 + (part + 1) * 1000))
