"""What a graph computes, set against the settings of a published file: epsilons, speeds of rotary positions, windows, activations.

Only what operations of the graph show is judged. Arithmetic written out by hand shows nothing, and nothing is claimed of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Graph, Node, attributes

if TYPE_CHECKING:
    import torch

_NORMS = {
    "rms_norm_eps": "rmsnorm",
    "layer_norm_eps": "layernorm",
    "layer_norm_epsilon": "layernorm",
    "attention.layer_norm_rms_epsilon": "rmsnorm",
    "attention.layer_norm_epsilon": "layernorm",
}
_BASES = ("rope_theta", "rope_local_base_freq", "local_rope_theta", "global_rope_theta", "rope.freq_base", "rope.freq_base_swa")
_ACTIVATIONS = ("hidden_act", "hidden_activation", "activation_function")
_ACTS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu_squared",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting that an operation of the graph contradicts: what the file has, the operation, and what it has."""

    setting: str
    node: Node
    label: str


class Computed:
    """A graph's operations that settings of published files speak of."""

    def __init__(self, graph: Graph):
        nodes = [node for _, region in graph.walk() for node in region.nodes]
        self.norms = [n for n in nodes if n.op in ("rmsnorm", "layernorm") and n.attrs.scale]  # those with weights of their own
        self.rotary = [n for n in nodes if n.op == "rotary"]
        self.attends = [n for n in nodes if n.op == "attend"]
        self.acts = [n for n in nodes if n.op == "act"]

    # ---- settings that must be in the spec to be loaded ----

    def has(self, key: str, settings: Mapping[str, Any]) -> bool:
        """Whether every operation that the setting `key` speaks of has it. GGUF's keys come without the architecture."""
        value = settings[key]
        if key in ("rope_scaling", "rope_parameters"):
            return self._turns(_scaling(value, settings))
        if key in ("rope.scaling.type", "rope.scaling.factor"):
            factor = settings.get("rope.scaling.factor")
            return settings.get("rope.scaling.type") == "linear" and _is_number(factor) and self._turns(("linear", factor))
        if not _is_number(value):
            return False
        if key in ("sliding_window", "attention.sliding_window"):
            return self._attends("window", value) and all(n.attrs.causal for n in self.attends)
        if key == "attn_logit_softcapping":
            return self._attends("softcap", value)
        if key in ("attention_multiplier", "attention.scale"):
            return self._attends("scale", value)
        if key == "query_pre_attn_scalar":
            return value > 0 and self._attends("scale", value**-0.5)
        if key == "partial_rotary_factor":
            return bool(self.rotary) and all(_turned(n) == int(_width(n) * value) for n in self.rotary)
        return False

    def turns_by(self, factors: torch.Tensor) -> bool:
        """Whether rotary speeds are the plain ones divided by these factors (llama.cpp's `rope_freqs.weight`)."""
        import torch

        from archdsl.primitives.support.position import rotary_frequencies

        def divided(node: Node) -> bool:
            size, base, cpu = _turned(node), float(node.attrs.base), torch.device("cpu")
            if not isinstance(size, int) or factors.shape != (size // 2,):
                return False
            found = rotary_frequencies(size, base, None, cpu) / rotary_frequencies(size, base, node.attrs.scaling, cpu)
            return bool(torch.allclose(found, factors.float(), rtol=1e-3))

        return bool(self.rotary) and all(divided(node) for node in self.rotary)

    def _turns(self, scaling: tuple[Any, ...] | None) -> bool:
        return scaling is not None and bool(self.rotary) and all(_equal(n.attrs.scaling, scaling) for n in self.rotary)

    def _attends(self, name: str, value: float) -> bool:
        def own(node: Node) -> Any:
            given = attributes(node)[name]
            return _width(node) ** -0.5 if name == "scale" and given is None and isinstance(_width(node), int) else given

        return bool(self.attends) and all(_equal(own(node), value) for node in self.attends)

    # ---- settings that operations contradict ----

    def differences(self, settings: Mapping[str, Any]) -> Iterator[Difference]:
        """One for each setting, at the first operation that contradicts it. GGUF's keys come without the architecture."""
        for key, op in _NORMS.items():
            if _is_number(settings.get(key)):
                yield from _first(key, settings, [n for n in self.norms if n.op == op], "eps", [settings[key]])
        bases = [settings[key] for key in _BASES if _is_number(settings.get(key))]
        if bases:
            key = next(key for key in _BASES if _is_number(settings.get(key)))
            yield from _first(key, settings, self.rotary, "base", bases)
        size = settings.get("rope.dimension_count")
        for node in self.rotary:
            if _is_number(size) and isinstance(_turned(node), int) and _turned(node) != size:
                yield Difference(f"rope.dimension_count is {size}", node, f"this turns {_turned(node)} features")
                break
        yield from self._activation(settings)
        yield from self._direction(settings)

    def _activation(self, settings: Mapping[str, Any]) -> Iterator[Difference]:
        for key in _ACTIVATIONS:
            value = settings.get(key)
            wanted = _ACTS.get(value) if isinstance(value, str) else None
            names = [n.attrs.act.name for n in self.acts]
            if wanted and names and wanted not in names and set(names) <= set(_ACTS.values()):
                yield Difference(f"{key} is {value}", self.acts[0], f"this is {names[0]}")

    def _direction(self, settings: Mapping[str, Any]) -> Iterator[Difference]:
        """Decoders that look ahead, and encoders that do not. Attention with a mask of its own may do either."""
        if not self.attends or any(n.attrs.mask is not None for n in self.attends):
            return
        causal = [n.attrs.causal for n in self.attends]
        if settings.get("is_decoder") is True and not any(causal):
            yield Difference("is_decoder is true", self.attends[0], "this also sees later positions")
        for key, both in (("attention.causal", False), ("use_bidirectional_attention", True)):
            if settings.get(key) is both and all(causal):
                yield Difference(f"{key} is {str(both).lower()}", self.attends[0], "this sees earlier positions only")


def _first(key: str, settings: Mapping[str, Any], nodes: Sequence[Node], name: str, allowed: Sequence[float]) -> Iterator[Difference]:
    for node in nodes:
        if not any(_equal(attributes(node)[name], value) for value in allowed):
            yield Difference(f"{key} is {settings[key]}", node, f"`{name}` of this {node.op} is {attributes(node)[name]}")
            return


def _scaling(rope: Any, settings: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Hugging Face's rope dictionary as the rotary operation's own; None for what it does not have."""
    if not isinstance(rope, Mapping):
        return None
    given = {key: value for key, value in rope.items() if value is not None and key not in ("rope_theta", "rope_type", "type")}
    kind, factor = rope.get("rope_type", rope.get("type")), given.pop("factor", None)
    if kind == "linear" and not given:
        return ("linear", factor)
    original = given.pop("original_max_position_embeddings", None)
    if kind == "llama3" and given.keys() == {"low_freq_factor", "high_freq_factor"}:
        return ("llama3", factor, given["low_freq_factor"], given["high_freq_factor"], original)
    if kind == "yarn" and given.keys() <= {"beta_fast", "beta_slow"}:
        original = settings.get("max_position_embeddings") if original is None else original
        return ("yarn", factor, given.get("beta_fast", 32), given.get("beta_slow", 1), original)
    return None


def _turned(node: Node) -> Any:
    return _width(node) if node.attrs.turned is None else node.attrs.turned


def _width(node: Node) -> Any:
    return node.inputs[0].type.axes[-1].size


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(_equal(a, b) for a, b in zip(ours, theirs))
    if _is_number(ours) and _is_number(theirs):
        return math.isclose(ours, theirs, rel_tol=1e-5)  # GGUF keeps settings in float32
    return bool(type(ours) is type(theirs) and ours == theirs and ours is not None)


__all__ = ["Computed", "Difference"]
