"""`pytest --row SLUG` runs the proofs of that row, slow ones too, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.conftest import ROOT

FILE = """
import pytest

@pytest.mark.row("alpha")
def test_a(): pass

@pytest.mark.slow
@pytest.mark.row("alpha", "beta")
def test_ab(): pass

@pytest.mark.parametrize("n", [1, pytest.param(2, marks=pytest.mark.row("beta"))])
def test_n(n): pass

def test_none(): pass
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "tests" / "test_rows.py").write_text(FILE)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "catalogue.yaml").write_text("- slug: alpha\n- slug: beta\n- slug: gamma\n")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        ([], 0, "4 passed"),
        (["--row", "alpha"], 0, "2 passed"),
        (["--row", "beta"], 0, "2 passed"),
        (["--row", "alpha", "--row", "beta"], 0, "3 passed"),
        (["--row", "gamma"], 4, "no test is marked row(gamma)"),
        (["--row", "alhpa"], 4, "no row is called alhpa. Did you mean alpha?"),
        (["--row", "omega"], 4, "no row is called omega."),
    ],
)
def test_row_option(project, options, code, line):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", *options],
        cwd=project, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert line in done.stdout + done.stderr
