"""What the writers of generated pages share: `write_NAME.py` writes its page anew, `write_NAME.py --check` only says whether it is current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def main(path: Path, page: Callable[[], str], arguments: Sequence[str] | None = None) -> int:
    """Writes `page()` to `path`, or with --check compares them; the exit status (1: the page is stale). Unknown arguments end with 2."""
    parser = argparse.ArgumentParser(description=f"Writes docs/{path.name}.", allow_abbrev=False)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not what would be written")
    checked = parser.parse_args(arguments).check
    text = page()
    if not checked:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        sys.stdout.write(f"{path} is not current: run `make docs`\n")
        return 1
    return 0
