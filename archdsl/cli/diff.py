"""`archdsl diff`: what differs between two architectures, by structure and not by text."""

from __future__ import annotations

import sys

import click

from archdsl.cli.failure import coloured, echo_json
from archdsl.cli.options import json_option, load_spec, size_option, sizes_of


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--set-a", multiple=True, metavar="NAME=VALUE", help="Set a parameter of A.")
@click.option("--set-b", multiple=True, metavar="NAME=VALUE", help="Set a parameter of B.")
@size_option
@click.option("--exit-code", "use_exit_code", is_flag=True, help="Exit with 1 if they differ.")
@json_option
def diff(a: str, b: str, set_a: tuple[str, ...], set_b: tuple[str, ...], sizes: tuple[str, ...], use_exit_code: bool, as_json: bool) -> int:
    """Compare two architectures: parameters, parts, wiring, costs, and which weights would not load.

    What computes the same is the same: layout, comments and local names do not count.

    \b
    Examples:
      archdsl diff old.arch new.arch
      archdsl diff smollm2 smollm2 --set-b depth=32
      archdsl diff old.arch new.arch --json --exit-code
    """
    from archdsl.analysis.diff import diff as compare

    found = compare(load_spec(a, set_a), load_spec(b, set_b), sizes_of(sizes))
    if as_json:
        echo_json({"ok": True, "same": not found, **found.to_json()})
    else:
        click.echo(found.text(color=coloured(sys.stdout)))
    return 1 if use_exit_code and found else 0
