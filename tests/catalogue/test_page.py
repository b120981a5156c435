"""docs/catalogue.md is what its generator writes now, and the generator reads what it says it reads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pages import writer

ROOT = Path(__file__).parents[2]


WRITER = writer("catalogue")


def test_there_are_as_many_rows_as_papers() -> None:
    table = WRITER.rows()
    assert len(table) == 203
    numbers = [row.source for row in table.values() if row.source.startswith("arXiv:")]
    assert len(numbers) == len(set(numbers))  # a number names one row


def test_notes_are_read_where_they_stand() -> None:
    text = '''"""A model (arXiv:1111.11111).

Its norm is that of arXiv:2222.22222.
"""
import "std/residual.arch"

# A gate (arXiv:3333.33333),
# in two lines; row: gated-one.
block Gate { in x: [..]; return x }      # arXiv:4444.44444

act bump(x) = x                          # arXiv:5555.55555
act long(x) =                            # arXiv:6666.66666
    x + 1                                # arXiv:7777.77777

# ---- a section (arXiv:8888.88888)

act next(x) = x
'''
    assert WRITER.cited(text) == [
        ("1111.11111", ""), ("2222.22222", ""), ("3333.33333", "Gate"), ("gated-one", "Gate"), ("4444.44444", "Gate"),
        ("5555.55555", "bump"), ("6666.66666", "long"), ("7777.77777", "long"), ("8888.88888", ""),
    ]  # fmt: skip


MARKED = """
import pytest
pytestmark = [pytest.mark.row("all"), pytest.mark.slow]
named = pytest.mark.row("five")

@pytest.mark.row("one", "two")
@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.row("three"))])
def test_a(n): pass

@pytest.mark.row("four")
class TestB:
    def test_c(self): pass

def helper(): pass

@named
def test_d(): pass
"""


def test_marks_are_found_on_functions_classes_parameters_and_files() -> None:
    found = sorted(WRITER.marks(ast.parse(MARKED)))
    assert [(n, s) for n, s in found if n == "test_a"] == [("test_a", s) for s in ("all", "one", "three", "two")]
    assert [(n, s) for n, s in found if n == "test_c"] == [("test_c", "all"), ("test_c", "four")]
    assert [(n, s) for n, s in found if n == "test_d"] == [("test_d", "all"), ("test_d", "five")]


def test_lines_of_python() -> None:
    text = '"""Doc."""\n\nimport os  # why\n\n# a remark\n@os.deco\nclass A:\n    """Doc\n    two."""\n\n    x = """kept\ntoo"""\n\n    def f(self):\n        return 1\n'
    assert WRITER.python_lines(text, []) == 7
    assert WRITER.python_lines(text, ["A"]) == 6
    assert WRITER.python_lines(text, ["A.f"]) == 2
    with pytest.raises(SystemExit):
        WRITER.python_lines(text, ["B"])


def test_lines_of_a_spec_count_what_it_alone_uses() -> None:
    specs = WRITER.Specs()
    name = "language/smollm2.arch"
    assert specs.used[name] >= {"residual", "Attention", "SwiGLU"}
    own = sum(WRITER.declared_lines(d) for d in [*specs.files[name].imports, *specs.files[name].declarations])
    assert specs.lines(name) == own  # others use those three as well
    specs.used = {name: specs.used[name]}
    assert specs.lines(name) > own + 10


def test_every_entry_of_lines_names_a_row_and_a_spec() -> None:
    for slug, entry in (yaml.safe_load(WRITER.LINES.read_text(encoding="utf-8")) or {}).items():
        assert slug in WRITER.rows()
        if "uncounted" in entry:
            assert entry["uncounted"] and len(entry) == 1
            continue
        assert (ROOT / "specs" / entry["spec"]).is_file()
        assert entry["lines"] > 0 and entry["public"].startswith("https://") and entry["source"]


@pytest.mark.slow
def test_marks_read_from_the_text_are_those_pytest_collects() -> None:
    code = (
        "import pytest, sys\n"
        "class Seen:\n"
        "    def pytest_collection_finish(self, session):\n"
        "        for item in session.items:\n"
        "            for mark in item.iter_markers('row'):\n"
        "                for slug in mark.args: sys.stdout.write(f'\\nROW {slug} {item.location[0]} {item.originalname}')\n"
        "pytest.main(['--collect-only', '-q', '-p', 'no:xdist', '-m', ''], plugins=[Seen()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    collected = {tuple(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("ROW ")}
    read = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        where = path.relative_to(ROOT).as_posix()
        read |= {(slug, where, test) for test, slug in WRITER.marks(ast.parse(path.read_text(encoding="utf-8")))}
    assert read == collected
