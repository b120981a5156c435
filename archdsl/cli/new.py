"""`archdsl new`: a spec to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from archdsl.cli.failure import fail
from archdsl.cli.files import write_new

STARTERS = Path(__file__).with_name("starters")
KINDS = tuple(sorted(p.stem for p in STARTERS.glob("*.arch")))


@click.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="lm", show_default=True, help="What to start from.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def new(name: str, kind: str, force: bool) -> None:
    """Write NAME.arch: a small spec that checks, builds and trains, to change.

    \b
    Examples:
      archdsl new tiny
      archdsl new mixer --kind scan
      archdsl new models/classifier --kind vision
    """
    path = Path(name if name.endswith(".arch") else f"{name}.arch")
    write_new(path, starter(kind, arch_name(path.stem)), force)
    click.echo(f"wrote {path}; next: archdsl check {path}")


def arch_name(stem: str) -> str:
    """`my-tiny_model` -> `MyTinyModel`. Raises AD0912 if no name can be made of it."""
    parts = re.findall(r"[A-Za-z0-9]+", stem)
    name = "".join(part[0].upper() + part[1:] for part in parts)
    if not name or not name[0].isalpha():
        raise fail("AD0912", f"no arch can be called after `{stem}`", hint="Use a name that begins with a letter: `archdsl new tiny`.")
    return name


def starter(kind: str, name: str) -> str:
    """The text of a starter spec, its arch called `name`."""
    text = (STARTERS / f"{kind}.arch").read_text(encoding="utf-8")
    return re.sub(r"\bStarter\b", lambda _: name, text)
