"""`archdsl zoo`: the shipped specs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from archdsl.cli.failure import coloured, echo_json, fail
from archdsl.cli.files import write_new
from archdsl.cli.options import json_option
from archdsl.share import share

_DOC = re.compile(r'\s*"""(.*?)"""', re.DOTALL)


@click.group()
def zoo() -> None:
    """The shipped specs: list, show or copy them.

    \b
    Examples:
      archdsl zoo list
      archdsl zoo show smollm2
      archdsl zoo copy smollm2 mine.arch
    """


@zoo.command("list")
@click.argument("word", required=False)
@json_option
def list_(word: str | None, as_json: bool) -> None:
    """List the shipped specs; with WORD, those whose name or description has it. `std/` holds the parts.

    \b
    Examples:
      archdsl zoo list
      archdsl zoo list language
    """
    found = [(name, _title(path)) for name, path in entries().items()]
    if word:
        found = [(name, title) for name, title in found if word.lower() in f"{name} {title}".lower()]
    if as_json:
        echo_json({"ok": True, "specs": [{"name": name, "title": title} for name, title in found]})
    elif coloured(sys.stdout) and found:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        table.add_column("name", no_wrap=True, style="bold")
        table.add_column("what it is")
        for name, title in found:
            table.add_row(name, Text(title))
        Console().print(table)
    else:
        width = max((len(name) for name, _ in found), default=0)
        for name, title in found:
            click.echo(f"{name:<{width}}  {title}".rstrip())
    if not found and not as_json:
        click.echo(f"no shipped spec has `{word}` in its name or description", err=True)


@zoo.command()
@click.argument("name")
def show(name: str) -> None:
    """Print a shipped spec.

    \b
    Examples:
      archdsl zoo show smollm2
      archdsl zoo show std/transformer
    """
    click.echo(lookup(name).read_text(encoding="utf-8"), nl=False)


@zoo.command()
@click.argument("name")
@click.argument("dest", required=False)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def copy(name: str, dest: str | None, force: bool) -> None:
    """Copy a shipped spec to DEST (by default the current folder), to change it. Its imports still come from the library.

    \b
    Examples:
      archdsl zoo copy smollm2
      archdsl zoo copy smollm2 mine.arch
    """
    source = lookup(name)
    target = Path(dest) if dest else Path(source.name)
    if target.is_dir():
        target = target / source.name
    write_new(target, _from_library(source), force)
    click.echo(f"wrote {target}")


def entries() -> dict[str, Path]:
    """Shipped specs by name (`language/smollm2`), in order."""
    library = share("specs")
    return {p.relative_to(library).with_suffix("").as_posix(): p for p in sorted(library.rglob("*.arch"))}


def lookup(name: str) -> Path:
    """A shipped spec by its path in the library or, where only one has it, by its last part. Raises AD0904."""
    from archdsl.diagnostics import suggestion

    known = entries()
    wanted = name.removesuffix(".arch")
    if wanted in known:
        return known[wanted]
    matches = [n for n in known if n.rpartition("/")[2] == wanted]
    if len(matches) == 1:
        return known[matches[0]]
    if matches:
        raise fail("AD0904", f"several shipped specs are called `{name}`", hint=f"Say which: {', '.join(matches)}.")
    options = [*known, *(n.rpartition("/")[2] for n in known)]
    raise fail("AD0904", f"there is no shipped spec called `{name}`", hint=suggestion(wanted, options, "`archdsl zoo list` lists them."))


def _title(path: Path) -> str:
    """The first line of a spec's description."""
    match = _DOC.match(path.read_text(encoding="utf-8"))
    lines = match.group(1).strip().splitlines() if match else []
    return lines[0].strip() if lines else ""


def _from_library(source: Path) -> str:
    """A spec's text, with imports of files beside it written as the library knows them, so that a copy finds them anywhere."""
    from archdsl.diagnostics import Source
    from archdsl.language import parse

    library, text = share("specs").resolve(), source.read_text(encoding="utf-8")
    for item in reversed(parse(Source(source.name, text)).imports):
        beside = (source.resolve().parent / item.path).resolve()
        if beside.is_file() and beside.is_relative_to(library):
            text = text[: item.path_span.start] + f'"{beside.relative_to(library).as_posix()}"' + text[item.path_span.end :]
    return text
