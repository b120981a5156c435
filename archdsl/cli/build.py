"""`archdsl build`: check, show, make, and write out."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import coloured, echo_json, fail, show
from archdsl.cli.files import write
from archdsl.cli.models import device_option, dtype_option, make, max_params_option, quiet_figures, seed_option, size, too_large
from archdsl.cli.options import json_option, load_spec, size_option, sizes_of, spec_options

if TYPE_CHECKING:
    from torch import nn

    from archdsl.api import Spec


@click.command()
@click.argument("file")
@spec_options
@size_option
@click.option("--depth", type=click.IntRange(min=0), default=3, show_default=True, help="How many levels of the summary to show.")
@click.option("--weights", metavar="PATH|NAME", help="A .gguf or .safetensors file, a Hugging Face folder, or a name such as smollm2-135m.")
@click.option("--partial", is_flag=True, help="Load the weights that fit and report the others, instead of refusing.")
@click.option("--save", metavar="PATH", help="Write the weights as .safetensors, under the spec's names.")
@click.option("--emit", metavar="PATH", help="Write the module as Python source that needs torch alone; `-` prints it.")
@device_option
@dtype_option
@seed_option
@max_params_option
@json_option
def build(
    file: str,
    settings: tuple[str, ...],
    arch: str | None,
    root: str | None,
    sizes: tuple[str, ...],
    depth: int,
    weights: str | None,
    partial: bool,
    save: str | None,
    emit: str | None,
    device: str,
    dtype: str,
    seed: int,
    max_params: float,
    as_json: bool,
) -> None:
    """Check a spec, show what it costs, and make the module.

    The summary comes from formulas, before anything is allocated; then the module is built and its parameters are counted against it. A
    model with more than --max-params numbers is shown but not built, which is said.

    \b
    Examples:
      archdsl build my.arch --size T=1024
      archdsl build my.arch --set d=512 --emit model.py
      archdsl build smollm2 --weights smollm2-135m --save smollm2.safetensors
    """
    if save is not None and Path(save).suffix != ".safetensors":
        raise fail("AD0906", f"`{save}` has no known kind of weights file", hint="End the name in .safetensors.")
    given = sizes_of(sizes)
    spec = load_spec(file, settings, arch, root)
    if not as_json:
        show(spec.warnings)
        if emit != "-":
            _summary(spec, depth, given)
    if emit is not None:
        _emit(spec, emit, as_json)
    if too_large(spec, max_params) and weights is None and save is None:
        _not_built(spec, dtype, max_params, given, as_json)
        return
    start = time.perf_counter()
    model = make(spec, device=device, dtype=dtype, seed=seed, max_params=max_params, weights=weights, strict=not partial)
    seconds = time.perf_counter() - start
    counted = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if save is not None:
        _save(spec, model, save)
    if as_json:
        built = {"built": True, "counted": counted, "seconds": round(seconds, 3), "device": device, "dtype": dtype}
        echo_json(_figures(spec, given) | built | quiet_figures(model))
        return
    err = emit == "-"  # the source has standard output to itself
    click.echo(f"built {spec.name}: {counted:,} parameters ({size(spec, dtype)}, {dtype}) on {device} in {seconds:.2f} s", err=err)
    if weights is not None:
        click.echo(str(model.weights_report), err=err)
    if save is not None:
        click.echo(f"saved {save}", err=err)


def _summary(spec: Spec, depth: int, sizes: dict[str, int]) -> None:
    from archdsl.analysis import views

    click.echo(views.summary(spec, depth=depth, sizes=sizes, color=coloured(sys.stdout)))


def _emit(spec: Spec, emit: str, as_json: bool) -> None:
    source = spec.emit()
    if emit == "-":
        if as_json:
            raise click.UsageError("--emit - and --json both want standard output.")
        click.echo(source, nl=False)
        return
    write(emit, source)
    if not as_json:
        click.echo(f"wrote {emit}")


def _save(spec: Spec, model: nn.Module, save: str) -> None:
    from archdsl.runtime import save_weights

    save_weights(model, save, {"spec": spec.name})


def _not_built(spec: Spec, dtype: str, max_params: float, sizes: dict[str, int], as_json: bool) -> None:
    if as_json:
        echo_json(_figures(spec, sizes) | {"built": False})
        return
    numbers, limit = spec.parameters + spec.buffers, f"--max-params {max_params:,.0f}"
    click.echo(f"not built: {numbers:,} numbers ({size(spec, dtype)}) are more than {limit}; all figures above are by formula.")


def _figures(spec: Spec, sizes: dict[str, Any]) -> dict[str, Any]:
    def figure(value: Any) -> int | str:
        return value if isinstance(value, int) else str(value)

    return {
        "ok": True,
        "name": spec.name,
        "arguments": spec.arguments,
        "parameters": spec.parameters,
        "buffers": spec.buffers,
        "flops": figure(spec.flops(**sizes)),
        "state_bytes": figure(spec.state_bytes(**sizes)),
        "activation_bytes": figure(spec.activation_bytes(**sizes)),
        "causal": spec.causality.causal,
        "warnings": [d.to_json() for d in spec.warnings],
    }
