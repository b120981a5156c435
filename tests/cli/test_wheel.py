"""What is shipped: the wheel holds specs, grammars and studies where archdsl.share looks for them, as does the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile

import pytest

from archdsl.share import share
from tests.cli.conftest import ROOT

FOLDERS = ("grammars", "specs", "search")


def test_the_checkout_has_the_shipped_folders():
    for folder in FOLDERS:
        assert share(folder) == ROOT / folder
        assert any(share(folder).iterdir())


def test_the_wheel_is_told_to_ship_them():
    """The quick proof; the build itself is below."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert table == {folder: f"archdsl/_share/{folder}" for folder in FOLDERS}


@pytest.mark.slow
def test_an_installed_wheel_finds_its_specs(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    driver = (
        "import archdsl, sys; from archdsl.share import share; from archdsl.cli import main\n"
        "print(archdsl.__file__, *(sum(p.is_file() for p in share(f).rglob('*')) for f in ('grammars', 'specs', 'search')))\n"
        "main(['check', 'smollm2'])\n"
    )
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", driver], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    where, *counts = done.stdout.splitlines()[0].split()
    assert where.startswith(str(site))
    assert [int(n) for n in counts] == [sum(p.is_file() for p in (ROOT / folder).rglob("*")) for folder in FOLDERS]
    assert "134,515,008 parameters" in done.stdout
    names = {path.split("/")[0] for path in zipfile.ZipFile(wheel).namelist()}
    assert {n for n in names if not n.endswith(".dist-info")} == {"archdsl"}
