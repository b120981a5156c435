"""A declared scan as a model of its own: what `archdsl bench` measures and `archdsl explain` explains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archdsl import api
from archdsl.language import syntax
from archdsl.language.loader import Loader
from archdsl.share import share

STANDARD = "std/scans.arch"


@dataclass(frozen=True)
class Shape:
    """Sizes of a run: batch x heads sequences of `time` steps, `d` features wherever a scan leaves a size open."""

    batch: int = 1
    heads: int = 4
    d: int = 64
    time: int = 2048

    def __str__(self) -> str:
        return f"{self.batch}x{self.heads}x{self.d}x{self.time}"


def scans(file: Path | None = None) -> dict[str, syntax.ScanDecl]:
    """The scans of a file (by default the standard ones) by name, in order. Raises ArchError."""
    text = file.read_text(encoding="utf-8") if file else (share("specs") / STANDARD).read_text(encoding="utf-8")
    names = Loader(file.parent if file else None).text(text, str(file or STANDARD)).file.declarations
    return {d.name: d for d in names if isinstance(d, syntax.ScanDecl)}


def spec_of(decl: syntax.ScanDecl, shape: Shape, file: Path | None = None) -> api.Spec:
    """An arch that is one scan."""
    sizes, given = {}, []
    for p in decl.parameters:
        if isinstance(p.default, syntax.Number):
            sizes[p.name] = p.default.value
        elif p.default is None:
            sizes[p.name] = shape.heads if p.name == "heads" else shape.d
            given.append(f"{p.name}={sizes[p.name]}")
    names = [s for s in decl.body.statements if isinstance(s, syntax.Input)]
    lines = [f"in {i.name}: [{', '.join([str(shape.heads), 'T', *_dims(i, sizes, shape.d)])}]" for i in names]
    own = f'import "{file.name if file else STANDARD}"'
    arguments = f"({', '.join(given)})" if given else ""
    text = f"{own}\narch Bench {{ {'; '.join(lines)}; return {decl.name}{arguments}({', '.join(i.name for i in names)}) }}"
    return api.parse(text, root=file.parent if file else None)


def _dims(given: syntax.Input, sizes: dict[str, Any], default: int) -> list[str]:
    dims = given.shape.dims if given.shape else []
    return [
        str(sizes.get(x.id, default) if isinstance(x, syntax.Name) else x.value if isinstance(x, syntax.Number) else default) for x in dims
    ]
