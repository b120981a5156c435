"""`archdsl check`: is this spec right?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import coloured, echo_json, exit_code, show
from archdsl.cli.options import json_option, load_spec, spec_options
from archdsl.diagnostics import ArchError, Diagnostic

if TYPE_CHECKING:
    from archdsl.api import Spec


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@spec_options
@json_option
def check(files: tuple[str, ...], settings: tuple[str, ...], arch: str | None, root: str | None, as_json: bool) -> int:
    """Check specs: syntax, names, shapes, and what they `expect`. Nothing is built.

    `-` reads a spec from standard input. Exit code 1: a spec is wrong; 2: a file cannot be read, or an option is wrong.

    \b
    Examples:
      archdsl check my.arch
      archdsl check specs/language/*.arch
      archdsl check my.arch --set d=256 --json
    """
    worst, entries = 0, []
    for file in files:
        spec, diagnostics = _try(file, settings, arch, root)
        code = exit_code(diagnostics)
        worst = worst if worst == 1 else code or worst  # a wrong spec outweighs an unreadable file
        if as_json:
            entries.append(_entry(file, spec, diagnostics))
            continue
        show(diagnostics)
        if spec is not None:
            click.echo(_line(file, spec))
            for assumption in spec.assumptions:
                click.echo(f"  assumed when it runs: {assumption.left} {_relation(assumption.relation, assumption.right)}")
    if as_json:
        echo_json({"ok": worst == 0, "files": entries})
    elif worst and len(files) > 1:
        good = "problems found; see above"
        click.echo(f"{len(files)} files: {good}", err=True)
    return worst


def _try(file: str, settings: tuple[str, ...], arch: str | None, root: str | None) -> tuple[Spec | None, list[Diagnostic]]:
    try:
        spec = load_spec(file, settings, arch, root)
    except ArchError as error:
        return None, error.diagnostics
    return spec, spec.warnings


def _relation(relation: str, right: Any) -> str:
    return f"is a multiple of {right}" if relation == "%" else f"{relation} {right}"


def _line(file: str, spec: Spec) -> str:
    """`file: ok`, and the few figures that tell at a glance whether it is the model one meant."""
    said = [f"{spec.parameters:,} parameters"]
    if spec.causality.causal:
        said.append("causal")
    if spec.contracts:
        count = len(spec.contracts)
        said.append(f"{count} contract{'s hold' if count != 1 else ' holds'}")
    ok = "\x1b[32mok\x1b[0m" if coloured(sys.stdout) else "ok"
    return f"{file}: {ok}: {spec.name}, {', '.join(said)}"


def _entry(file: str, spec: Spec | None, diagnostics: list[Diagnostic]) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": file, "ok": spec is not None, "diagnostics": [d.to_json() for d in diagnostics]}
    if spec is not None:
        entry |= {
            "name": spec.name,
            "arguments": spec.arguments,
            "parameters": spec.parameters,
            "buffers": spec.buffers,
            "flops": _figure(spec.flops()),
            "state_bytes": _figure(spec.state_bytes()),
            "causal": spec.causality.causal,
            "contracts": spec.contracts,
            "assumptions": [f"{a.left} {_relation(a.relation, a.right)}" for a in spec.assumptions],
        }
    return entry


def _figure(figure: Any) -> int | str:
    """A number, or the formula as text where it depends on sizes that data brings."""
    return figure if isinstance(figure, int) else str(figure)
