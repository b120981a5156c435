"""Options that several commands share, and how they become a checked spec."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import ask_json, fail

if TYPE_CHECKING:
    from archdsl.api import Spec

Command = Callable[..., Any]

set_option = click.option(
    "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a parameter of the arch; VALUE is an expression of the language."
)
arch_option = click.option("--arch", metavar="NAME", help="Which arch of the file (by default the last).")
root_option = click.option(
    "--root", type=click.Path(file_okay=False), metavar="DIR", help="Folder that imports may not leave (by default the spec's own)."
)
size_option = click.option(
    "--size", "sizes", multiple=True, metavar="NAME=N", help="A size that data brings, for the figures: T=1024. May be repeated."
)


def _json(_: click.Context, __: click.Parameter, wanted: bool) -> bool:
    ask_json(wanted)
    return wanted


json_option = click.option(
    "--json", "as_json", is_flag=True, is_eager=True, callback=_json, help="Print one JSON document, errors included."
)


def spec_options(command: Command) -> Command:
    """--set, --arch and --root."""
    for option in (root_option, arch_option, set_option):
        command = option(command)
    return command


def pairs(texts: tuple[str, ...], option: str) -> dict[str, str]:
    """NAME=VALUE options as a table. Raises AD0901."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name.isidentifier() or not value:
            raise fail("AD0901", f"`{option} {text}` is not of the form NAME=VALUE", hint=f"For example `{option} {name or 'd'}=256`.")
        if name in found:
            raise fail("AD0901", f"`{option}` gives `{name}` twice", hint="Give it once.")
        found[name] = value
    return found


def sizes_of(texts: tuple[str, ...]) -> dict[str, int]:
    """--size options as numbers. Raises AD0901."""
    found = {}
    for name, text in pairs(texts, "--size").items():
        digits = text.replace("_", "")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 18 or int(digits) < 1:
            raise fail("AD0901", f"`--size {name}={text}` is not a whole number of at least 1", hint=f"For example `--size {name}=1024`.")
        found[name] = int(digits)
    return found


def load_spec(file: str, settings: tuple[str, ...] = (), arch: str | None = None, root: str | None = None) -> Spec:
    """The checked spec of FILE; `-` reads a spec from standard input. Raises ArchError."""
    from archdsl import api

    overrides = pairs(settings, "--set")
    if file == "-":
        text = sys.stdin.buffer.read()
        try:
            spec = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise fail("AD0604", "standard input is not UTF-8 text", note=f"Byte {error.start} can't be read.") from None
        return api.parse(spec, name="<stdin>", arch=arch, root=root or Path.cwd(), **_free(overrides))
    if overrides:
        _check_names(file, overrides, arch, root)
    return api.load(file, arch=arch, root=root, **_free(overrides))


def _free(overrides: dict[str, str]) -> dict[str, Any]:
    """Overrides that do not collide with the names of load's own options. Raises AD0901."""
    for name in overrides:
        if name in ("arch", "root", "contracts", "decisions", "name", "path", "text"):
            raise fail(
                "AD0901", f"a parameter called `{name}` cannot be set from the command line", hint="Give the parameter another name."
            )
    return overrides


def _check_names(file: str, overrides: dict[str, str], arch: str | None, root: str | None) -> None:
    """An unknown name in --set is a mistake in the command, not in the spec: told before anything is elaborated."""
    from archdsl.api import find, pick_arch
    from archdsl.diagnostics import suggestion
    from archdsl.language.loader import Loader

    decl = pick_arch(Loader(Path(root) if root else None).load(find(file)), arch)
    known = [p.name for p in decl.parameters]
    for name in overrides:
        if name not in known:
            otherwise = f"It takes {', '.join(known)}." if known else "It takes none."
            raise fail("AD0901", f"`{decl.name}` has no parameter `{name}` to set", hint=suggestion(name, known, otherwise))
