"""Where the shipped folders lie: `grammars/`, `specs/`, `search/` beside the package in a checkout, inside it once installed."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).resolve().parent


def share(folder: str) -> Path:
    """The folder `grammars`, `specs` or `search` of this installation."""
    installed = _HERE / "_share" / folder
    return installed if installed.is_dir() else _HERE.parent / folder
