"""archdsl: describe a neural architecture in one small file, check it, build it, search it."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_API = {
    "Spec": "archdsl.api",
    "build": "archdsl.api",
    "load": "archdsl.api",
    "parse": "archdsl.api",
    "diff": "archdsl.analysis.diff",
    "Builder": "archdsl.builder",
    "register_primitive": "archdsl.primitives.custom",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: `import archdsl` alone stays quick and needs neither torch nor the parser.
    if name in _API:
        from importlib import import_module

        return getattr(import_module(_API[name]), name)
    raise AttributeError(f"module 'archdsl' has no attribute '{name}'")
