"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from archdsl.cli.failure import fail


def write(path: str | Path, text: str) -> None:
    """Writes a text file so that it is either the old or the whole new one; an existing file keeps its mode. Raises AD0902."""
    target = Path(path)
    try:
        target = target.resolve() if target.is_symlink() else target
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise fail(
            "AD0902", f"cannot write {path}", note=f"The system says: {error.strerror or error}.", hint="Check the folder and the path."
        ) from None


def write_new(path: Path, text: str, force: bool) -> None:
    """Writes a file that must not exist yet, unless forced. Raises AD0902, AD0903."""
    if not force and (path.exists() or path.is_symlink()):
        raise fail("AD0903", f"{path} exists already", hint="Choose another name, or replace it with --force.")
    write(path, text)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
