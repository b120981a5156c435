"""`archdsl bench`: how fast is each form of a scan?"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import echo_json
from archdsl.cli.files import write
from archdsl.cli.options import json_option

if TYPE_CHECKING:
    from archdsl.bench.alone import Shape


@click.command()
@click.argument("scans", nargs=-1, metavar="[FILE] [SCAN]...")
@click.option("--sizes", default="1x4x64x2048", show_default=True, metavar="BxHxDxT,…", help="Batch, heads, features and times.")
@click.option("--forms", default="kernel,torch,convolution,newton", show_default=True, help="Which forms, where a scan has them.")
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True, help="Of inputs and weights.")
@click.option("--pairs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs of loop and form in turn.")
@click.option("--grid", is_flag=True, help="The kernel at 40 shapes instead: is it ever slower than the loop?")
@click.option("--compiled", is_flag=True, help="Also compare with torch.compile of torch's associative_scan (takes long to compile).")
@click.option("--save", type=click.Path(dir_okay=False), metavar="PATH", help="Write the result as JSON.")
@json_option
def bench(
    scans: tuple[str, ...],
    sizes: str,
    forms: str,
    dtype: str,
    pairs: int,
    grid: bool,
    compiled: bool,
    save: str | None,
    as_json: bool,
) -> None:
    """Time the forms of scans against a plain loop over the same step: the ratio of times, forward and with backward.

    Without names, the standard scans; with a FILE (`….arch`), the scans of that file.

    \b
    Examples:
      archdsl bench gated_linear delta_rule
      archdsl bench my.arch mine --sizes 1x4x64x256,1x4x64x2048
      archdsl bench --grid --save grid.json
    """
    from archdsl.bench import run
    from archdsl.bench.page import plain

    file, names = _chosen(scans)
    shapes, wanted = _shapes(sizes), _forms(forms)

    def tell(rows: list[dict[str, Any]]) -> None:
        if rows and not as_json:
            click.echo(f"{plain(rows)}\n")

    if grid:
        result = run.grid(names, pairs, tell=tell)
    else:
        result = run.bench(names, shapes, wanted, dtype, pairs, file, compiled, tell)
    if result["alone"] and not as_json:
        click.echo(f"The loop only: {', '.join(result['alone'])}")
    if save:
        write(save, json.dumps(result, indent=2) + "\n")
    if as_json:
        echo_json(result)


def _chosen(given: tuple[str, ...]) -> tuple[Path | None, list[str]]:
    """The file, if the first name is one, and the scans of it (or of the standard library)."""
    from archdsl.api import find
    from archdsl.bench.alone import scans
    from archdsl.diagnostics import suggestion

    file = Path(find(given[0])).resolve() if given and given[0].endswith(".arch") else None
    names = list(given[1:] if file else given)
    known = scans(file)
    if not known:
        raise click.BadParameter(f"{given[0]} declares no scan")
    for name in names:
        if name not in known:
            others = f"There are {', '.join(known)}."
            raise click.BadParameter(f"there is no scan `{name}`. {suggestion(name, known, others)}")
    return file, names


def _shapes(text: str) -> list[Shape]:
    from archdsl.bench.alone import Shape

    found = []
    for part in text.split(","):
        numbers = part.strip().split("x")
        if len(numbers) != 4 or not all(re.fullmatch(r"[1-9][0-9]{0,6}", n) for n in numbers):
            raise click.BadParameter(f"`{part.strip()}` is not batch x heads x features x time, such as 1x4x64x2048", param_hint="--sizes")
        found.append(Shape(*map(int, numbers)))
    return found


def _forms(text: str) -> list[str]:
    from archdsl.bench.run import FORMS

    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in FORMS:
            raise click.BadParameter(f"`{name}` is not a form: {', '.join(FORMS)}", param_hint="--forms")
    return names
