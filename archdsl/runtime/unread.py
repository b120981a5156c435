"""Settings of published files that change what a model computes, and that no shape shows: weights fit without them and compute something else.

A weight map accounts for a setting by comparing it with the spec (its `config` section), and the spec itself where its operations have it.
What is left is refused where it is in use: scaled rotary frequencies, windows, caps and multipliers. Refused are also settings that operations
of the spec contradict. Keys and their meanings: transformers' configuration classes, and the GGUF specification's table of metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Graph
from archdsl.runtime.agree import Computed
from archdsl.runtime.weightmap import Section

if TYPE_CHECKING:
    from archdsl.runtime.weights import Source

# Setting -> the values with which it changes nothing; None and a missing setting always do.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "partial_rotary_factor": (1,),
    "attn_logit_softcapping": (),
    "final_logit_softcapping": (),
    "attention_multiplier": (),
    "embedding_multiplier": (1,),
    "residual_multiplier": (1,),
    "logits_scaling": (1,),
    "logit_scale": (1,),
    "query_pre_attn_scalar": (),
    "clip_qkv": (),
    "qk_layernorm": (False,),
    "use_qk_norm": (False,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "position_embedding_type": ("absolute",),
    "quantization_config": (),
}
# The same in GGUF, behind `<architecture>.`.
_NEUTRAL_GGUF: Mapping[str, tuple[Any, ...]] = {
    "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0, 1),
    "rope.scaling.attn_factor": (0, 1),
    "rope.scale_linear": (0, 1),
    "attention.sliding_window": (0,),
    "attn_logit_softcapping": (0,),
    "final_logit_softcapping": (0,),
    "attention.scale": (0,),
    "attention.clamp_kqv": (0,),
    "attention.max_alibi_bias": (0,),
    "embedding_scale": (0, 1),
    "residual_scale": (0, 1),
    "logit_scale": (0, 1),
}
_HEADS = ("lm_head.weight", "embed_out.weight")
_TABLES = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")
_FREQUENCIES = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def refuse_unread(source: Source, section: Section | None, graph: Graph | None, strict: bool) -> list[str]:
    """Raises AD0819 where the file has a setting in use that neither its map compares nor the graph has, and AD0805 where the graph has another.

    With strict=False they are returned instead.
    """
    settings, computed = _plain(source), Computed(graph) if graph is not None else None
    unread = [
        f"{key} is {_shown(value)}: {what}"
        for key, value, what in _in_use(source, section)
        if not _compared(key, source, section) and not (computed and _has(computed, key, source, settings))
    ]
    others = list(computed.differences(settings)) if computed else []
    problems = []
    if unread:
        problems.append(
            Diagnostic(
                "AD0819",
                f"`{source.path.name}` computes what the spec does not say",
                note="\n".join(unread),
                hint="Write it into a spec of your own and name the setting in that spec's weight map (see docs/weights.md).",
            )
        )
    for one in others:
        problems.append(
            Diagnostic(
                "AD0805",
                f"the spec does not compute what `{source.path.name}` does",
                one.node.origin.span,
                one.label,
                one.node.origin.via,
                note=f"{one.setting} in the file.",
                hint="Change the spec, or load an edited spec with strict=False.",
            )
        )
    if problems and strict:
        raise ArchError(*problems)
    return [f"{text} (may differ)" for text in unread] + [f"{one.setting} in the file, {one.label} (differs)" for one in others]


def _plain(source: Source) -> Mapping[str, Any]:
    """The settings by the names that `Computed` knows."""
    if source.format == "gguf":
        prefix = f"{source.architecture}."
        return {key.removeprefix(prefix): value for key, value in source.settings.items() if key.startswith(prefix)}
    return {**source.settings, **{key: source.config[key] for key in ("rope_theta",) if key in source.config}}


def _compared(key: str, source: Source, section: Section | None) -> bool:
    """Whether the map names the setting, or each setting inside it."""
    named, value = section.config.keys() if section is not None else (), source.settings.get(key)
    inside = [name for name in value if name != "rope_theta" and value[name] is not None] if isinstance(value, Mapping) else []
    return key in named or (bool(inside) and all(f"{key}.{name}" in named for name in inside))


def _has(computed: Computed, key: str, source: Source, settings: Mapping[str, Any]) -> bool:
    if key in _FREQUENCIES:
        return key == _FREQUENCIES[0] and computed.turns_by(source.read(key))
    name = key.removeprefix(f"{source.architecture}.") if source.format == "gguf" else key
    return name in settings and computed.has(name, settings)


def _in_use(source: Source, section: Section | None) -> Iterator[tuple[str, Any, str]]:
    """Each setting in use as (key, value, what it does)."""
    settings = source.settings
    if source.format == "gguf":
        for key, neutral in _NEUTRAL_GGUF.items():
            full = f"{source.architecture}.{key}"
            if full in settings and settings[full] not in neutral:
                yield full, settings[full], _what(key)
        for name in _FREQUENCIES:
            if name in source.shapes and bool((source.read(name) != 1).any()):
                yield name, "a tensor", "the frequencies of rotary positions are scaled"
        return
    for key in ("rope_scaling", "rope_parameters"):
        kind = _scaling(settings.get(key))
        if kind is not None:
            yield key, kind, "the frequencies of rotary positions are scaled"
    theta = source.config.get("rope_parameters.rope_theta")
    if theta is not None and theta != source.config["rope_theta"]:
        yield "rope_parameters.rope_theta", theta, f"rope_theta beside it is {source.config['rope_theta']}"
    yield from _windows(settings)
    yield from _tied(source, section)
    for key, neutral in _NEUTRAL.items():
        if settings.get(key) is not None and settings[key] not in neutral:
            yield key, settings[key], _what(key)


def _tied(source: Source, section: Section | None) -> Iterator[tuple[str, Any, str]]:
    """A head that is the embedding in the file's own code and another tensor in the file, or the other way round."""
    tied, same = source.settings.get("tie_word_embeddings"), section.same if section is not None else {}
    if tied is False and any(name.endswith(_HEADS) and name not in source.shapes for name in same):
        yield "tie_word_embeddings", "false", "the file lacks the head of its own that it speaks of"
    head = next((name for name in source.shapes if name.endswith(_HEADS) and name not in same), None)
    table = next((name for name in source.shapes if name.endswith(_TABLES)), None)
    if tied is True and head and table and not _alike(source, head, table):
        yield "tie_word_embeddings", "true", f"{head} in the file is not {table}"


def _alike(source: Source, one: str, other: str) -> bool:
    return source.shapes[one] == source.shapes[other] and bool((source.read(one) == source.read(other)).all())


def _scaling(rope: Any) -> str | None:
    """The kind of scaling that `rope_scaling` or `rope_parameters` asks for, also where layers of different kinds have their own."""
    if not isinstance(rope, Mapping):
        return None if rope is None else str(rope)
    kind = rope.get("rope_type", rope.get("type"))
    if kind is not None and kind != "default":
        return str(kind)
    if kind is None and rope.get("factor", 1) != 1:
        return f"factor {rope['factor']}"
    if rope.get("partial_rotary_factor", 1) != 1:
        return f"partial_rotary_factor {rope['partial_rotary_factor']}"
    return next((inner for value in rope.values() if isinstance(value, Mapping) and (inner := _scaling(value)) is not None), None)


def _windows(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    layers = settings.get("layer_types")
    if isinstance(layers, list):
        others = sorted({str(kind) for kind in layers} - {"full_attention"})
        if others == ["sliding_attention"] and len(set(map(str, layers))) == 1 and settings.get("sliding_window") is not None:
            yield "sliding_window", settings["sliding_window"], "positions further back are not seen"
        elif others:
            yield "layer_types", ", ".join(others), "not every layer sees all positions"
    elif settings.get("sliding_window") is not None and settings.get("use_sliding_window", True):
        yield "sliding_window", settings["sliding_window"], "positions further back are not seen"


def _what(key: str) -> str:
    if "rope" in key or "rotary" in key:
        return "the frequencies of rotary positions are scaled"
    if "window" in key:
        return "positions further back are not seen"
    return "it changes what the model computes"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = ["refuse_unread"]
