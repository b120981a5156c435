"""The writers of generated pages (docs/write_*.py), as modules."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

DOCS = Path(__file__).parents[1] / "docs"


def writer(name: str) -> ModuleType:
    """`writer("cli")` is docs/write_cli.py."""
    if str(DOCS) not in sys.path:
        sys.path.append(str(DOCS))
    return importlib.import_module(f"write_{name}")
