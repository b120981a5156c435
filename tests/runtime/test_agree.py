"""Files against what the spec computes: what an operation contradicts is refused where it stands, what the operations have may load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.runtime import load_weights
from archdsl.runtime.weightmap import load_weight_map, parse_weight_map
from archdsl.share import share
from tests.runtime.test_families import close, roughen
from tests.runtime.test_unread import gguf, load

LLAMA = """import "std/transformer.arch"
block Mixer(heads, kv_heads) {
    in x: [T, d]
    c = d / heads
    q = x -> q_proj: linear(d, bias=false) -> rearrange("t (h c) -> h t c", h=heads) -> rotary(BASE, SCALED)
    k = x -> k_proj: linear(kv_heads * c, bias=false) -> rearrange("t (h c) -> h t c", h=kv_heads) -> rotary(BASE, SCALED)
    v = x -> v_proj: linear(kv_heads * c, bias=false) -> rearrange("t (h c) -> h t c", h=kv_heads)
    return attend(q, k, v, SEEN) -> rearrange("h t c -> t (h c)") -> o_proj: linear(d, bias=false)
}
block Gated(hidden) {
    in x: [.., d]
    return (x -> gate_proj: linear(hidden, bias=false) -> ACT) * (x -> up_proj: linear(hidden, bias=false)) -> down_proj: linear(d, bias=false)
}
arch Llama(vocab = 97, d = 32, depth = 2, heads = 4, kv_heads = 2, hidden = 48) {
    in tokens: int[T] lengths
    return tokens
        -> embed: embedding(vocab, d)
        -> layers: repeat depth {
            residual(rmsnorm(eps=1e-5) -> Attention: Mixer(heads, kv_heads)) -> residual(rmsnorm(eps=EPS) -> SwiGLU: Gated(hidden))
        }
        -> norm: rmsnorm(eps=1e-5)
        -> head: linear(vocab, bias=false)
}
"""
USUAL = {"BASE": "10_000", "SCALED": "dim=none", "SEEN": "causal=true", "ACT": "silu", "EPS": "1e-5"}
SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
}


def llama(**changed: str) -> archdsl.Spec:
    text = LLAMA
    for word, written in {**USUAL, **changed}.items():
        text = text.replace(word, written)
    return archdsl.parse(text)


def saved(folder: Path, kind: str = "Llama", **settings: Any) -> torch.nn.Module:
    """A model of transformers, saved."""
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{kind}Config")(**{**SIZES, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, **settings})
    torch.manual_seed(0)
    theirs = roughen(getattr(transformers, f"{kind}ForCausalLM")(config))
    theirs.save_pretrained(folder)
    return theirs


def loads_as(spec: archdsl.Spec, folder: Path, theirs: torch.nn.Module) -> None:
    """The file is loaded and gives the same logits."""
    ours, tokens = spec.build(), torch.randint(97, (2, 40))
    report = load_weights(ours, folder, spec=spec, map=load_weight_map(share("specs") / "language" / "llama2.weights.yaml"))
    assert report.complete and report.unchecked == []
    with torch.no_grad():
        close(ours.eval()(tokens), theirs(tokens).logits)


def refused(call: Any, *args: Any, **options: Any) -> Sequence[Any]:
    with pytest.raises(ArchError) as caught:
        call(*args, **options)
    return caught.value.diagnostics


CONTRADICTED = [
    ({"EPS": "1e-3"}, "rms_norm_eps is 1e-05", "`eps` of this rmsnorm is 0.001", "rmsnorm(eps=1e-3)"),
    ({"BASE": "500"}, "rope_theta is 10000", "`base` of this rotary is 500", "rotary(500, dim=none)"),
    ({"ACT": "gelu"}, "hidden_act is silu", "this is gelu", "gelu"),
]


@pytest.mark.parametrize(("changed", "setting", "label", "where"), CONTRADICTED, ids=["eps", "base", "activation"])
def test_an_operation_that_contradicts_the_file_is_shown(tmp_path, changed, setting, label, where) -> None:
    saved(tmp_path)
    spec = llama(**changed)
    (problem,) = refused(lambda: spec.build(weights=tmp_path))
    assert problem.code == "AD0805" and setting in problem.note and problem.label == label and problem.span.text == where
    assert any(setting in text and "differs" in text for text in spec.build(weights=tmp_path, strict=False).weights_report.unchecked)


def test_the_part_that_a_spec_names_is_compared_by_itself(tmp_path) -> None:
    saved(tmp_path / "model")
    whole = 'arch Whole { in tokens: int[T] lengths; f = pretrained(Llama, "model"); return f(tokens) -> rmsnorm(eps=0.5) }'
    for eps, fits in (("1e-5", True), ("1e-3", False)):
        text = LLAMA
        for word, written in {**USUAL, "EPS": eps}.items():
            text = text.replace(word, written)
        spec = archdsl.parse(text + whole, arch="Whole", root=tmp_path)
        if fits:
            spec.build()
        else:
            assert [d.code for d in refused(spec.build)] == ["AD0805"]


SAME = {
    "linear": ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}, {"SCALED": 'scaling="linear", factor=4'}),
    "llama3": (
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
        {"SCALED": 'scaling="llama3", factor=4, original=16'},
    ),
    "yarn": (
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}},
        {"SCALED": 'scaling="yarn", factor=4, original=16'},
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_scaled_positions_load_into_a_spec_that_has_them(tmp_path, kind) -> None:
    settings, changed = SAME[kind]
    theirs = saved(tmp_path, **settings)
    loads_as(llama(**changed), tmp_path, theirs)
    for other in (USUAL, {"SCALED": changed["SCALED"].replace("factor=4", "factor=8")}):
        (problem,) = refused(loads_as, llama(**other), tmp_path, theirs)
        assert problem.code == "AD0819" and kind in problem.note


def test_a_window_loads_into_a_spec_that_has_it(tmp_path) -> None:
    theirs = saved(tmp_path, "Mistral", sliding_window=8, attn_implementation="eager")
    loads_as(llama(SEEN="causal=true, window=8"), tmp_path, theirs)
    for seen in ("causal=true", "causal=true, window=9", "window=8"):
        (problem,) = refused(loads_as, llama(SEEN=seen), tmp_path, theirs)
        assert problem.code == "AD0819" and "sliding_window is 8" in problem.note


def write(folder: Path, **changed: Any) -> None:
    """Changes settings of a saved model."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))


@pytest.mark.parametrize(
    ("setting", "value", "seen"),
    [
        ("attn_logit_softcapping", 50.0, "softcap=50"),
        ("query_pre_attn_scalar", 16, "scale=0.25"),
        ("attention_multiplier", 0.25, "scale=0.25"),
    ],
)
def test_settings_of_scores_load_into_a_spec_that_has_them(tmp_path, setting, value, seen) -> None:
    saved(tmp_path)
    write(tmp_path, **{setting: value})
    assert llama(SEEN=f"causal=true, {seen}").build(weights=tmp_path).weights_report.complete
    for other in ("causal=true", "causal=true, scale=0.5, softcap=49"):
        (problem,) = refused(llama(SEEN=other).build, weights=tmp_path)
        assert problem.code == "AD0819" and setting in problem.note


def test_part_of_the_features_turned_loads_into_a_spec_that_turns_them(tmp_path) -> None:
    saved(tmp_path)
    write(tmp_path, partial_rotary_factor=0.5)
    assert llama(SCALED="dim=4").build(weights=tmp_path).weights_report.complete
    assert "partial_rotary_factor" in refused(lambda: llama().build(weights=tmp_path))[0].note


def test_two_bases_in_one_file_are_refused(tmp_path) -> None:
    saved(tmp_path)
    write(tmp_path, rope_theta=1e4, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    (problem,) = refused(llama().build, weights=tmp_path)
    assert problem.code == "AD0819" and "rope_parameters.rope_theta is 500000.0: rope_theta beside it is 10000.0" in problem.note


@pytest.mark.parametrize("seen", ["causal=true", "causal=false"])
def test_a_decoder_does_not_look_ahead(tmp_path, seen) -> None:
    saved(tmp_path)
    write(tmp_path, is_decoder=True)
    if seen == "causal=true":
        assert llama(SEEN=seen).build(weights=tmp_path).weights_report.complete
    else:
        assert refused(lambda: llama(SEEN=seen).build(weights=tmp_path))[0].label == "this also sees later positions"


def test_a_tied_flag_that_the_tensors_contradict_is_refused(tmp_path) -> None:
    saved(tmp_path)
    write(tmp_path, tie_word_embeddings=True)  # transformers then takes the embedding for the head; the file has another
    (problem,) = refused(lambda: llama().build(weights=tmp_path))
    assert problem.code == "AD0819" and "lm_head.weight in the file is not model.embed_tokens.weight" in problem.note
    saved(tmp_path, tie_word_embeddings=True)
    tied = archdsl.load("smollm2", contracts=False, vocab=97, d=32, depth=2, heads=4, kv_heads=2, hidden=48)
    rules = load_weight_map(share("specs") / "language" / "smollm2.weights.yaml").file.huggingface
    loose = rules.model_copy(update={"config": {}})
    spec_map = parse_weight_map("spec: x")
    spec_map = type(spec_map)("tied", spec_map.file.model_copy(update={"huggingface": loose}))
    write(tmp_path, rope_theta=1e5, rope_parameters=None)
    assert load_weights(tied.build(), tmp_path, map=spec_map, spec=tied).complete
    write(tmp_path, tie_word_embeddings=False)
    (problem,) = refused(lambda: load_weights(tied.build(), tmp_path, map=spec_map, spec=tied))
    assert "tie_word_embeddings is false" in problem.note


def test_a_map_may_compare_what_stands_inside_a_setting(tmp_path) -> None:
    rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
    rules = "huggingface: {architecture: tiny, config: {rope_parameters.factor: {value: FACTOR}KIND}, weights: {weight: w}}"
    whole = rules.replace("KIND", ", rope_parameters.rope_type: {value: linear}")
    assert load(tmp_path, whole.replace("FACTOR", "4.0"), rope_parameters=rope).unchecked == []
    assert refused(lambda: load(tmp_path, whole.replace("FACTOR", "8.0"), rope_parameters=rope))[0].code == "AD0805"
    assert refused(lambda: load(tmp_path, rules.replace("FACTOR", "4.0").replace("KIND", ""), rope_parameters=rope))[0].code == "AD0819"


TURNED = """arch A {
    in x: [T, 4]
    return x -> linear(4, bias=false) -> rearrange("t (h c) -> h t c", h=1) -> rotary(HOW) -> rearrange("h t c -> t (h c)")
}
"""
TINY = parse_weight_map("gguf: {architecture: tiny, weights: {linear.weight: w}, ignore: [rope_freqs.weight]}")


@pytest.mark.parametrize(
    ("how", "settings", "frequencies"),
    [
        ('scaling="linear", factor=4', {"tiny.rope.scaling.type": "linear", "tiny.rope.scaling.factor": 4.0}, None),
        ('scaling="linear", factor=4', {}, [4.0, 4.0]),
        ("500_000", {"tiny.rope.freq_base": 500_000.0}, None),
        ("dim=2", {"tiny.rope.dimension_count": 2}, None),
    ],
    ids=["scaling", "frequencies", "base", "dimensions"],
)
def test_gguf_settings_are_held_against_operations(tmp_path, how, settings, frequencies) -> None:
    path = gguf(tmp_path / "m.gguf", settings, frequencies)
    for written, fits in ((how, True), ("10_000", False), ('scaling="linear", factor=5', False)):
        spec = archdsl.parse(TURNED.replace("HOW", written))
        if fits:
            assert load_weights(spec.build(), path, map=TINY, spec=spec).complete
        else:
            assert refused(load_weights, spec.build(), path, map=TINY, spec=spec)


def test_gguf_files_say_whether_they_look_ahead(tmp_path) -> None:
    path = gguf(tmp_path / "m.gguf", {"tiny.attention.causal": False})
    text = "arch A { in x: [T, 4]; y = x -> linear(4, bias=false); return attend(y, y, y, causal=HOW) }"
    for how in ("false", "true"):
        spec = archdsl.parse(text.replace("HOW", how))
        if how == "false":
            assert load_weights(spec.build(), path, map=TINY, spec=spec).complete
        else:
            assert refused(load_weights, spec.build(), path, map=TINY, spec=spec)[0].label == "this sees earlier positions only"
