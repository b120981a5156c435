"""The command group: finds commands by name, and turns every error into a message and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from archdsl.cli.failure import INTERRUPTED, PIPE_CLOSED, ask_json, report_bug, report_failure
from archdsl.diagnostics import ArchError

# command -> module of archdsl.cli and the name in it, in the order of `archdsl --help`
COMMANDS = {
    "check": "check:check",
    "build": "build:build",
    "explain": "explain:explain",
    "fmt": "fmt:fmt",
    "diff": "diff:diff",
    "graph": "graph:graph",
    "generate": "generate:generate",
    "train": "train:train",
    "search": "search:search",
    "bench": "bench:bench",
    "zoo": "zoo:zoo",
    "new": "new:new",
    "explain-error": "explain_error:explain_error",
}


class App(click.Group):
    """A click group that imports a command when it is named, and reports archdsl's own errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"archdsl.cli.{module}"), name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            from archdsl.diagnostics import suggestion

            ctx.fail(f"there is no command '{args[0]}'. {suggestion(args[0], COMMANDS, 'See `archdsl --help`.')}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            _silence()
            raise click.exceptions.Exit(PIPE_CLOSED) from None

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **options: Any) -> Any:
        """Runs a command. Always ends in SystemExit with one of the exit codes that archdsl.cli names."""
        options["standalone_mode"] = False
        ask_json(False)
        try:
            result = super().main(args, prog_name, **options)
            code = result if isinstance(result, int) else 0
        except ArchError as error:
            code = report_failure(error)
        except click.ClickException as problem:
            problem.show()
            code = problem.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("\nInterrupted.", err=True)
            code = INTERRUPTED
        except Exception as error:
            code = report_bug(error)
        sys.exit(code)


def _silence() -> None:
    """Sends what is still buffered for a closed pipe nowhere, so that the interpreter's last flush stays quiet."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - lives until the process ends


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version
        from platform import python_version

        from archdsl import __version__

        try:
            torch = f"torch {version('torch')}"
        except PackageNotFoundError:
            torch = "without torch"
        click.echo(f"archdsl {__version__} (Python {python_version()}, {torch})")
        ctx.exit()


@click.group(cls=App, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the versions and exit.")
def app() -> None:
    """Describe a neural architecture in one small file; check, show, build, run and train it.

    A FILE is a path to a spec, or the name of a shipped one (`archdsl zoo list`).

    \b
    Examples:
      archdsl check my.arch
      archdsl build smollm2 --weights smollm2-135m
      archdsl new tiny && archdsl train tiny.arch --task chars --steps 200

    \b
    Exit codes: 0 well; 1 the spec is wrong; 2 the command or a file given to it is wrong;
    70 a bug in archdsl (ARCHDSL_DEBUG=1 shows the traceback); 130 interrupted.
    """
