"""`archdsl fmt`: specs in the one standard layout."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from archdsl.cli.failure import exit_code, fail, show
from archdsl.cli.files import write
from archdsl.diagnostics import ArchError


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--check", "only_check", is_flag=True, help="Change nothing; exit with 1 and name the files whose layout differs.")
@click.option("--stdout", "to_stdout", is_flag=True, help="Print the result instead of writing it back.")
def fmt(files: tuple[str, ...], only_check: bool, to_stdout: bool) -> int:
    """Bring specs into the standard layout, in place. Comments stay, meaning stays.

    `-` reads standard input and prints. A file with syntax errors is left as it is.

    \b
    Examples:
      archdsl fmt my.arch
      archdsl fmt --check specs/*.arch
      archdsl fmt - < my.arch
    """
    from archdsl.diagnostics import Source
    from archdsl.language import format_text

    if only_check and to_stdout:
        raise click.UsageError("--check and --stdout do not go together.")
    worst = 0
    for file in files:
        try:
            text = _read(file)
            new = format_text(Source("<stdin>" if file == "-" else file, text))
        except ArchError as error:
            show(error.diagnostics)
            code = exit_code(error.diagnostics)
            worst = worst if worst == 1 else code
            continue
        if only_check:
            if new != text:
                click.echo(f"{file}: layout differs")
                worst = 1
        elif to_stdout or file == "-":
            click.echo(new, nl=False)
        elif new != text:
            write(file, new)
            click.echo(f"{file}: rewritten")
    return worst


def _read(file: str) -> str:
    """A text with its line ends as they are."""
    from archdsl.language.limits import MAX_FILE_BYTES

    try:
        raw = sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if file == "-" else Path(file).read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            raise fail("AD0110", f"{file} is too large for a spec", note=f"The limit is {MAX_FILE_BYTES // 1024} KiB.")
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise fail("AD0604", f"{file} is not UTF-8 text", note=f"Byte {error.start} can't be read.") from None
    except OSError as error:
        raise fail("AD0604", f"cannot read {file}", note=f"The system says: {error.strerror or error}.", hint="Check the path.") from None
