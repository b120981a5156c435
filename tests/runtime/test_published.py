"""`pretrained(Arch, "name")`: weights of a known package or beside the spec, never elsewhere; applied as a whole they are loaded too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

import archdsl
from archdsl.cli.app import app
from archdsl.diagnostics import ArchError
from archdsl.graph.ir import Published
from archdsl.runtime import find_published, save_weights

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


def published(known: archdsl.Spec) -> Published:
    return next(i.pretrained for _, i in known.instances if i.pretrained is not None)


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
    assert refused.value.diagnostics[0].span.text == '"secret-plan.safetensors"'


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000 + "a", "m.safetensors/a"])
def test_a_name_that_no_file_can_have_is_told(tmp_path: Path, name: str) -> None:
    weights(tmp_path / "m.safetensors")
    with pytest.raises(ArchError, match="no pretrained weights are known"):
        spec(tmp_path, name).build()
    with pytest.raises(ArchError) as refused:
        spec(tmp_path, "", f'import "{name}"\n{INNER}')
    assert refused.value.diagnostics[0].code == "AD0601"


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_the_tokenizer_beside_weights_stays_inside_too(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    weights(home / "m.safetensors")
    (home / "unrelated").symlink_to(tmp_path)
    assert find_published(published(spec(home, "m.safetensors"))) == home / "m.safetensors"
    (home / name).symlink_to(tmp_path / "far")
    with pytest.raises(ArchError, match="lead outside") as refused:
        find_published(published(spec(home, "m.safetensors")))
    assert refused.value.diagnostics[0].code == "AD0603" and refused.value.diagnostics[0].span is not None


def test_generate_takes_no_tokenizer_above_the_spec(tmp_path: Path) -> None:
    home = tmp_path / "step-1"  # above folders of that name lie the tokenizers of runs
    weights(home / "m.safetensors")
    (tmp_path / "tokenizer.json").write_text("{}")
    spec(home, "m.safetensors")
    told = CliRunner().invoke(app, ["generate", str(home / "a.arch"), "--arch", "A", "text"])
    assert told.exit_code == 2 and "AD0909" in told.output and str(tmp_path / "tokenizer.json") not in told.output


def test_a_map_beside_the_spec_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("a: secret: word\n")
    home = tmp_path / "home"
    (home / "far").mkdir(parents=True)
    (home / "far" / "config.json").write_text('{"model_type": "tiny"}')
    save_file({"w": torch.zeros(8, 8)}, home / "far" / "model.safetensors")
    known = spec(home, "far")
    (home / "a.weights.yaml").symlink_to(tmp_path / "secret")
    with pytest.raises(ArchError, match="leads outside") as refused:
        known.build()
    assert "word" not in str(refused.value)


def test_the_map_of_an_import_is_looked_up_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "parts" / "published").mkdir(parents=True)
    (home / "parts" / "published" / "config.json").write_text('{"model_type": "tiny"}')
    save_file({"w": torch.ones(8, 8), "b": torch.ones(8)}, home / "parts" / "published" / "model.safetensors")
    (home / "parts" / "m.arch").write_text(INNER)
    rules = "huggingface: {architecture: tiny, weights: {linear.weight: w, linear.bias: b}}"
    (home / "parts" / "m.weights.yaml").write_text(rules)
    known = spec(home, "parts/published", 'import "parts/m.arch"\n' + DIRECT.removeprefix(INNER))
    (tmp_path / "parts").mkdir()  # of the same name in the working folder
    (tmp_path / "parts" / "m.weights.yaml").write_text(rules.replace("linear.weight: w", "linear.weight: v"))
    monkeypatch.chdir(tmp_path)
    assert known.build().f.linear.weight.eq(1).all()


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
