"""Source of what a class owns: attributes, empty tensors, initial values as plain data."""

from __future__ import annotations

import keyword
import re
from typing import Any

from archdsl.compiler.names import MODULE_ATTRIBUTES, Scope, attribute, identifier
from archdsl.graph.ir import Init, Instance, Region, Weight


def taken(name: str) -> bool:
    """Whether nn.Module or Python needs this attribute name for itself."""
    return name in MODULE_ATTRIBUTES or keyword.iskeyword(name)


def member(instance: Instance, owner: str = "self") -> str:
    """Source of an instance of `owner`. A name nn.Module needs for itself is reached through the tables: weight paths stay as written."""
    name = identifier(instance.name)
    if not taken(name):
        return f"{owner}.{name}"
    bare = instance.weights.get("")
    table = "_modules" if bare is None else "_parameters" if bare.trainable else "_buffers"
    return f'{owner}.{table}["{name}"]'


def stand_in(region: Region) -> str | None:
    """The name of an empty buffer that says what floats are in a scan none of whose inputs does; None where one does, or for no scan."""
    if region.kind != "scan" or any(v.type.kind in ("float", "complex") for v in region.inputs):
        return None
    return Scope({*map(attribute, region.instances), "kernel"}).claim("like")


def empty(weight: Weight) -> str:
    """Source of an uninitialised tensor for a weight."""
    shape = ", ".join(map(str, weight.shape)) if weight.shape else "()"
    kind = {
        "float": "",
        "int": ", dtype=torch.int64",
        "bool": ", dtype=torch.bool",
        "complex": ", dtype=torch.get_default_dtype().to_complex()",
    }[weight.kind]
    return f"torch.empty({shape}{kind})"


def init_literal(init: Init) -> str:
    """An Init as a tuple of plain data: ("uniform", -0.1, 0.1), ("apply", "exp", ("normal", 1.0, 0.0))."""
    return f"({', '.join([_quoted(init.kind), *map(_datum, init.args)])}{',' if not init.args else ''})"


def _datum(value: Any) -> str:
    if isinstance(value, Init):
        return init_literal(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_datum, value))}{',' if len(value) == 1 else ''})"
    return plain(float(value) if not isinstance(value, bool | int | float) and value is not None else value)


def _quoted(value: str) -> str:
    return f'"{identifier(value)}"'


def plain(value: Any) -> str:
    if (isinstance(value, float) and value != value) or value in (float("inf"), float("-inf")):
        return f'float("{value}")'
    if isinstance(value, str):
        return f'"{safe(value)}"'.replace('"', "'")
    return repr(value)


def safe(value: str) -> str:
    """Text that may stand in a docstring: whatever could end it or escape is left out."""
    return re.sub(r"[^A-Za-z0-9_ .,:;+\-*/()\[\]<>='%|]", "", value)
