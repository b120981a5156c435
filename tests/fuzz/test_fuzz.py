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
        start = time.process_time()
        try:
            check_text(text)
            accepted += 1
        except ArchError as error:
            refused += bool(str(error)) and all(d.code.startswith("AD") for d in error.diagnostics)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}\n{text}") from error
        assert time.process_time() - start < 1.0, f"seed {seed} took too long"
    assert accepted + refused == len(seeds)
    return accepted, refused


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
