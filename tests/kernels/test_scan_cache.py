"""The cache of compiled kernels: built once, never loaded if changed or another's, safe for several processes at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from archdsl.kernels import build

SOURCE = "double twice(double x) { return 2 * x; } /* %s */"
CHILD = """
import ctypes, sys
from archdsl.kernels import build
library = build.load(sys.argv[1])
library.twice.restype, library.twice.argtypes = ctypes.c_double, [ctypes.c_double]
assert library.twice(21.0) == 42.0
"""


def _compiler() -> bool:
    try:
        build.compiler()
    except build.NoCompiler:
        return False
    return True


pytestmark = pytest.mark.skipif(not _compiler(), reason="no C compiler")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARCHDSL_CACHE", str(tmp_path))
    build._load.cache_clear()
    yield tmp_path / "kernels"
    build._load.cache_clear()


def source(mark: str) -> str:
    return SOURCE % mark


def libraries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.so"))


def test_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.load(source("once"))
    (library,) = libraries(cache)
    assert (cache.stat().st_mode & 0o777) == 0o700
    monkeypatch.setattr(build, "_build", lambda *_: pytest.fail("built again"))
    build._load.cache_clear()
    build.load(source("once"))
    assert libraries(cache) == [library]


def test_another_source_is_another_library(cache: Path) -> None:
    build.load(source("one"))
    build.load(source("two"))
    assert len(libraries(cache)) == 2


@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "no sum"])
def test_a_damaged_library_is_built_again(cache: Path, damage: str) -> None:
    """Never loaded: the bytes must be those that were built."""
    cache.mkdir(mode=0o700)
    subprocess.run([sys.executable, "-c", CHILD, source(damage)], check=True)
    (library,) = libraries(cache)
    intact = library.read_bytes()
    if damage == "changed":
        library.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    elif damage == "no sum":
        library.with_suffix(".sum").unlink()
    else:
        library.write_bytes(intact[: len(intact) // 2] if damage == "cut" else b"")
    build.load(source(damage))
    total = hashlib.blake2b(library.read_bytes()).hexdigest()
    assert library.with_suffix(".sum").read_text() == total
    subprocess.run([sys.executable, "-c", CHILD, source(damage)], check=True)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_can_write_is_refused(cache: Path, mode: int) -> None:
    cache.mkdir()
    cache.chmod(mode)
    with pytest.raises(build.NoCompiler, match="can be written by others"):
        build.load(source("open"))
    assert not libraries(cache)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners here")
def test_what_belongs_to_another_is_not_loaded(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.load(source("theirs"))
    build._load.cache_clear()
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(build.NoCompiler, match="can be written by others"):
        build.load(source("theirs"))
    library = libraries(cache)[0]
    assert not build._intact(library, library.with_suffix(".sum"))


def test_several_processes_build_the_same_kernel(cache: Path) -> None:
    """Side by side from an empty folder: all succeed, one intact library is left, and nothing half-made."""
    running = [subprocess.Popen([sys.executable, "-c", CHILD, source("race")]) for _ in range(4)]
    assert [p.wait(120) for p in running] == [0] * 4
    (library,) = libraries(cache)
    assert build._intact(library, library.with_suffix(".sum"))
    assert sorted(p.suffix for p in cache.iterdir()) == [".so", ".sum"]


def test_a_failing_compiler_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(build.NoCompiler, match="failed"):
        build.load("this is not C")
    monkeypatch.setenv("CC", str(tmp_path / "nothing"))
    with pytest.raises(build.NoCompiler, match="was not found"):
        build.compiler()


@pytest.mark.parametrize("value", ["0", "loop"])
def test_switched_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHDSL_KERNELS", value)
    with pytest.raises(build.NoCompiler, match=f"ARCHDSL_KERNELS={value}"):
        build.compiler()


def test_no_unsafe_arithmetic() -> None:
    assert not {"-ffast-math", "-Ofast", "-funsafe-math-optimizations"} & set(build.FLAGS)
