"""`archdsl graph`: a picture of the architecture."""

from __future__ import annotations

from pathlib import Path

import click

from archdsl.cli.failure import fail
from archdsl.cli.files import write
from archdsl.cli.options import load_spec, spec_options

_FORMATS = {".mmd": "to_mermaid", ".dot": "to_dot", ".svg": "to_svg"}


@click.command()
@click.argument("file")
@click.option(
    "-o", "--output", metavar="PATH", help="Where to write: .svg, .mmd (Mermaid) or .dot (Graphviz). By default Mermaid is printed."
)
@click.option("--depth", type=click.IntRange(min=0), default=2, show_default=True, help="How many levels of blocks to open.")
@spec_options
def graph(file: str, output: str | None, depth: int, settings: tuple[str, ...], arch: str | None, root: str | None) -> None:
    """Draw an architecture; equal layers are drawn once, with their count.

    \b
    Examples:
      archdsl graph my.arch -o my.svg
      archdsl graph my.arch --depth 3 > my.mmd
    """
    from archdsl.analysis import views

    suffix = Path(output).suffix.lower() if output else ".mmd"
    if suffix not in _FORMATS:
        raise fail("AD0906", f"`{output}` has no known kind of picture", hint=f"End the name in {', '.join(_FORMATS)}.")
    text: str = getattr(views, _FORMATS[suffix])(load_spec(file, settings, arch, root).graph, depth=depth)
    if output is None:
        click.echo(text)
    else:
        write(output, text if text.endswith("\n") else text + "\n")
        click.echo(f"wrote {output}")
