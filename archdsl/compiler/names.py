"""Names for things in emitted code: class names, and local variables that shadow nothing."""

from __future__ import annotations

import builtins
import keyword
import re

RESERVED = (
    frozenset(keyword.kwlist)
    | frozenset(keyword.softkwlist)
    | frozenset(dir(builtins))
    | {"torch", "nn", "F", "math", "self", "state", "clock", "Tensor", "checkpoint"}
)

MODULE_ATTRIBUTES = frozenset(
    word
    for line in (
        "training forward step prefill prepare cell inverse draws init aux taps tapping loop_counts add_module apply bfloat16",
        "buffers call_super_init children",
        "compile cpu cuda double dump_patches eval extra_repr float get_buffer get_extra_state get_parameter get_submodule half ipu",
        "load_state_dict modules mtia named_buffers named_children named_modules named_parameters parameters register_buffer",
        "register_module register_parameter requires_grad_ set_extra_state set_submodule share_memory state_dict to to_empty train type",
        "xpu zero_grad T_destination register_forward_hook register_forward_pre_hook register_full_backward_hook graph spec_source",
    )
    for word in line.split()
)  # attributes of nn.Module and of emitted classes, which an instance's name must not take

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def identifier(name: str) -> str:
    """The name itself; ValueError unless it is a plain ASCII identifier. Everything a spec names passes here before it becomes source."""
    if not _WORD.match(name) or name.startswith("__"):
        raise ValueError(f"not an identifier: {name!r}")
    return name


def attribute(name: str) -> str:
    """The attribute an instance is kept under: its own name, with `_` appended where nn.Module or Python has taken it."""
    name = identifier(name)
    return name + "_" if name in MODULE_ATTRIBUTES or name in keyword.kwlist else name


def camel(name: str) -> str:
    """A class name: `gated_linear` -> GatedLinear, `SwiGLU` stays, `layers` -> Layers."""
    parts = [p for p in re.split(r"[^A-Za-z0-9]+", name) if p]
    text = "".join(p[0].upper() + p[1:] for p in parts) or "Block"
    return text if text[0].isalpha() else "Block" + text


class Scope:
    """Hands out names that are unused so far."""

    def __init__(self, taken: set[str] | frozenset[str] = RESERVED):
        self.taken = set(taken)

    def claim(self, name: str) -> str:
        """The name, or the name with the first free number after it; it is taken from now on."""
        name = identifier(name)
        result, count = name, 1
        while result in self.taken:
            count += 1
            result = f"{name}{count}" if not name[-1].isdigit() else f"{name}_{count}"
        self.taken.add(result)
        return result
