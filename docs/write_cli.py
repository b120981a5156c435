"""Writes docs/cli.md from the commands' own --help."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from written import main

from archdsl.cli.app import COMMANDS, app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Written by `make docs` from `archdsl COMMAND --help`.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, _section("archdsl", app, None)]
    top = click.Context(app, info_name="archdsl", terminal_width=100)
    for name in COMMANDS:
        command = app.get_command(top, name)
        assert command is not None
        parts.append(_section(f"archdsl {name}", command, top, name))
        if isinstance(command, click.Group):
            inner = click.Context(command, parent=top, info_name=name, terminal_width=100)
            parts += [_section(f"archdsl {name} {sub}", command.commands[sub], inner, sub) for sub in command.commands]
    return "\n".join(parts)


def _section(title: str, command: click.Command, parent: click.Context | None, name: str = "archdsl") -> str:
    context = click.Context(command, parent=parent, info_name=name, terminal_width=100, help_option_names=["-h", "--help"])
    return f"## {title}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    sys.exit(main(PAGE, page))
