"""Running expressions and generated autograd functions, for tests."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from archdsl.diagnostics import Source
from archdsl.graph.acts import Act, lower_act
from archdsl.graph.expressions import Expr
from archdsl.graph.torch_text import to_torch
from archdsl.language.parser import parse
from archdsl.primitives.act import class_name, class_source
from archdsl.primitives.support.levels import pack_levels, unpack_levels

STD = Path(__file__).parents[2] / "specs" / "std" / "activations.arch"


def declarations(text: str) -> dict:
    """Acts of a text by name."""
    return {d.name: d for d in parse(Source("test.arch", text)).declarations}


def act(text: str, /, **statics) -> Act:
    """The last act of a text, lowered."""
    found = declarations(text)
    return lower_act(list(found.values())[-1], statics, found.get)


def standard() -> dict[str, Act]:
    """Every act of the standard library with its default arguments."""
    found = declarations(STD.read_text(encoding="utf-8"))
    return {name: lower_act(decl, {}, found.get) for name, decl in found.items()}


def run(expr: Expr, **tensors: torch.Tensor) -> torch.Tensor:
    """An expression computed by the torch text it becomes."""
    lines, (result,) = to_torch([expr], {n: n for n in tensors})
    scope = {"torch": torch, "F": F, **tensors}
    exec("\n".join([*lines, f"_result = {result}"]), scope)
    return scope["_result"]


def generated(act: Act):
    """The generated torch.autograd.Function of an act."""
    scope = {"torch": torch, "F": F, "with_kernel": lambda plain: plain, "pack_levels": pack_levels, "unpack_levels": unpack_levels}
    name = class_name(act.name)
    exec(class_source(name, act), scope)
    return scope[name]
