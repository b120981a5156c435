"""C source to a loaded library: the system's compiler, a private cache, and the OpenMP runtime that torch has loaded.

A library is found by a hash of all that decides it (source, flags, compiler, processor) and carries a hash of its own bytes in its name, which is
checked before it is loaded. Where anything is missing the answer is None and one line of log: callers then keep to torch.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

log = logging.getLogger("archdsl.kernels")

TIMEOUT = 60  # seconds a compiler may take
FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fvisibility=default")


@cache
def compiler() -> str | None:
    """Path of a C compiler: $CC if it names one, else cc, gcc or clang."""
    for name in (os.environ.get("CC", ""), "cc", "gcc", "clang"):
        found = shutil.which(name) if name else None
        if found:
            return found
    log.warning("no C compiler found: kernels run in plain torch")
    return None


@cache
def openmp() -> str | None:
    """Path of the OpenMP runtime that this process has loaded already (torch brings one); a second one would fight it for the cores."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    paths = sorted({line.split(maxsplit=5)[5] for line in lines if line.count("/") and ".so" in line})
    return next((p for p in paths if os.path.basename(p).startswith("libgomp")), None)


@cache
def _machine() -> tuple[str, ...]:
    """What a compiled library depends on beside its source."""
    cc = compiler() or ""
    version = subprocess.run([cc, "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout.split("\n")[0]
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        processor = next((line for line in info.splitlines() if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    return cc, version, platform.machine(), processor, openmp() or ""


def folder() -> Path:
    """The cache: $ARCHDSL_CACHE or the user's cache folder. Made private; an untrusted one raises PermissionError."""
    base = os.environ.get("ARCHDSL_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "archdsl")
    path = Path(base) / "kernels"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{path} is not a private folder of this user")
    return path


def load(source: str, defines: tuple[str, ...] = ()) -> ctypes.CDLL | None:
    """The library of a C source, from the cache or compiled now; None (and one line of log) where that cannot be."""
    if os.environ.get("ARCHDSL_KERNELS") == "off" or compiler() is None:
        return None
    try:
        return _load(source, defines)
    except (OSError, subprocess.SubprocessError) as problem:
        log.warning("kernels run in plain torch: %s", str(problem).split("\n")[0])
        return None


def _load(source: str, defines: tuple[str, ...]) -> ctypes.CDLL | None:
    key = hashlib.sha256("\0".join([source, *defines, *FLAGS, *_machine()]).encode()).hexdigest()[:32]
    place = folder()
    for path in sorted(place.glob(f"{key}-*.so")):
        if _trusted(path):
            return ctypes.CDLL(str(path))
    built = _build(source, defines, place, key)
    return ctypes.CDLL(str(built)) if built is not None and _trusted(built) else None


def _trusted(path: Path) -> bool:
    """True if a cached library is this user's own, nobody else may write it, and its bytes are those its name tells."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            return False
        return hashlib.sha256(file.read()).hexdigest()[:32] == path.stem.rpartition("-")[2]


def _build(source: str, defines: tuple[str, ...], place: Path, key: str) -> Path | None:
    """Compiles into a folder of its own and moves the result into place in one step, so that a killed process leaves nothing half done."""
    cc = compiler()
    assert cc is not None
    native = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
    with tempfile.TemporaryDirectory(dir=place, prefix="build-") as scratch:
        code, object_, library = (os.path.join(scratch, name) for name in ("kernel.c", "kernel.o", "kernel.so"))
        Path(code).write_text(source, encoding="utf-8")
        runtime = [openmp() or "-fopenmp"]
        for command in (
            [cc, *FLAGS, native, *(f"-D{d}" for d in defines), "-c", code, "-o", object_],
            [cc, "-shared", object_, *runtime, "-lm", "-o", library],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL)
            if done.returncode:
                first = next((line for line in done.stderr.splitlines() if "error" in line), "no message")
                log.warning("kernels run in plain torch: the C compiler failed: %s", first)
                return None
        digest = hashlib.sha256(Path(library).read_bytes()).hexdigest()[:32]
        os.chmod(library, 0o700)
        final = place / f"{key}-{digest}.so"
        os.replace(library, final)
    return final
