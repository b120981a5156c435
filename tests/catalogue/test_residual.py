"""Residual image networks: ResNet, pre-activation ResNet, wide ResNet, Res2Net."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.api import find
from tests.catalogue.learning import built, fell, gmacs, losses, moved, on_digits, parameters

FIFTY = {"blocks": [3, 4, 6, 3], "bottleneck": True}


def parsed(text: str, **options: Any) -> archdsl.Spec:
    return archdsl.parse(f'import "std/convolution.arch"\n{text}', **options)


# ---- ResNet -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("resnet")
@pytest.mark.parametrize(
    ("settings", "count", "macs"),
    [
        ({}, 11_689_512, 1.81),
        ({"blocks": [3, 4, 6, 3]}, 21_797_672, 3.66),
        (FIFTY, 25_557_032, 4.09),
        (FIFTY | {"blocks": [3, 4, 23, 3]}, 44_549_160, 7.80),
        (FIFTY | {"blocks": [3, 8, 36, 3]}, 60_192_808, 11.51),
    ],
)
def test_resnet_has_the_published_figures(settings: dict[str, Any], count: int, macs: float) -> None:
    assert parameters("resnet", **settings) == count
    assert round(gmacs("resnet", settings, H=224, W=224), 2) == macs


@pytest.mark.row("resnet")
def test_cifar_resnets_have_the_published_counts() -> None:
    for n, printed in ((3, "0.27"), (5, "0.46"), (7, "0.66"), (9, "0.85"), (18, "1.7"), (200, "19.4")):
        assert f"{parameters('resnet_cifar', n=n) / 1e6:.{len(printed) - printed.index('.') - 1}f}" == printed


@pytest.mark.row("resnet")
@pytest.mark.slow
@pytest.mark.parametrize(("bottleneck", "early"), [(False, False), (True, False), (True, True)])
def test_published_resnets_load_by_name(bottleneck: bool, early: bool, tmp_path: Path) -> None:
    """A model of the transformers library, saved as published ones are, gives the same logits here."""
    transformers = pytest.importorskip("transformers")
    sizes = [8 * 2**i * (4 if bottleneck else 1) for i in range(4)]
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=sizes, depths=[1, 2, 1, 1], layer_type="bottleneck" if bottleneck else "basic", num_labels=5,
        downsample_in_bottleneck=early,
    )  # fmt: skip
    theirs = moved(transformers.ResNetForImageClassification(config))
    theirs.save_pretrained(tmp_path)
    settings = {"width": 8, "blocks": [1, 2, 1, 1], "bottleneck": bottleneck, "early": early, "classes": 5}
    ours = archdsl.load("resnet", contracts=False, **settings).build(weights=tmp_path).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(ours(x), theirs(x).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.row("resnet")
def test_the_shortcut_options() -> None:
    """A subsamples and pads, B projects where the shape changes, C everywhere; plain networks have none."""
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    short = parsed('arch A { in x: [4, H, W]; return x -> Shortcut(7, 2, "A") }').build(dtype="float64")
    assert torch.equal(short(x), F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 2)))
    kept = {option: parameters("resnet", shortcut=option) for option in ("none", "A", "B", "C")}
    projected = sum((64 * 2**i) * (64 * 2 ** (i + 1)) + 2 * 64 * 2 ** (i + 1) for i in range(3))
    assert kept["none"] == kept["A"] == kept["B"] - projected
    assert kept["C"] - kept["B"] == sum(n * ((64 * 2**i) ** 2 + 2 * 64 * 2**i) for i, n in enumerate([2, 1, 1, 1]))


@pytest.mark.row("resnet")
def test_basic_unit_against_plain_torch() -> None:
    unit = moved(parsed("arch A { in x: [4, H, W]; return x -> unit: BasicUnit(6, 2) }").build(dtype="float64"))
    w = {k.removeprefix("unit."): v for k, v in unit.state_dict().items()}

    def norm(x: Tensor, name: str) -> Tensor:
        return F.batch_norm(x, *(w[f"{name}.norm.{p}"] for p in ("running_mean", "running_var", "weight", "bias")))

    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    y = norm(F.conv2d(x, w["ConvNormAct.conv.weight"], stride=2, padding=1), "ConvNormAct").relu()
    y = norm(F.conv2d(y, w["ConvNorm.conv.weight"], padding=1), "ConvNorm")
    s = norm(F.conv2d(x, w["Shortcut.ConvNorm.conv.weight"], stride=2), "Shortcut.ConvNorm")
    assert (unit(x) - (y + s).relu()).abs().max() < 1e-12


@pytest.mark.row("resnet")
@pytest.mark.slow
def test_deep_plain_networks_learn_worse() -> None:
    """56 layers, 4 maps wide: after equal steps the training loss is clearly lower with shortcuts."""
    found = {}
    for shortcut in ("A", "none"):
        torch.manual_seed(0)
        model = built("resnet_cifar", "float32", n=9, width=4, shortcut=shortcut, channels=1)
        found[shortcut] = on_digits(model, 80, 64, rate=0.1, kind="sgd")[0]
    assert fell(found["A"], 0.5)
    assert sum(found["A"][-10:]) < 0.6 * sum(found["none"][-10:])


# ---- pre-activation ---------------------------------------------------------------------------------------------------------------


@pytest.mark.row("preact-resnet")
def test_preact_resnets_have_the_published_counts() -> None:
    assert parameters("preact_resnet") == 1_703_258  # ResNet-164; the paper prints 1.7M
    assert parameters("preact_resnet", n=111) == 10_327_706  # ResNet-1001; the paper prints 10.2M
    layers = [k for k, i in archdsl.load("preact_resnet", n=111).instances if i.op in ("conv2d", "linear") and "shortcut" not in k]
    assert len(layers) == 9 * 111 + 2


@pytest.mark.row("preact-resnet")
@pytest.mark.parametrize("bottleneck", [True, False])
def test_a_stage_of_silent_branches_is_the_identity(bottleneck: bool) -> None:
    model = moved(built("preact_resnet", n=3, width=4, bottleneck=bottleneck))
    stage = model.stages[1]
    for unit in list(stage.repeat)[1:]:
        nn.init.zeros_([m for m in unit.modules() if isinstance(m, nn.Conv2d)][-1].weight)
    x = torch.randn(2, 16 if bottleneck else 4, 8, 8, dtype=torch.float64, requires_grad=True)
    first = stage.repeat[0](x)
    rest = first
    for unit in list(stage.repeat)[1:]:
        rest = unit(rest)
    assert torch.equal(rest, first)
    point = first[:1, :2, :2, :2].detach().flatten()

    def body(p: Tensor) -> Tensor:
        whole = first[:1].detach().clone()
        whole[:, :2, :2, :2] = p.view(1, 2, 2, 2)
        for unit in list(stage.repeat)[1:]:
            whole = unit(whole)
        return whole[:, :2, :2, :2].flatten()

    assert torch.equal(torch.autograd.functional.jacobian(body, point), torch.eye(8, dtype=torch.float64))


@pytest.mark.row("preact-resnet")
@pytest.mark.parametrize(
    ("order", "wanted"),
    [
        ("full", lambda c, n, x: x + c[1](n[1](c[0](n[0](x).relu())).relu())),
        ("relu", lambda c, n, x: x + n[1](c[1](n[0](c[0](x.relu())).relu()))),
        ("before", lambda c, n, x: x + n[1](c[1](n[0](c[0](x)).relu())).relu()),
        ("after", lambda c, n, x: n[1](x + c[1](n[0](c[0](x)).relu())).relu()),
        ("original", lambda c, n, x: (x + n[1](c[1](n[0](c[0](x)).relu()))).relu()),
    ],
)
def test_the_orders_of_figure_4(order: str, wanted: Any) -> None:
    model = moved(built("preact_resnet", n=1, width=4, bottleneck=False, order=order))
    unit = model.stages[0].repeat[0].Unit
    convolutions = [m for m in unit.modules() if isinstance(m, nn.Conv2d)]
    norms = sorted(
        ((k, m) for k, m in unit.named_modules() if isinstance(m, nn.BatchNorm2d)), key=lambda p: order == "after" and p[0] == "batchnorm"
    )
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    assert (unit(x) - wanted(convolutions, [m for _, m in norms], x)).abs().max() < 1e-12


@pytest.mark.row("preact-resnet")
def test_the_shortcuts_of_figure_2() -> None:
    x, y = torch.randn(2, 2, 4, 5, 5, dtype=torch.float64)
    library = find("preact_resnet").read_text()
    for shortcut in ("identity", "half", "exclusive", "gate", "conv", "dropout"):
        text = f'arch A {{ in x: [4, H, W]; in y: [4, H, W]; return Sum("{shortcut}", -6.0)(x, y) }}'
        made = archdsl.parse(library + text, arch="A", contracts=False).build(dtype="float64").eval()
        weights = dict(made.named_parameters())
        conv = next((w for k, w in weights.items() if k.endswith("weight")), torch.zeros(4, 4, 1, 1, dtype=torch.float64))
        bias = next((w for k, w in weights.items() if k.endswith("bias")), None)
        g = torch.sigmoid(F.conv2d(x, conv, bias))
        wanted = {
            "identity": x + y, "half": 0.5 * x + y, "exclusive": (1 - g) * x + g * y, "gate": (1 - g) * x + y, "conv": F.conv2d(x, conv) + y,
            "dropout": x + y,
        }[shortcut]  # fmt: skip
        assert (made(x, y) - wanted).abs().max() < 1e-12


@pytest.mark.row("preact-resnet")
@pytest.mark.slow
def test_1001_layers_take_a_finite_step() -> None:
    model = built("preact_resnet", "float32", n=111, width=2)
    (found,) = losses(model, lambda _: torch.randn(4, 3, 8, 8), lambda m, x: F.cross_entropy(m(x), torch.arange(4)), 1, kind="sgd")
    assert torch.isfinite(torch.tensor(found))
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.row("preact-resnet")
@pytest.mark.slow
def test_a_halved_shortcut_stays_behind() -> None:
    """110 layers, 2 maps wide: pre-activation learns, with 0.5 x in place of x the signal of 54 units is gone."""
    found = {}
    for shortcut in ("identity", "half"):
        torch.manual_seed(0)
        model = built("preact_resnet", "float32", bottleneck=False, width=4, shortcut=shortcut, channels=1)
        found[shortcut] = on_digits(model, 60, 64, rate=0.05, kind="sgd")[0]
    assert fell(found["identity"], 0.5)
    assert sum(found["identity"][-6:]) < 0.6 * sum(found["half"][-6:])


# ---- wide -------------------------------------------------------------------------------------------------------------------------


def wide_count(depth: int, k: int, classes: int) -> int:
    """The paper's layout, counted by hand."""
    n, total, inside = (depth - 4) // 6, 3 * 16 * 9, 16
    for i in range(3):
        width = 16 * k * 2**i
        for j in range(n):
            total += 2 * inside + 9 * inside * width + 2 * width + 9 * width * width
            total += inside * width if inside != width or (j == 0 and i > 0) else 0
            inside = width
    return total + 2 * inside + inside * classes + classes


@pytest.mark.row("wrn")
def test_wide_resnets_have_the_published_counts() -> None:
    assert parameters("wide_resnet") == 36_479_194
    table = {(40, 1): "0.6", (40, 2): "2.2", (40, 4): "8.9", (40, 8): "35.7", (28, 10): "36.5", (28, 12): "52.5", (22, 8): "17.2",
             (22, 10): "26.8", (16, 8): "11.0", (16, 10): "17.1"}  # fmt: skip
    for (depth, k), printed in table.items():  # table 4 of the paper; it cuts 35.75 and 17.16, 17.17 down or up
        count = parameters("wide_resnet", depth=depth, k=k)
        assert count == wide_count(depth, k, 10)
        assert abs(count / 1e6 - float(printed)) < 0.1
    assert parameters("resnet", **(FIFTY | {"blocks": [3, 4, 23, 3], "wide": 2})) == 126_886_696


@pytest.mark.row("wrn")
def test_width_counts_squared_and_depth_counts_convolutions() -> None:
    counts = {k: parameters("wide_resnet", depth=28, k=k) for k in (2, 4, 8)}
    assert 3.9 < counts[4] / counts[2] < 4.1
    assert 3.9 < counts[8] / counts[4] < 4.1
    for depth in (16, 28, 40):
        spec = archdsl.load("wide_resnet", contracts=False, depth=depth, k=2)
        assert sum(i.op == "conv2d" for _, i in spec.instances) == depth  # 1 + 6 n + 3 strided 1x1


@pytest.mark.row("wrn")
def test_the_shortcut_sees_the_activated_input() -> None:
    unit = moved(parsed("arch A { in x: [4, H, W]; return x -> unit: PreActUnit(6, 2) }").build(dtype="float64"))
    w = dict(unit.unit.named_modules())
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    o = w["batchnorm"](x).relu()
    wanted = w["conv2d_2"](w["batchnorm_2"](w["conv2d"](o)).relu()) + w["shortcut"](o)
    assert (unit(x) - wanted).abs().max() < 1e-12


@pytest.mark.row("wrn")
@pytest.mark.slow
def test_wrn_10_1_learns_the_digits() -> None:
    _, right = on_digits(built("wide_resnet", "float32", depth=10, k=1, channels=1), 300, rate=0.05, kind="sgd")
    assert right > 0.95


# ---- Res2Net ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("res2net")
@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 25_699_120),
        ({"base": 14, "scale": 8}, 25_059_816),
        ({"scale": 6}, 37_051_448),
        ({"scale": 8}, 48_403_776),
        ({"base": 48, "scale": 2}, 25_287_304),
        ({"blocks": [3, 4, 23, 3]}, 45_206_688),
        ({"base": 4, "groups": 8}, 24_671_464),  # Res2NeXt-50
        ({"deep": True}, 25_718_352),  # v1b
    ],
)
def test_res2nets_have_the_released_counts(settings: dict[str, Any], count: int) -> None:
    assert parameters("res2net", **settings) == count


@pytest.mark.row("res2net")
def test_res2net_has_the_published_work() -> None:
    assert round(gmacs("res2net", {}, H=224, W=224), 1) == 4.3
    assert round(gmacs("res2net", {"scale": 8}, H=224, W=224), 1) == 8.3  # the card says 8.4, counting more than multiply-adds
    assert parameters("res2net", base=64, scale=1) == parameters("resnet", **FIFTY)


def parts(opening: str, stride: int = 1) -> nn.Module:
    library = find("res2net").read_text()
    text = f"arch A {{ in x: [12, H, W]; return x -> parts: Parts(3, 4, {stride}, {opening}, 1) }}"
    return archdsl.parse(library + text, arch="A", contracts=False).build(dtype="float64").eval()


@pytest.mark.row("res2net")
def test_a_groups_reach_grows_with_its_place() -> None:
    """An impulse in all groups is seen 3, 5 and 7 pixels wide by the first three, and 1 by the last."""
    model = parts("false")
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
    x = torch.zeros(1, 12, 15, 15, dtype=torch.float64)
    x[..., 7, 7] = 1
    widths = [
        (g.sum((0, 1, 2)) - model(torch.zeros_like(x)).chunk(4, 1)[i].sum((0, 1, 2))).abs() > 1e-9
        for i, g in enumerate(model(x).chunk(4, 1))
    ]
    assert [int(w.sum()) for w in widths] == [3, 5, 7, 1]


@pytest.mark.row("res2net")
@pytest.mark.parametrize("stride", [1, 2])
def test_without_cross_additions_it_is_a_grouped_convolution(stride: int) -> None:
    model = moved(parts("true", stride))
    units = [m for k, m in model.named_modules() if k.endswith("ConvNormAct")]
    weight = torch.cat([u.conv.weight for u in units])
    norms = [torch.cat([getattr(u.norm, p) for u in units]) for p in ("running_mean", "running_var", "weight", "bias")]
    x = torch.randn(2, 12, 8, 8, dtype=torch.float64)
    wanted = F.batch_norm(F.conv2d(x[:, :9], weight, stride=stride, padding=1, groups=3), *norms).relu()
    out = model(x)
    assert (out[:, :9] - wanted).abs().max() < 1e-12
    assert torch.allclose(out[:, 9:], F.avg_pool2d(x[:, 9:], 3, stride, 1))


@pytest.mark.row("res2net")
@pytest.mark.slow
def test_res2net_learns() -> None:
    found, right = on_digits(built("res2net", "float32", blocks=[1, 1, 1, 1], base=16, width=16, channels=1, classes=10), 60, 32, enlarge=4)
    assert fell(found, 0.3)
    assert right > 0.8
