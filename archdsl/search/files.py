"""Writing a study's files whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from archdsl.search.settings import wrong


def write_whole(path: Path, text: str) -> None:
    """Writes a text file so that it is either the old or the whole new one. Raises AD1037."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        hint = "Make room or mend the folder, then go on with --resume: no ended trial is lost."
        raise wrong("AD1037", f"cannot write {path}", note=f"The system says: {error.strerror or error}.", hint=hint) from None
