"""C source -> shared library: built with the system compiler in a private folder, named by content, checked before it is loaded."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

FLAGS = ("-O3", "-march=native", "-fopenmp", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-w", "-std=gnu11")
TIMEOUT = 60


class NoCompiler(RuntimeError):
    """There is no C compiler, or it failed; the plain torch forms run instead."""


def compiler() -> str:
    """The C compiler's path: CC if that is set, else the system's. Raises NoCompiler."""
    if os.environ.get("ARCHDSL_KERNELS", "1") in ("0", "loop"):
        raise NoCompiler(f"switched off by ARCHDSL_KERNELS={os.environ['ARCHDSL_KERNELS']}")
    return _compiler(os.environ.get("CC"))


@functools.cache
def _compiler(wanted: str | None) -> str:
    if wanted and " " not in wanted:
        found = shutil.which(wanted)
        if found is None:
            raise NoCompiler(f"the C compiler CC={wanted} was not found")
        return found
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        raise NoCompiler("no C compiler was found (cc, gcc, clang)")
    return found


@functools.cache
def _identity() -> str:
    """What the same source and flags may compile differently under: the compiler's version and the processor's features."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout.split("\n")[0]
    features = ""
    try:
        with open("/proc/cpuinfo") as info:
            features = next((line for line in info if line.startswith(("flags", "Features"))), "")
    except OSError:
        pass
    return version + features


def folder() -> Path:
    """The cache: one's own, closed to others."""
    base = os.environ.get("ARCHDSL_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "archdsl")
    path = Path(base) / "kernels"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = path.stat()
    if hasattr(os, "getuid") and (mode.st_uid != os.getuid() or mode.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise NoCompiler(f"the folder {path} can be written by others")
    return path


def load(source: str) -> ctypes.CDLL:
    """The library for a C source, built at most once per machine. Raises NoCompiler."""
    try:
        return _load(source)
    except (OSError, subprocess.SubprocessError) as error:
        raise NoCompiler(str(error)) from None


@functools.lru_cache(maxsize=256)
def _load(source: str) -> ctypes.CDLL:
    key = hashlib.blake2b("\0".join((source, *FLAGS, _identity(), sys.platform)).encode(), digest_size=20).hexdigest()
    place = folder()
    library, proof = place / f"{key}.so", place / f"{key}.sum"
    if not _intact(library, proof):
        _build(source, library, proof)
    return ctypes.CDLL(str(library))


def _intact(library: Path, proof: Path) -> bool:
    """Ours, and byte for byte what was built."""
    try:
        if hasattr(os, "getuid") and library.stat().st_uid != os.getuid():
            return False
        return proof.read_text() == hashlib.blake2b(library.read_bytes()).hexdigest()
    except OSError:
        return False


def _build(source: str, library: Path, proof: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        code, part, made = (Path(work) / f"kernel.{end}" for end in ("c", "o", "so"))
        code.write_text(source)
        # In two steps: linking with -fopenmp would add the system's runtime beside torch's.
        _run([compiler(), *FLAGS, "-c", str(code), "-o", str(part)])
        _run([compiler(), "-shared", str(part), "-o", str(made), *_openmp(), "-lm"])
        total = Path(work) / "sum"
        total.write_text(hashlib.blake2b(made.read_bytes()).hexdigest())
        os.replace(made, library)  # atomic: several processes may build the same kernel at once
        os.replace(total, proof)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise NoCompiler(f"{Path(command[0]).name} failed: {said[-1] if said else done.returncode}")


@functools.cache
def _openmp() -> list[str]:
    """The OpenMP runtime that torch has loaded, so that one pool of threads serves both."""
    import torch

    found = sorted((Path(torch.__file__).parent / "lib").glob("libgomp*.so*")) + sorted(
        (Path(torch.__file__).parent.parent / "torch.libs").glob("libgomp*.so*")
    )
    return [str(found[0]), f"-Wl,-rpath,{found[0].parent}"] if found else ["-fopenmp"]
