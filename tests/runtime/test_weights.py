"""Loading and saving: names, shapes, maps, settings, strictness, and what is told when something does not fit."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from archdsl.diagnostics import ArchError
from archdsl.runtime import load_weights, save_weights
from archdsl.runtime.weightmap import parse_weight_map
from tests.runtime.standins import module_with

MAP = parse_weight_map("""
huggingface:
  architecture: tiny
  config: { hidden_size: d, n_layer: depth, act: { value: silu } }
  weights:
    table.weight: wte.weight
    "layers.{i}.q.weight": { from: "h.{i}.c_attn.weight", apply: [transpose, { split: { axis: 0, parts: 3, part: 0 } }] }
    "layers.{i}.k.weight": { from: "h.{i}.c_attn.weight", apply: [transpose, { split: { axis: 0, parts: 3, part: 1 } }] }
    "layers.{i}.v.weight": { from: "h.{i}.c_attn.weight", apply: [transpose, { split: { axis: 0, parts: 3, part: 2 } }] }
    "layers.{i}.up.weight": { from: ["h.{i}.gate", "h.{i}.value"], axis: 0 }
    head.weight: { from: lm_head.weight, otherwise: wte.weight }
  ignore: ["h.{i}.mask"]
""")
SHAPES = {
    "table.weight": (10, 4),
    **{f"layers.{i}.{name}.weight": (4, 4) for i in range(2) for name in "qkv"},
    **{f"layers.{i}.up.weight": (6, 4) for i in range(2)},
    "head.weight": (10, 4),
}
PARAMS = {"d": 4, "depth": 2}


def source_tensors(seed: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    tensors = {"wte.weight": torch.randn(10, 4)}
    for i in range(2):
        tensors |= {f"h.{i}.c_attn.weight": torch.randn(4, 12), f"h.{i}.gate": torch.randn(3, 4), f"h.{i}.value": torch.randn(3, 4)}
        tensors[f"h.{i}.mask"] = torch.ones(2, 2)
    return tensors


def folder_with(path, tensors, shards: int = 1, **config):
    (path / "config.json").write_text(json.dumps({"model_type": "tiny", "hidden_size": 4, "n_layer": 2, "act": "silu", **config}))
    names = sorted(tensors)
    if shards == 1:
        save_file(tensors, path / "model.safetensors")
    else:
        table = {name: f"part-{i % shards}.safetensors" for i, name in enumerate(names)}
        for file in set(table.values()):
            save_file({n: tensors[n] for n in names if table[n] == file}, path / file)
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    return path


def failure(call) -> object:
    with pytest.raises(ArchError) as caught:
        call()
    (diagnostic,) = caught.value.diagnostics
    return diagnostic


@pytest.mark.parametrize("shards", [1, 3])
def test_a_mapped_folder_loads(tmp_path, shards):
    tensors = source_tensors()
    model = module_with(SHAPES)
    report = load_weights(model, folder_with(tmp_path, tensors, shards), map=MAP, spec_params=PARAMS)
    state = model.state_dict()
    assert report.complete
    assert set(report.loaded) == set(SHAPES)
    for i in range(2):
        q, k, v = tensors[f"h.{i}.c_attn.weight"].split(4, dim=1)
        assert torch.equal(state[f"layers.{i}.q.weight"], q.T)
        assert torch.equal(state[f"layers.{i}.k.weight"], k.T)
        assert torch.equal(state[f"layers.{i}.v.weight"], v.T)
        assert torch.equal(state[f"layers.{i}.up.weight"], torch.cat([tensors[f"h.{i}.gate"], tensors[f"h.{i}.value"]]))
    assert torch.equal(state["head.weight"], tensors["wte.weight"])  # the file has no lm_head
    assert "10 weights" in str(report)


def test_meta_models_and_other_types_are_filled(tmp_path):
    folder_with(tmp_path, {k: v.half() for k, v in source_tensors().items()})
    model = module_with(SHAPES, device="meta")
    load_weights(model, tmp_path, map=MAP, spec_params=PARAMS)
    assert all(p.dtype == torch.float32 and not p.is_meta and p.requires_grad for p in model.parameters())
    narrow = module_with(SHAPES).to(torch.bfloat16)
    load_weights(narrow, tmp_path, map=MAP, spec_params=PARAMS)
    assert all(p.dtype == torch.bfloat16 for p in narrow.parameters())


def test_wrong_settings_are_told_with_both_numbers_and_what_to_set(tmp_path):
    folder_with(tmp_path, source_tensors(), hidden_size=8, n_layer=3)
    found = failure(lambda: load_weights(module_with(SHAPES), tmp_path, map=MAP, spec_params=PARAMS))
    assert found.code == "AD0805"
    assert "hidden_size is 8 in the file, the spec's `d` is 4" in found.note
    assert "--set d=8 --set depth=3" in found.hint
    assert found.span.text == "hidden_size"


def test_everything_that_does_not_fit_is_told_at_once_and_nothing_is_changed(tmp_path):
    tensors = source_tensors()
    del tensors["h.0.gate"], tensors["h.1.gate"]
    tensors["h.1.gaet"] = torch.zeros(3, 4)
    tensors["wte.weight"] = torch.zeros(9, 4)
    model = module_with(SHAPES)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = failure(lambda: load_weights(model, folder_with(tmp_path, tensors), map=MAP, spec_params=PARAMS))
    assert found.code == "AD0803"
    assert "not in the file: layers.{0..1}.up.weight (2)" in found.note
    assert "not in the model: h.1.gaet" in found.note
    assert "does not fit: table.weight: the model has [10, 4], the file has wte.weight [9, 4]" in found.note
    assert "h.1.gaet" in found.hint
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_what_fits_is_loaded_when_not_strict(tmp_path):
    tensors = source_tensors()
    shapes = {**SHAPES, "layers.2.q.weight": (4, 4), "layers.0.q.weight": (5, 4)}
    model = module_with(shapes)
    kept = model.state_dict()["layers.2.q.weight"].clone()
    report = load_weights(model, folder_with(tmp_path, tensors), map=MAP, spec_params={"d": 4, "depth": 3}, strict=False)
    assert report.missing == ["layers.2.q.weight"]
    assert list(report.misfits) == ["layers.0.q.weight"]
    assert any("n_layer" in text for text in report.unchecked)
    assert torch.equal(model.state_dict()["layers.2.q.weight"], kept)
    assert torch.equal(model.state_dict()["table.weight"], tensors["wte.weight"])


def test_tied_tensors_must_be_equal_in_the_file(tmp_path):
    map_ = parse_weight_map("huggingface: {architecture: tiny, weights: {table.weight: wte}, same: {lm_head: wte}}")
    model = module_with({"table.weight": (3, 2)})
    table = torch.randn(3, 2)
    load_weights(model, folder_with(tmp_path, {"wte": table, "lm_head": table.clone()}), map=map_)
    folder_with(tmp_path, {"wte": table, "lm_head": table + 1})
    assert "the spec ties it to wte" in failure(lambda: load_weights(model, tmp_path, map=map_)).note


def test_saved_weights_come_back_and_shared_ones_stay_shared(tmp_path):
    model = module_with(SHAPES)
    model.extra = nn.Module()
    model.extra.weight = model.table.weight
    model.register_buffer("steps", torch.tensor(3))
    path = save_weights(model, tmp_path / "deep" / "m.safetensors", {"spec_hash": "abc"})
    other = module_with(SHAPES, seed=5)
    other.extra = nn.Module()
    other.extra.weight = other.table.weight
    other.register_buffer("steps", torch.tensor(0))
    report = load_weights(other, path)
    assert report.metadata["spec_hash"] == "abc"
    assert report.complete
    assert other.extra.weight is other.table.weight
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))
    assert [p.name for p in path.parent.iterdir()] == ["m.safetensors"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    import safetensors.torch

    path = save_weights(nn.Linear(2, 2), tmp_path / "m.safetensors")
    before = path.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    assert failure(lambda: save_weights(nn.Linear(3, 3), path)).code == "AD0801"
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_hostile_folders_are_refused(tmp_path):
    folder_with(tmp_path, source_tensors())
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../etc/passwd.safetensors"}}))
    assert failure(lambda: load_weights(nn.Linear(1, 1), tmp_path)).code == "AD0802"
    (tmp_path / "model.safetensors.index.json").write_text("[" * 100_000)
    assert failure(lambda: load_weights(nn.Linear(1, 1), tmp_path)).code == "AD0802"
    pickled = tmp_path / "p"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "pickle" in failure(lambda: load_weights(nn.Linear(1, 1), pickled)).note
    assert "pickle" in failure(lambda: load_weights(nn.Linear(1, 1), pickled / "pytorch_model.bin")).note


def test_damaged_safetensors_are_refused(tmp_path):
    path = save_weights(nn.Linear(8, 8), tmp_path / "m.safetensors")
    content = path.read_bytes()
    for length in (0, 4, 30, len(content) - 1):
        path.write_bytes(content[:length])
        assert failure(lambda: load_weights(nn.Linear(8, 8), path)).code == "AD0802"


def test_unknown_paths_get_a_suggestion(tmp_path):
    save_weights(nn.Linear(2, 2), tmp_path / "model.safetensors")
    found = failure(lambda: load_weights(nn.Linear(2, 2), tmp_path / "modle.safetensors"))
    assert found.code == "AD0801"
    assert "model.safetensors" in found.hint
