"""Where the shipped library declares a name: for hints and for `archdsl zoo`."""

from __future__ import annotations

import re
from functools import lru_cache

from archdsl.share import share

_DECLARATION = re.compile(r"^(?:block|arch|act|scan)\s+([A-Za-z_]\w*)", re.MULTILINE)


@lru_cache(maxsize=1)
def declarations() -> dict[str, str]:
    """Name -> import path, for every block, arch, act and scan of the library (read as text; nothing is parsed)."""
    root = share("specs")
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*.arch")):
        for match in _DECLARATION.finditer(path.read_text(encoding="utf-8")):
            found.setdefault(match.group(1), path.relative_to(root).as_posix())
    return found


def where_declared(name: str) -> str | None:
    """The import path of the library file that declares a name, if any."""
    return declarations().get(name)
