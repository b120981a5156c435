"""`archdsl bench`: what it measures and how it says so. No test here depends on how fast anything is."""

from __future__ import annotations

import json
import re

import pytest

from archdsl.bench import page
from archdsl.bench.alone import Shape, scans
from archdsl.bench.cases import GRID, GRID_SCANS, Case

TINY = ("--sizes", "1x2x4x32", "--pairs", "1")
MINE = "scan mine(rate = 0.5) {\n    in x: [d]\n    state h: [d] = 0\n    h' = rate * h + x\n    yield h'\n}\n"


@pytest.fixture(scope="module", autouse=True)
def _no_compiler():
    """The torch forms alone: nothing to build."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHDSL_KERNELS", "0")
        yield


def test_one_scan_as_json(run, tmp_path):
    result = run("bench", "diagonal", "gru", *TINY, "--json", "--save", "out.json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert json.loads((tmp_path / "out.json").read_text()) == said
    assert [(r["scan"], r["form"]) for r in said["rows"]] == [
        ("diagonal", "torch: parallel scan"),
        ("diagonal", "torch associative_scan"),
        ("gru", "torch.nn.GRU"),
    ]
    first = said["rows"][0]
    assert first["class"] == "diagonal"
    assert first["shape"] == {"batch": 1, "heads": 2, "d": 4, "time": 32}
    assert first["error"] < 1e-5
    assert first["kept"] > 0
    assert set(first["training"]) == set(first["forward"]) == {"ratio", "least", "loop_ms", "form_ms"}
    assert {"date", "processor", "threads", "versions"} <= set(said["machine"])
    assert "torch" in said["machine"]["versions"]


def test_scans_of_a_file(run, tmp_path):
    (tmp_path / "mine.arch").write_text(MINE)
    result = run("bench", "mine.arch", *TINY, "--forms", "torch,convolution")
    assert result.exit_code == 0, result.output
    assert re.search(r"^scan +class +BxHxdxT +form +forward", result.stdout, re.M)
    assert re.search(r"^mine +constant diagonal +1x2x4x32 +torch: convolution", result.stdout, re.M)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("diagnal",), "Did you mean `diagonal`?"),
        (("--sizes", "4x64"), "1x4x64x2048"),
        (("--sizes", "1x4x0x64"), "1x4x64x2048"),
        (("--forms", "magic"), "is not a form"),
        (("good.arch",), "declares no scan"),
    ],
)
def test_wrong_use_is_told(run, arguments, said):
    result = run("bench", *arguments)
    assert result.exit_code == 2
    assert said in result.output


def test_every_standard_scan_can_be_set_up():
    for name, decl in scans().items():
        case = Case(decl, Shape(1, 2, 8, 4))
        result = case.loop()()
        assert result.isfinite().all(), name
        assert case.loop_bytes() > 0


def test_the_grid_has_forty_shapes():
    assert len(set(GRID)) == 40
    assert set(GRID_SCANS) <= set(scans())
    assert {s.d for s in GRID} == {16, 64, 128, 256}
    assert (min(s.time for s in GRID), max(s.time for s in GRID)) == (64, 8192)


def row(scan: str, ratio: float, training: bool = True) -> dict:
    figures = {"ratio": ratio, "least": ratio, "loop_ms": ratio, "form_ms": 1.0}
    shape = {"batch": 1, "heads": 4, "d": 64, "time": 2048}
    made = {"scan": scan, "class": "diagonal", "shape": shape, "dtype": "float32", "form": "kernel", "error": 1e-7}
    return made | {"forward": figures, "training": figures if training else None, "kept": 10**6, "loop_kept": None}


def test_the_page_shows_table_grid_machine_and_plot():
    machine = {"date": "2026-01-02", "processor": "a < b", "threads": 2, "load": 0.1, "versions": {"torch": "2.13"}}
    result = {"rows": [row("one", 61.25), row("two", 0.5)], "alone": ["s4d"], "pairs": 5, "dtype": "float32", "machine": machine}
    older = {"rows": [row("one", 3.0), row("two", 2.0, training=False)], "pairs": 3, "dtype": "float32", "machine": machine | {"date": "2025-12-31"}}
    text = page.markdown(result | {"grid": older}, "scans.svg")
    assert "| one | diagonal | 1x4x64x2048 | kernel | 61.2 | 61.2 | 1.00 | – | 1e-07 |" in text
    assert "| 1x4x64x2048 | 3.00 | (2.00) |" in text
    assert "least ratio is (2.00), of two" in text
    assert "2026-01-02" in text
    assert "plain loop only: s4d" in text
    drawn = page.svg([*result["rows"], row("a<b", 1)])
    assert drawn.count("<rect") == 4
    assert "a&lt;b" in drawn
