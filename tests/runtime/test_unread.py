"""Files whose settings change what the model computes, while all weights fit: each is refused, or loads where it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.runtime import load_weights
from archdsl.runtime.weightmap import parse_weight_map

PLAIN = "{architecture: tiny, config: {hidden_size: d}, weights: {weight: w}}"


def refused(call) -> str:
    with pytest.raises(ArchError) as caught:
        call()
    assert [d.code for d in caught.value.diagnostics] == ["AD0819"]
    return str(caught.value)


def load(folder: Path, rules: str = f"huggingface: {PLAIN}", strict: bool = True, **settings):
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny", "hidden_size": 4, **settings}))
    save_file({"w": torch.ones(4, 4)}, folder / "model.safetensors")
    return load_weights(nn.Linear(4, 4, bias=False), folder, map=parse_weight_map(rules), spec_params={"d": 4}, strict=strict)


IN_USE = [
    {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    {"rope_scaling": {"type": "dynamic", "factor": 2.0}},
    {"rope_scaling": {"factor": 2.0}},
    {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}},
    {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 8.0}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}},
    {"rope_parameters": {"full_attention": {"rope_type": "default"}, "sliding_attention": {"rope_type": "linear", "factor": 8.0}}},
    {"sliding_window": 128},
    {"sliding_window": 128, "use_sliding_window": True},
    {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 128},
    {"layer_types": ["linear_attention"]},
    {"partial_rotary_factor": 0.25},
    {"attn_logit_softcapping": 50.0},
    {"final_logit_softcapping": 30.0},
    {"embedding_multiplier": 12.0},
    {"scale_attn_weights": False},
    {"position_embedding_type": "relative_key"},
    {"quantization_config": {"quant_method": "awq"}},
]
NEUTRAL = [
    {"rope_scaling": None, "sliding_window": None},
    {"rope_scaling": {"rope_type": "default"}},
    {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
    {"sliding_window": 4096, "use_sliding_window": False},
    {"layer_types": ["full_attention", "full_attention"], "sliding_window": 4096},
    {"partial_rotary_factor": 1.0, "embedding_multiplier": 1, "scale_attn_weights": True, "position_embedding_type": "absolute"},
    {"attn_logit_softcapping": None, "max_position_embeddings": 2048, "initializer_range": 0.02},
]


@pytest.mark.parametrize("settings", IN_USE, ids=json.dumps)
def test_a_setting_in_use_is_refused_and_named(tmp_path, settings) -> None:
    told = refused(lambda: load(tmp_path, **settings))
    assert any(key in told for key in settings) and "docs/weights.md" in told
    lax = load(tmp_path, strict=False, **settings)
    assert lax.loaded == ["weight"] and any("may differ" in text for text in lax.unchecked)


@pytest.mark.parametrize("settings", NEUTRAL, ids=json.dumps)
def test_a_setting_that_changes_nothing_loads(tmp_path, settings) -> None:
    assert load(tmp_path, **settings).unchecked == []


def test_a_setting_that_the_map_compares_is_its_own_business(tmp_path) -> None:
    rules = "huggingface: {architecture: tiny, config: {hidden_size: d, sliding_window: d}, weights: {weight: w}}"
    assert load(tmp_path, rules, sliding_window=4).loaded == ["weight"]
    with pytest.raises(ArchError, match="sliding_window is 8 in the file"):
        load(tmp_path, rules, sliding_window=8)


def gguf(path: Path, settings: dict, frequencies: list[float] | None = None) -> Path:
    package = pytest.importorskip("gguf")
    writer = package.GGUFWriter(path, "tiny")
    for key, value in settings.items():
        add = {str: writer.add_string, float: writer.add_float32, bool: writer.add_bool, int: writer.add_uint32}
        add[type(value)](key, value)
    writer.add_tensor("w", np.ones((4, 4), np.float32))
    if frequencies is not None:
        writer.add_tensor("rope_freqs.weight", np.array(frequencies, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


GGUF_RULES = parse_weight_map("gguf: {architecture: tiny, weights: {weight: w}, ignore: [rope_freqs.weight]}")


@pytest.mark.parametrize(
    ("settings", "frequencies"),
    [
        ({"tiny.rope.scaling.type": "linear", "tiny.rope.scaling.factor": 4.0}, None),
        ({"tiny.rope.scale_linear": 2.0}, None),
        ({"tiny.attention.sliding_window": 128}, None),
        ({"tiny.attn_logit_softcapping": 50.0}, None),
        ({"tiny.embedding_scale": 12.0}, None),
        ({}, [1.0, 8.0]),
    ],
)
def test_gguf_settings_in_use_are_refused(tmp_path, settings, frequencies) -> None:
    path = gguf(tmp_path / "m.gguf", settings, frequencies)
    told = refused(lambda: load_weights(nn.Linear(4, 4, bias=False), path, map=GGUF_RULES))
    assert all(key in told for key in settings if key.split(".")[-1] != "factor") and ("rope_freqs" in told or settings)


def test_gguf_settings_that_change_nothing_load(tmp_path) -> None:
    settings = {"tiny.rope.scaling.type": "none", "tiny.rope.scaling.factor": 1.0, "tiny.attention.sliding_window": 0}
    path = gguf(tmp_path / "m.gguf", settings, [1.0, 1.0])
    assert load_weights(nn.Linear(4, 4, bias=False), path, map=GGUF_RULES).loaded == ["weight"]


@pytest.mark.parametrize("kind", ["linear", "dynamic", "yarn", "llama3"])
def test_a_llama_with_scaled_positions_is_refused_and_would_differ(tmp_path, kind) -> None:
    """The refusal is not for nothing: without it the logits are off by more than a hundredth of the largest."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48}
    rope = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0}
    if kind == "llama3":
        rope |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**sizes, rms_norm_eps=1e-5, rope_parameters=rope, max_position_embeddings=16, tie_word_embeddings=False)
    theirs = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    theirs.save_pretrained(tmp_path)
    spec = archdsl.load("llama2", contracts=False, vocab=97, d=32, depth=2, heads=4, kv_heads=2, hidden=48)
    assert kind in refused(lambda: spec.build(weights=tmp_path))
    tokens = torch.randint(97, (2, 48))
    with torch.no_grad():
        ours, wanted = spec.build(weights=tmp_path, strict=False).eval()(tokens), theirs(tokens).logits
    assert (ours - wanted).abs().max() > 0.01 * wanted.abs().max()
