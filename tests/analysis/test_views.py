"""Tables, prose and pictures: right figures, nothing lost, valid text, the same every time."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import archdsl
from archdsl.analysis import cost, views
from archdsl.analysis.views.layout import lay_out
from archdsl.analysis.views.part import find_part
from archdsl.analysis.views.picture import leaf_edges, picture
from archdsl.diagnostics import ArchError
from archdsl.share import share
from tests.timing import least_seconds

ROOT = Path(__file__).resolve().parents[2]
HARD = sorted((ROOT / "tests" / "hard").glob("*.arch"))
SHIPPED = sorted(p for f in ("language", "vision") for p in (share("specs") / f).glob("*.arch"))


def specs() -> list[Path]:
    return [*HARD, *SHIPPED[:: max(len(SHIPPED) // 12, 1)]]


@pytest.fixture(scope="module")
def smol() -> archdsl.Spec:
    return archdsl.load("smollm2")


# ---- tables -------------------------------------------------------------------------------------------------------------------------


def _total(tree: list[views.Row]) -> int:
    return sum(row.parameters for row in tree)


@pytest.mark.parametrize("path", specs(), ids=lambda p: p.stem)
def test_rows_account_for_every_parameter(path: Path) -> None:
    spec = archdsl.load(path)
    assert _total(views.rows(spec)) == spec.parameters
    check_levels(views.rows(spec))


def check_levels(tree: list[views.Row]) -> None:
    """The rows below a part add up to it, times its rounds."""
    for row in tree:
        below = sum(r.parameters for r in row.rows)
        if below:
            assert row.parameters == below * row.times, row.path
        check_levels(row.rows)


def test_summary_of_smollm2(smol: archdsl.Spec) -> None:
    text = views.summary(smol, depth=4)
    assert "134,515,008" in text
    assert "repeat, 30 x" in text
    assert text.count("Attention") == 2  # folded: one round stands for thirty
    assert "unembed, weights of table" in text
    assert "at T=1024" in text
    flops = cost.at(smol.flops(), {"T": 16})
    assert f"{flops / 1e9:.3g} G" in views.summary(smol, depth=1, sizes={"T": 16})
    assert len(views.summary(smol, depth=1).splitlines()) < len(text.splitlines())
    assert "\x1b" not in text
    assert "\x1b" in views.summary(smol, color=True)


def test_usual_sizes_respect_what_the_spec_says() -> None:
    spec = archdsl.parse("arch A { in x: [T, 8] where T <= 512; return x -> linear(8) }")
    assert "at T=512" in views.summary(spec)


def test_rounds_that_differ_are_told_apart() -> None:
    text = views.summary(archdsl.parse("arch A { in x: [T, 8]; return x -> layers: repeat i in 0..4 { linear(8 * (i // 2 + 1)) } }"))
    assert "0" in text
    spec = archdsl.parse(
        "arch A { in x: [T, 8]; return x -> layers: repeat i in 0..6 { if i < 2 then linear(8) else linear(8) -> linear(8) } }"
    )
    (layers,) = views.rows(spec)
    assert [(r.name, r.times) for r in layers.rows] == [("0..1", 2), ("2..5", 4)]


def test_shared_instances_count_once() -> None:
    spec = archdsl.parse("arch A { in x: [T, 8]; f = linear(8); return f(f(x)) }")
    first, second = views.rows(spec)
    assert (first.parameters, first.shared) == (72, False)
    assert (second.parameters, second.shared) == (0, True)


# ---- prose --------------------------------------------------------------------------------------------------------------------------


def test_explain_the_whole(smol: archdsl.Spec) -> None:
    text = views.explain(smol)
    for said in (
        "tokens: int[T], each sequence with a length of its own",
        "134,515,008 parameters",
        "Causal along T",
        "decoded step by step",
        "grows with every position",
        "table: one set of weights, used 2 times",
        "params == 134_515_008",
    ):
        assert said in text


def test_explain_a_model_that_looks_ahead() -> None:
    spec = archdsl.parse(
        'arch A { in x: [T, 8]; q = rearrange(x, "t d -> 1 t d"); return attend(q, q, q) -> rearrange("h t d -> t (h d)") }'
    )
    text = views.explain(spec)
    assert "Not causal along T" in text
    assert "attend" in views.explain(spec, "attend")
    assert "Looks ahead in time" in views.explain(spec, "attend")


def test_explain_parts(smol: archdsl.Spec) -> None:
    text = views.explain(smol, "layers.3.residual.f.Attention")
    assert "made with heads=9, kv_heads=3" in text
    assert "884,736 parameters" in text
    assert "weight [576, 576]" in views.explain(smol, "layers.*.residual.f.Attention.q_proj")
    assert "one round of layers" in views.explain(smol, "layers.29")
    assert find_part(smol.graph, "layers.*").region is find_part(smol.graph, "layers.0").region


@pytest.mark.parametrize(
    ("path", "said"), [("layerz", "Did you mean `layers`?"), ("layers.30", "rounds 0 to 29"), ("table.weight.x", "no parts")]
)
def test_no_such_part(smol: archdsl.Spec, path: str, said: str) -> None:
    with pytest.raises(ArchError) as caught:
        views.explain(smol, path)
    assert caught.value.diagnostics[0].code == "AD0920"
    assert said in str(caught.value)


def test_decisions_are_listed() -> None:
    text = views.explain(archdsl.load(ROOT / "tests" / "hard" / "hybrid.arch"))
    assert "layers.*/residual/f/Mixer/choice: GLA(heads) (or Attention(heads), causal_conv(4) -> silu), 6 x" in text


# ---- pictures -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", specs(), ids=lambda p: p.stem)
def test_pictures_of_every_spec(path: Path) -> None:
    spec = archdsl.load(path)
    for depth in (0, 1, 2, 5):
        root = ET.fromstring(views.to_svg(spec, depth))
        assert root.tag.endswith("svg")
        assert views.to_mermaid(spec, depth).startswith("flowchart TB\n")
        assert views.to_dot(spec, depth).count("{") == views.to_dot(spec, depth).count("}")
    views.explain(spec)


@pytest.mark.parametrize("path", HARD, ids=lambda p: p.stem)
def test_boxes_do_not_overlap_and_edges_run_down(path: Path) -> None:
    scene = picture(archdsl.load(path).graph, 3)
    _check(lay_out(scene))


def _check(placed: object) -> None:
    boxes = list(placed.boxes.values())  # type: ignore[attr-defined]
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= -0.01
        assert y >= -0.01
        assert x + w <= placed.width + 0.01  # type: ignore[attr-defined]
        assert y + h <= placed.height + 0.01  # type: ignore[attr-defined]
        for x2, y2, w2, h2 in boxes[:i]:
            assert x + w <= x2 + 0.01 or x2 + w2 <= x + 0.01 or y + h <= y2 + 0.01 or y2 + h2 <= y + 0.01
    for route in placed.routes:  # type: ignore[attr-defined]
        heights = [y for _, y in route.points]
        assert heights == sorted(heights)
    for inner in placed.inner.values():  # type: ignore[attr-defined]
        _check(inner)


def test_picture_shows_residuals_sharing_and_counts(smol: archdsl.Spec) -> None:
    scene = picture(smol.graph, 2)
    layers = next(b for b in scene.boxes if b.title == "layers")
    assert layers.times == "30 ×"
    assert [b.title for b in layers.scene.boxes] == ["residual", "residual_2"]  # type: ignore[union-attr]
    plus = next(b for b in layers.scene.walk() if b.sign == "+")  # type: ignore[union-attr]
    incoming = [e for e in leaf_edges(scene) if e.target is plus]
    assert {e.source.title for e in incoming if e.source} == {"table", "Attention"}  # the way round, and the way through
    assert [b.title for b in scene.boxes if b.shared] == ["table"]
    assert "[T, 576]" in views.to_svg(smol)
    assert "stroke-dasharray" in views.to_mermaid(smol)


def test_every_operation_is_on_the_open_picture() -> None:
    spec = archdsl.parse("arch A { in x: [T, 8]; y = linear(8)(x); return x + (y -> relu) * y }")
    assert [b.sign or b.title for b in picture(spec.graph, 9).boxes] == ["linear", "relu", "×", "+"]
    assert len(picture(spec.graph, 9).edges) == 1 + 1 + 2 + 2 + 1


def test_signs_are_escaped() -> None:
    spec = archdsl.parse("arch A { in x: [T, 8]; return (if x > 0 then x else 0 * x) -> linear(8) }")
    ET.fromstring(views.to_svg(spec, 3))
    assert "&gt;" in views.to_mermaid(spec, 3)


def test_pictures_are_the_same_in_another_process(smol: archdsl.Spec) -> None:
    code = "import archdsl; from archdsl.analysis import views; print(views.to_svg(archdsl.load('smollm2'), 4), end='')"
    env = {"PYTHONHASHSEED": "11", "PATH": "/usr/bin:/bin"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=env, check=True)
    assert out.stdout == views.to_svg(smol, 4)


def test_a_thousand_layers_written_out_are_drawn_quickly() -> None:
    chain = " -> ".join(["linear(8) -> relu"] * 400)
    spec = archdsl.parse(f"arch A {{ in x: [T, 8]; return x -> {chain} }}")
    assert least_seconds(lambda: views.to_svg(spec, 9), tries=1) < 20


def test_notebook_page(smol: archdsl.Spec) -> None:
    page = smol._repr_html_()
    root = ET.fromstring(page.replace("<details open>", "<details>"))
    assert root.find(".//{http://www.w3.org/2000/svg}svg") is not None
    assert "134,515,008" in page
    for outside in ("http://cdn", "https://", "<script"):
        assert outside not in page
    other = archdsl.load("smollm2", depth=2)
    ET.fromstring(views.diff_html(archdsl.diff(smol, other)))


def test_views_do_not_import_torch_or_networkx() -> None:
    code = (
        "import sys, archdsl; from archdsl.analysis import views; s = archdsl.load('smollm2'); "
        "views.summary(s), views.explain(s), s._repr_html_(); "
        "print([m for m in ('torch', 'networkx', 'rich', 'pydantic') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[]"
