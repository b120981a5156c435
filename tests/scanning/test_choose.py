"""Which form runs where, and that its reason is said."""

from __future__ import annotations

import subprocess
import sys

import pytest

from archdsl.scanning.choose import Choice, available, choose
from tests.recurrence.steps import ORDERED, USES, classified

EVERY = [*USES, *ORDERED]


@pytest.mark.parametrize("use", EVERY)
def test_a_cpu_with_a_compiler_runs_kernels(use: str) -> None:
    choice = choose(classified(use), 8, 2048, "cpu", compiler=True)
    assert (choice.form, choice.setting) == ("kernel", None)


WITHOUT = {
    "diagonal": "parallel scan", "ema": "parallel scan", "gated_linear": "chunked", "retention": "chunked", "delta_rule": "chunked",
    "outgoing": "parallel scan", "softmax_stream": "parallel scan", "max_plus": "parallel scan", "mixing": "sweeps",
    "indrnn(4)": "in order", "lif": "in order", "elman(4)": "loop", "shifted": "all at once",
}  # fmt: skip


@pytest.mark.parametrize("use", WITHOUT)
def test_a_cpu_without_one_runs_forms(use: str) -> None:
    choice = choose(classified(use), 8, 2048, "cpu", compiler=False)
    assert choice.form == WITHOUT[use]
    assert "no C compiler" in choice.reason or choice.form == "loop"
    assert (choice.setting is None) == (choice.form == "loop")


GPU = {
    "ema": "convolution", "mega_ema(3)": "convolution", "diagonal": "parallel scan", "gated_linear": "chunked", "indrnn(4)": "newton",
    "para_lstm(4)": "newton", "lif": "in order", "sru": "newton", "elman(4)": "loop",
}  # fmt: skip


@pytest.mark.parametrize("use", GPU)
def test_a_gpu_runs_parallel_forms(use: str) -> None:
    choice = choose(classified(use), 8, 4096, "cuda")
    assert choice.form == GPU[use]
    assert choice.setting is None or choice.setting.engine == "tree"


def test_a_gpu_with_triton() -> None:
    """Kernels for what has no products of matrices; nothing is left to the loop."""
    for use in ("diagonal", "indrnn(4)", "lif", "elman(4)", "max_plus"):
        assert choose(classified(use), 8, 4096, "cuda", triton=True).form == "triton kernel"
    assert choose(classified("gated_linear"), 8, 4096, "cuda", triton=True).form == "chunked"


def test_short_sequences() -> None:
    assert choose(classified("retention"), 8, 64, "cuda").form == "attention matrix"
    assert choose(classified("ema"), 8, 64, "cuda").form == "parallel scan"
    assert choose(classified("indrnn(4)"), 8, 64, "cuda").form == "in order"


def test_states_written_out_are_cut_into_segments() -> None:
    """So that memory for states stays bounded, whatever the length."""
    choice = choose(classified("selective(3)"), 64, 10**6, "cpu", compiler=False)
    assert choice.setting is not None
    assert 64 <= choice.setting.segment <= 2**24 // (64 * 15)
    assert choose(classified("selective(3)"), 1, 100, "cpu", compiler=False).setting.segment == 0


@pytest.mark.parametrize("use", EVERY)
def test_what_is_available(use: str) -> None:
    rows = {row.form: row for row in available(classified(use))}
    assert rows["step"].ok
    assert rows["kernel"].ok
    assert all(row.reason for row in rows.values())
    assert rows["attention matrix"].ok == (use in ("linear_attention", "retention", "two_updates"))
    assert rows["convolution"].ok == (use in ("ema", "mega_ema(3)", "lru(4)", "s4d(3)"))
    assert rows["newton"].ok == (use in ("indrnn(4)", "sru", "para_gru(4)", "para_lstm(4)"))
    nonlinear = use in ("indrnn(4)", "sru", "para_gru(4)", "para_lstm(4)", "lif", *ORDERED)
    assert rows["parallel scan or chunks"].ok != nonlinear


def test_choosing_needs_no_torch() -> None:
    code = (
        "import sys\nfrom archdsl.scanning.choose import available, choose\nfrom archdsl.recurrence.classify import classify\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_choice_says_why() -> None:
    choice = choose(classified("elman(4)"), 1, 10, "cuda")
    assert isinstance(choice, Choice)
    assert "tanh" in choice.reason
