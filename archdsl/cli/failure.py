"""Errors as the user meets them: diagnostics on stderr (or JSON on stdout), and the exit code that fits."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from archdsl.diagnostics import ArchError, Diagnostic

SPEC_WRONG, USED_WRONGLY, BUG, INTERRUPTED, PIPE_CLOSED = 1, 2, 70, 130, 141


def fail(code: str, title: str, *, note: str = "", hint: str = "") -> ArchError:
    """An error of the command line, to raise."""
    return ArchError(Diagnostic(code, title, note=note, hint=hint))


def coloured(stream: Any) -> bool:
    """Whether to colour what goes to a stream: a terminal, and NO_COLOR (no-color.org) is not set."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and bool(getattr(stream, "isatty", lambda: False)())


def show(diagnostics: Iterable[Diagnostic]) -> None:
    """Prints diagnostics on stderr."""
    from archdsl.diagnostics.render import render_all

    text = render_all(diagnostics, coloured(sys.stderr))
    if text:
        click.echo(text, err=True)


def exit_code(diagnostics: Iterable[Diagnostic]) -> int:
    """1 if a spec is wrong; 2 if all that is wrong is the command's options or a file given to it."""
    errors = [d for d in diagnostics if d.severity == "error"]
    if not errors:
        return 0
    return USED_WRONGLY if all(map(_usage, errors)) else SPEC_WRONG


def _usage(d: Diagnostic) -> bool:
    if d.span is not None and d.span.source.name.startswith("--"):  # text given in an option
        return True
    return d.code.startswith(("AD08", "AD09", "AD102", "AD103", "AD104")) or (d.code in ("AD0604", "AD0110") and d.span is None)


def report_failure(error: ArchError) -> int:
    """Shows what stopped a command, as JSON if the command was asked for JSON."""
    if wants_json():
        echo_json({"ok": False, "diagnostics": [d.to_json() for d in error.diagnostics]})
    else:
        show(error.diagnostics)
    return exit_code(error.diagnostics)


def echo_json(data: Any) -> None:
    """Prints one JSON document."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False))


_json = False


def ask_json(wanted: bool) -> None:
    """Notes for this run whether errors are to be JSON too."""
    global _json
    _json = wanted


def wants_json() -> bool:
    return _json


def report_bug(error: Exception) -> int:
    """Says plainly that archdsl is at fault, and how to see more."""
    if os.environ.get("ARCHDSL_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("archdsl"):
        click.echo(
            f"The Python package `{error.name}` is missing from this installation of archdsl; install archdsl again with pip.", err=True
        )
        return BUG
    first = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {first[0][:200]}" if first else type(error).__name__
    more = "" if os.environ.get("ARCHDSL_DEBUG") else " Run it again with ARCHDSL_DEBUG=1 to see the traceback, and please report it."
    click.echo(f"This is a bug in archdsl, not in your spec ({what}).{more}", err=True)
    return BUG
