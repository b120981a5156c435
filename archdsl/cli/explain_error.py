"""`archdsl explain-error`: what an error code means and how to mend it."""

from __future__ import annotations

import sys

import click

from archdsl.cli.failure import coloured, fail


@click.command("explain-error")
@click.argument("code", required=False)
def explain_error(code: str | None) -> None:
    """Explain an error code, with an example; without CODE, list them all.

    \b
    Examples:
      archdsl explain-error AD0301
      archdsl explain-error 301
      archdsl explain-error
    """
    from archdsl.diagnostics import suggestion
    from archdsl.diagnostics.index import codes, explain

    if code is None:
        for known in codes():
            title = (explain(known) or "").splitlines()[0].lstrip("# ")
            click.echo(f"{known}  {title}")
        return
    wanted = code.strip().upper().removeprefix("AD").zfill(4)
    text = explain(wanted)
    if text is None:
        raise fail(
            "AD0905", f"there is no error code `{code}`", hint=suggestion(f"AD{wanted}", codes(), "`archdsl explain-error` lists them all.")
        )
    if coloured(sys.stdout):
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(text))
    else:
        click.echo(text.rstrip())
