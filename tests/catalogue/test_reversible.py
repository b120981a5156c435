"""Reversible image networks: i-RevNet and RevCol. Their inverses are derived; what is kept for the backward pass is measured."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.compiler.collect import collect_aux
from archdsl.diagnostics import ArchError
from tests.catalogue.learning import built, fell, gmacs, losses, moved, on_digits, parameters
from tests.rounding import carried, off

CIFAR = {"blocks": [18, 18, 18], "strides": [1, 2, 2], "widths": [16, 64, 256], "shuffle": 1, "classes": 10}
COLUMNS = {"widths": [4, 6, 8, 10], "depths": [1, 1, 2, 1], "classes": 5}


def step(spec: archdsl.Spec, x: Tensor, *others: Tensor, by: float = 0.1) -> tuple[list[Tensor], int]:
    """The output and all gradients of a training step, and the bytes kept for it besides the weights."""
    model = spec.build(dtype=x.dtype).train()
    with torch.no_grad():
        for i, (name, p) in enumerate(model.named_parameters()):
            p.add_(0 if name.endswith("alpha") else by * torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(i)))
    owned = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    x = x.clone().requires_grad_()
    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = model(x, *others)
    outs = out if isinstance(out, tuple) else (out,)
    (sum(o.square().mean() for o in outs) + sum(v.mean() for v in collect_aux(model).values())).backward()
    return [*outs, x.grad, *(p.grad for p in model.parameters()), *model.buffers()], sum(n for at, n in kept.items() if at not in owned)


def both(name: str, **settings: Any) -> tuple[archdsl.Spec, archdsl.Spec]:
    """A spec as it is, and with plain repeats in place of reversible ones."""
    from archdsl.api import find

    text = find(name).read_text()
    assert "reversible repeat" in text
    return archdsl.load(name, contracts=False, **settings), archdsl.parse(
        text.replace("reversible repeat", "repeat"), contracts=False, **settings
    )


def same(mine: list[Tensor], plain: list[Tensor], tolerance: float) -> None:
    for a, b in zip(mine, plain, strict=True):
        assert (a is None) == (b is None)
        if a is not None and a.is_floating_point():
            assert (a - b).norm() <= tolerance * max(1.0, float(b.norm()))


# ---- i-RevNet ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("irevnet")
def test_irevnets_have_the_counts_of_the_released_code() -> None:
    assert parameters("irevnet") == 125_120_356
    assert parameters("irevnet", **CIFAR) == 6_274_826
    spec = archdsl.load("irevnet", contracts=False)
    assert sum(i.op in ("conv2d", "linear") for _, i in spec.instances) == 301


@pytest.mark.row("irevnet")
@pytest.mark.parametrize(
    "settings",
    [
        {"blocks": [3, 2], "strides": [2, 2], "widths": [24, 96]},
        {"blocks": [2, 2, 2], "strides": [1, 2, 2], "widths": [16, 64, 256], "shuffle": 1},
        {"blocks": [2, 1], "strides": [1, 1], "widths": [10, 20], "channels": 2, "shuffle": 2},
    ],
    ids=["bijective", "injective", "growing twice"],
)
def test_the_image_is_found_in_the_last_map(settings: dict[str, Any]) -> None:
    model = moved(built("irevnet", **settings, classes=5))
    x = torch.randn(2, settings.get("channels", 3), 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        logits, feature = model(x)
        assert logits.shape == (2, 5)
        assert (model.inverse(feature) - x).abs().max() < 1e-13 * max(10, float(feature.abs().max()))


@pytest.mark.row("irevnet")
@pytest.mark.slow
def test_a_hundred_couplings_are_undone() -> None:
    settings = {"blocks": [6, 16, 72, 6], "strides": [2, 2, 1, 2], "widths": [24, 96, 96, 384]}
    model = moved(built("irevnet", **settings, classes=5), 0.01)
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.inference_mode():
        assert (model.inverse(model(x)[1]) - x).abs().max() < 1e-12


@pytest.mark.row("irevnet")
def test_a_coupling_against_plain_torch() -> None:
    """Two couplings, the first striding: space to channels with the block's offsets outermost, F on the second half."""
    model = moved(built("irevnet", blocks=[2], strides=[2], widths=[24], classes=5))
    convs = [m for m in model.stages.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.stages.modules() if isinstance(m, nn.BatchNorm2d)]

    def psi(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(n, 4 * c, h // 2, w // 2)

    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    a, b = psi(x).chunk(2, 1)
    f = convs[2](norms[1](convs[1](norms[0](convs[0](b)).relu())).relu())
    a, b = psi(b), psi(a) + f
    f = convs[5](norms[4](convs[4](norms[3](convs[3](norms[2](b).relu())).relu())).relu())
    a, b = b, a + f
    logits, feature = model(x)
    assert (feature - torch.cat((a, b), 1)).abs().max() < 1e-12
    assert (logits - model.head(model.norm(feature).relu().mean((2, 3)))).abs().max() < 1e-12


@pytest.mark.row("irevnet")
@pytest.mark.parametrize("p", [0.0, 0.3])
def test_irevnet_keeps_little_and_gives_the_same_gradients(p: float) -> None:
    settings = {"blocks": [4, 4], "strides": [2, 2], "widths": [24, 96], "classes": 5, "p": p}
    mine, plain = both("irevnet", **settings)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    (a, small), (b, large) = step(mine, x), step(plain, x)
    same(a, b, 1e-9)
    assert small < large / 2
    deeper, _ = both("irevnet", **(settings | {"blocks": [8, 8]}))
    assert step(deeper, x)[1] == small


@pytest.mark.row("irevnet")
def test_no_inverse_is_made_of_what_loses_something() -> None:
    from archdsl.api import find

    text = find("irevnet").read_text()
    assert archdsl.parse(
        text.replace("expect params == 125_120_356", "expect invertible").partition("expect params")[0] + text[text.index("# (x, y)") :]
    )
    broken = text.replace("return b -> Shuffle(stride), f", "return b -> Shuffle(stride) -> relu, f")
    with pytest.raises(ArchError) as caught:
        archdsl.parse(broken.replace("expect params == 125_120_356", "expect invertible"), contracts=True)
    assert any(d.code == "AD0714" and "`relu` cannot be undone" in d.label for d in caught.value.diagnostics)


@pytest.mark.row("irevnet")
@pytest.mark.slow
def test_irevnet_learns() -> None:
    model = built("irevnet", "float32", blocks=[2, 2], strides=[1, 2], widths=[8, 32], shuffle=2, channels=1, classes=10)
    found, right = on_digits(model, 100, 64, enlarge=4, rate=0.01)
    assert fell(found, 0.3)
    assert right > 0.85


# ---- RevCol -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("revcol")
@pytest.mark.parametrize(
    ("settings", "count", "trained", "macs"),
    [
        ({}, 30_456_168, 33_063_984, 4.5),
        ({"columns": 8}, 60_568_424, 63_176_240, 9.0),
        ({"widths": [72, 144, 288, 576], "depths": [1, 1, 3, 2], "columns": 16}, 138_616_408, 141_694_960, 16.6),
    ],
    ids="TSB",
)
def test_revcols_have_the_published_figures(settings: dict[str, Any], count: int, trained: int, macs: float) -> None:
    assert parameters("revcol", **settings) == count
    assert parameters("revcol_trained", **settings) == trained
    assert round(gmacs("revcol", settings, H=224, W=224), 1) == macs


@pytest.mark.row("revcol")
def test_a_column_against_plain_torch() -> None:
    model = moved(built("revcol", **COLUMNS, columns=2))

    def norm(x: Tensor, m: nn.Module) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), (x.shape[1],), m.weight, m.bias, 1e-6).movedim(-1, 1)

    def blocks(x: Tensor, m: nn.Module) -> Tensor:
        for unit in (u for u in m.modules() if type(u).__name__.startswith("ConvNeXtUnit")):
            y = F.layer_norm(unit.depthwise(x).movedim(1, -1), (x.shape[1],), unit.norm.weight, unit.norm.bias, 1e-6)
            x = x + (unit.scale * unit.project(F.gelu(unit.expand(y)))).movedim(-1, 1)
        return x

    def level(c: Tensor | float, below: Tensor, above: Tensor | None, number: int, m: nn.Module) -> Tensor:
        end = "" if number == 0 else f"_{number + 1}"
        if number:
            down = getattr(m, "Down" if number == 1 else f"Down_{number}")
            below = norm(down.conv2d(below), down.layernorm)
        if above is not None:
            up = getattr(m, "Up" + end)
            below = below + F.interpolate(norm(up.conv2d(above), up.layernorm), scale_factor=2)
        return getattr(m, "Scaled" + end).alpha * c + blocks(below, getattr(m, "Blocks" + end))

    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    stem = norm(model.stem.conv2d(x), model.stem.layernorm)
    levels: list[Any] = [0.0] * 4
    for i, one in enumerate(model.columns):
        old, below = levels, stem
        levels = []
        for n in range(4):
            above = old[n + 1] if i and n < 3 else None
            below = level(old[n], below, above, n, one.Column)
            levels.append(below)
    pooled = F.layer_norm(levels[3].mean((2, 3)), (10,), model.head.layernorm.weight, model.head.layernorm.bias, 1e-6)
    assert (model(x) - model.head.linear(pooled)).abs().max() < 1e-11


@pytest.mark.row("revcol")
def test_columns_are_found_in_the_last() -> None:
    model = moved(built("revcol", **COLUMNS, columns=4))
    x = model.stem(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    states = [tuple(torch.zeros(2, c, 16 >> i, 16 >> i, dtype=x.dtype) for i, c in enumerate([4, 6, 8, 10]))]
    for one in model.columns:
        states.append(one(*states[-1], x))
    found = states[-1]
    for i in (3, 2, 1):
        found = model.columns[i].inverse(*found, x)
        for a, b in zip(found, states[i]):
            assert (a - b).abs().max() < 1e-11


@pytest.mark.row("revcol")
@pytest.mark.parametrize("p", [0.0, 0.4])
def test_revcol_gives_the_same_gradients(p: float) -> None:
    mine, plain = both("revcol", **COLUMNS, columns=4, p=p)
    x = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    same(step(mine, x)[0], step(plain, x)[0], 1e-10)


@pytest.mark.row("revcol")
def test_revcol_loses_to_single_precision_no_more_than_it_loses_to_double() -> None:
    """Each column found again doubles what was rounded and more: by how much, the same step in float64 tells."""
    specs, x = both("revcol", **COLUMNS, columns=4, p=0.4), torch.randn(4, 3, 64, 64)

    def apart(dtype: torch.dtype) -> float:
        mine, plain = (step(spec, x.to(dtype), by=0.0)[0] for spec in specs)
        assert [g is None for g in mine] == [g is None for g in plain]
        return max(off(a, b) for a, b in zip(mine, plain) if a is not None)

    double = apart(torch.float64)
    assert 0 < double < 1e-11
    assert apart(torch.float32) < carried(double, torch.float32)


@pytest.mark.row("revcol")
def test_what_revcol_keeps_does_not_grow_with_its_columns() -> None:
    x = torch.randn(2, 3, 64, 64)
    kept = {c: [step(s, x)[1] for s in both("revcol", **COLUMNS, columns=c)] for c in (2, 8)}
    assert kept[2][0] == kept[8][0]
    assert kept[8][1] > 3 * kept[2][1]
    assert kept[8][0] < kept[8][1] / 10


@pytest.mark.row("revcol")
def test_the_added_heads_exist_in_training_only() -> None:
    mine, plain = both("revcol_trained", **COLUMNS, p=0.2)
    x, label = torch.rand(3, 3, 64, 64, dtype=torch.float64), torch.tensor([0, 3, 4])
    same(step(mine, x, label)[0], step(plain, x, label)[0], 1e-9)
    model = moved(mine.build(dtype="float64"))
    model(x, label)
    assert collect_aux(model) == {}
    model.train()
    model(x, label)
    found = collect_aux(model)
    assert list(found) == [f"quarters.{q}.supervision" for q in range(3)]
    part = model.quarters[2].Supervision
    assert part.head.linear.weight.shape == (5, 10)


@pytest.mark.row("revcol")
@pytest.mark.slow
def test_revcol_learns() -> None:
    model = built(
        "revcol", "float32", **(COLUMNS | {"classes": 10, "widths": [8, 12, 16, 24], "depths": [1, 1, 1, 1]}), columns=3, channels=1
    )
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("scale"):
                p.fill_(0.1)
    found, right = on_digits(model, 80, 64, enlarge=4, rate=0.01)
    assert fell(found, 0.4)
    assert right > 0.8


@pytest.mark.row("revcol")
@pytest.mark.slow
def test_the_added_heads_learn_too() -> None:
    model = built("revcol_trained", "float32", **(COLUMNS | {"depths": [1, 1, 1, 1]}), channels=1, p=0.0)
    images = torch.rand(32, 1, 1, 1).expand(32, 1, 32, 32).contiguous()
    labels = (images[:, 0, 0, 0] * 5).long()

    def loss(m: nn.Module, _: Any) -> Tensor:
        main = F.cross_entropy(m(images, labels), labels)
        return main + sum(v.mean() for v in collect_aux(m).values())

    assert fell(losses(model, lambda _: None, loss, 60, 0.01), 0.8)
