"""From a checked spec to a module, for the commands that run one. The only file of the command line that leads to torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import fail

if TYPE_CHECKING:
    from torch import nn

    from archdsl.api import Spec
    from archdsl.runtime.tokenizer import Tokenizer

DTYPES = ("float32", "float64", "bfloat16", "float16")

device_option = click.option("--device", default="cpu", show_default=True, metavar="NAME", help="cpu, cuda, cuda:1, mps.")
dtype_option = click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True, help="Type of the weights.")
max_params_option = click.option(
    "--max-params",
    type=click.FloatRange(min=1),
    default=1e9,
    show_default="1e9",
    metavar="N",
    help="Refuse to allocate a model with more numbers than this.",
)
seed_option = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of everything random.")

threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processor threads (by default torch's choice; 1 is often fastest for small models).",
)


def check_device(name: str) -> None:
    """Raises AD0907 for a device that torch does not know or this machine lacks."""
    import torch

    known = "cpu" + (", cuda" if torch.cuda.is_available() else "") + (", mps" if torch.backends.mps.is_available() else "")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise fail("AD0907", f"the device `{name}` cannot be used here", note=reason, hint=f"Devices here: {known}.") from None


def too_large(spec: Spec, max_params: float) -> bool:
    """Whether a model has more numbers than may be allocated."""
    return spec.parameters + spec.buffers > max_params


def make(
    spec: Spec,
    *,
    device: str,
    dtype: str,
    seed: int,
    max_params: float,
    weights: str | None = None,
    strict: bool = True,
    threads: int | None = None,
) -> nn.Module:
    """The module, with weights if they are given. Raises AD0907, AD0908, and what loading raises (AD08xx)."""
    if too_large(spec, max_params):
        raise fail(
            "AD0908",
            f"{spec.name} has {spec.parameters + spec.buffers:,} numbers, more than --max-params {max_params:,.0f}",
            note=f"It would take {size(spec, dtype)} for its weights alone.",
            hint="Raise --max-params if the machine has the memory, or make the model smaller with --set.",
        )
    check_device(device)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    model: nn.Module = spec.build(device=device, dtype=dtype, seed=seed, weights=weights_path(weights), strict=strict)
    return model


def weights_path(name: str | None) -> Path | None:
    """The file or folder behind --weights: a path, or the name of weights that an installed package carries. Raises AD0806."""
    if name is None:
        return None
    from archdsl.runtime.pretrained import find_pretrained

    return find_pretrained(name)


def tokenizer_for(weights: Path, given: str | None, beside: bool = False) -> Tokenizer:
    """The tokenizer that belongs to weights: their own (GGUF, folder), or the one beside a .safetensors file. Raises AD0909, AD0807.

    beside: nowhere else, for weights that a spec names.
    """
    from archdsl.runtime.tokenizer import load_tokenizer

    if given is not None:
        return load_tokenizer(Path(given))
    if weights.suffix == ".safetensors":
        places = [weights.parent / "tokenizer.json", weights.parent.parent / "tokenizer.json"]  # the second: a checkpoint in a run's folder
        if beside or not weights.parent.name.startswith("step-"):
            places.pop()
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise fail(
                "AD0909",
                f"there is no tokenizer for `{weights.name}`",
                note=f"Looked for: {', '.join(map(str, places))}.",
                hint="Give one with --tokenizer: a tokenizer.json, a folder that has one, or a .gguf file.",
            )
        return load_tokenizer(found)
    return load_tokenizer(weights)


def size(spec: Spec, dtype: str) -> str:
    """The weights' size in memory, for people."""
    from archdsl.analysis.cost import BYTES
    from archdsl.analysis.views.figures import size_in_bytes

    return size_in_bytes((spec.parameters + spec.buffers) * BYTES[dtype])


def quiet_figures(model: Any) -> dict[str, Any]:
    """What --json says of a load; empty if no weights were loaded."""
    report = getattr(model, "weights_report", None)
    if report is None:
        return {}
    return {
        "weights": {
            "path": str(report.path),
            "loaded": len(report.loaded),
            "missing": report.missing,
            "unexpected": report.unexpected,
            "misfits": report.misfits,
        }
    }
