"""`pretrained(Arch, "name")`: weights of a known package or beside the spec, never elsewhere; applied as a whole they are loaded too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.runtime import save_weights

INNER = "arch M {\n    in x: [T, 8]\n    return x -> linear(8)\n}\n"
DIRECT = INNER + 'arch A {\n    in x: [T, 8]\n    f = pretrained(M, "NAME")\n    return f(x) -> linear(2)\n}\n'


def weights(path: Path, seed: int = 7) -> dict[str, torch.Tensor]:
    """Saved weights of M."""
    model = archdsl.parse(INNER).build(seed=seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_weights(model, path)
    return model.state_dict()


def spec(folder: Path, name: str, text: str = DIRECT) -> archdsl.Spec:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "a.arch"
    file.write_text(text.replace("NAME", name), encoding="utf-8")
    return archdsl.load(file, arch="A")


@pytest.mark.parametrize("name", ["m.safetensors", "./m.safetensors", "below/m.safetensors", "below/../m.safetensors"])
def test_a_file_beside_the_spec_is_loaded_wherever_one_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (home / "below").mkdir(parents=True)
    wanted = weights(home / name)
    weights(elsewhere / name.rpartition("/")[2], seed=8)  # of the same name in the working folder
    monkeypatch.chdir(elsewhere)
    built = spec(home, name).build(seed=3)
    for key, value in wanted.items():
        torch.testing.assert_close(built.state_dict()[f"f.{key}"], value, rtol=0, atol=0)


@pytest.mark.parametrize("text", [DIRECT.replace("f(x)", "x -> f"), DIRECT.replace("f(x)", "f(f(x))"), DIRECT.replace("f = ", "g = ").replace("f(x)", "x -> f: g")])
def test_each_way_of_applying_it_loads(tmp_path: Path, text: str) -> None:
    wanted = weights(tmp_path / "m.safetensors")
    built = spec(tmp_path, "m.safetensors", text).build(seed=3)
    found = [value for key, value in built.state_dict().items() if key.endswith("linear.weight") and value.shape == (8, 8)]
    assert len(found) == 1
    torch.testing.assert_close(found[0], wanted["linear.weight"], rtol=0, atol=0)


def test_every_round_of_a_repeat_gets_them(tmp_path: Path) -> None:
    wanted = weights(tmp_path / "m.safetensors")
    text = INNER + 'arch A {\n    in x: [T, 8]\n    return x -> repeat 3 { pretrained(M, "m.safetensors") }\n}\n'
    found = list(spec(tmp_path, "", text).build(seed=3).state_dict().items())
    assert len(found) == 6
    for key, value in found:
        torch.testing.assert_close(value, wanted["linear.weight" if key.endswith("weight") else "linear.bias"], rtol=0, atol=0)


def outside(tmp_path: Path) -> list[str]:
    """Names that lead out of the folder of the spec, in every spelling."""
    far = tmp_path / "far" / "m.safetensors"
    return [str(far), "../far/m.safetensors", "below/../../far/m.safetensors", "~/m.safetensors", "C:/m.safetensors", f"file://{far}", ""]


def test_nothing_outside_is_reached(tmp_path: Path) -> None:
    weights(tmp_path / "far" / "m.safetensors")
    for name in outside(tmp_path):
        with pytest.raises(ArchError) as refused:
            spec(tmp_path / "home", name)
        assert [d.code for d in refused.value.diagnostics] == ["AD0603"], name
        assert refused.value.diagnostics[0].span is not None


def test_links_do_not_lead_outside(tmp_path: Path) -> None:
    weights(tmp_path / "far" / "m.safetensors")
    home = tmp_path / "home"
    home.mkdir()
    (home / "link.safetensors").symlink_to(tmp_path / "far" / "m.safetensors")
    (home / "folder").symlink_to(tmp_path / "far")
    (home / "circle").symlink_to(home / "circle")
    for name in ("link.safetensors", "folder/m.safetensors", "folder", "circle"):
        with pytest.raises(ArchError) as refused:
            spec(home, name).build()
        assert refused.value.diagnostics[0].code == "AD0603", name
    (home / "model").mkdir()  # a link inside a folder that is inside
    (home / "model" / "model.safetensors").symlink_to(tmp_path / "far" / "m.safetensors")
    with pytest.raises(ArchError, match="lead outside"):
        spec(home, "model").build()


def test_a_wrong_name_lists_known_ones_only(tmp_path: Path) -> None:
    (tmp_path / "secret-plans.safetensors").write_bytes(b"")
    with pytest.raises(ArchError) as refused:
        spec(tmp_path, "secret-plan.safetensors").build()
    told = str(refused.value)
    assert refused.value.diagnostics[0].code == "AD0806" and "smollm2-135m" in told and "secret-plans" not in told


def test_a_text_has_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights(tmp_path / "m.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArchError, match="no pretrained weights are known"):
        archdsl.parse(DIRECT.replace("NAME", "m.safetensors"), arch="A").build()
    loaded = archdsl.parse(DIRECT.replace("NAME", "m.safetensors"), arch="A", root=tmp_path).build(seed=3)
    assert loaded is not None


def test_what_a_person_names_lies_anywhere(tmp_path: Path) -> None:
    far = tmp_path / "far" / "m.safetensors"
    wanted = weights(far)
    built = archdsl.parse(INNER).build(weights=far)
    torch.testing.assert_close(built.state_dict()["linear.weight"], wanted["linear.weight"], rtol=0, atol=0)
