"""`archdsl explain`: one part of an architecture, in words and figures."""

from __future__ import annotations

import click

from archdsl.cli.options import load_spec, size_option, sizes_of, spec_options


@click.command()
@click.argument("file")
@click.argument("path", required=False)
@size_option
@spec_options
def explain(file: str, path: str | None, sizes: tuple[str, ...], settings: tuple[str, ...], arch: str | None, root: str | None) -> None:
    """Explain an architecture, or the part at PATH (`layers.0.attention`): shapes, weights, costs, and where it was written.

    \b
    Examples:
      archdsl explain smollm2
      archdsl explain smollm2 layers.0
      archdsl explain my.arch layers.0 --size T=1024
    """
    from archdsl.analysis import views

    click.echo(views.explain(load_spec(file, settings, arch, root), path, sizes_of(sizes)))
