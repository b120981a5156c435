"""The command line: one file per command, each loaded only when it is called.

Exit codes: 0 all went well; 1 a spec is wrong (or, where asked for, unformatted or different); 2 the command or a file given to it was
wrong; 70 a bug in archdsl; 130 interrupted; 141 the reader of a pipe went away.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(args: Sequence[str] | None = None) -> None:
    """Runs the command line with these arguments (by default the process's own) and exits."""
    import gc

    gc.set_threshold(100_000, 20, 20)  # a tenth of a short command's time would go into looking for garbage that is not there
    from archdsl.cli.app import app

    app.main(args=list(args) if args is not None else None, prog_name="archdsl")
