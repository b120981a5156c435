"""The error index: one Markdown file for each code, in archdsl/diagnostics/codes/."""

from __future__ import annotations

import re
from pathlib import Path

_FOLDER = Path(__file__).with_name("codes")
_CODE = re.compile(r"AD[0-9]{4}")


def codes() -> list[str]:
    """All codes that have an explanation, in order."""
    return sorted(p.stem for p in _FOLDER.glob("AD*.md") if _CODE.fullmatch(p.stem))


def explain(code: str) -> str | None:
    """The explanation of a code as Markdown, or None if there is no such code. Case does not matter, and `AD` may be left out."""
    wanted = code.strip().upper()
    wanted = wanted if wanted.startswith("AD") else f"AD{wanted}"
    if not _CODE.fullmatch(wanted):
        return None
    path = _FOLDER / f"{wanted}.md"
    return path.read_text(encoding="utf-8") if path.is_file() else None
