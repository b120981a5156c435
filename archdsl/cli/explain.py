"""`archdsl explain`: one part of an architecture, in words and figures."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from archdsl.cli.options import load_spec, size_option, sizes_of, spec_options


@click.command()
@click.argument("file")
@click.argument("path", required=False)
@size_option
@spec_options
def explain(file: str, path: str | None, sizes: tuple[str, ...], settings: tuple[str, ...], arch: str | None, root: str | None) -> None:
    """Explain an architecture, or the part at PATH (`layers.0.attention`): shapes, weights, costs, and where it was written.

    PATH may also name a scan that the file declares: its recurrence, class and forms, at 64 features and 4 heads. A scan of the library needs
    no file.

    \b
    Examples:
      archdsl explain smollm2
      archdsl explain smollm2 layers.0
      archdsl explain my.arch layers.0 --size T=1024
      archdsl explain delta_rule
    """
    from archdsl.analysis import views

    given = sizes_of(sizes)
    if path is None:
        file, path = _library_scan(file)
    click.echo(_declared_scan(file, path, given) or views.explain(load_spec(file, settings, arch, root), path, given))


def _library_scan(name: str) -> tuple[str, str | None]:
    """File and name of a scan that the library declares, if `name` is that and no spec; else the name alone."""
    from archdsl.api import find
    from archdsl.bench.alone import scans
    from archdsl.elaboration.library import where_declared

    if name == "-" or find(name).exists():
        return name, None
    place = where_declared(name)
    return (place, name) if place and name in scans(find(place)) else (name, None)


def _declared_scan(file: str, path: str | None, sizes: dict[str, int]) -> str | None:
    """A scan of that name in the file, explained on its own."""
    if path is None or not path.isidentifier() or file == "-":
        return None
    from archdsl.api import find
    from archdsl.bench.alone import Shape, scans, spec_of
    from archdsl.scanning.explain import explain_scan

    source = Path(find(file)).resolve()
    found = scans(source)
    if path not in found:
        return None
    decl = found[path]
    region = next(i.region for _, i in spec_of(decl, Shape(), source).instances if i.region is not None and i.region.kind == "scan")
    doc = [" ".join(decl.doc.split()), ""] if decl.doc else []
    return "\n".join([f"scan {path}", *(textwrap.fill(line, 110) for line in doc), explain_scan(region, sizes)])
