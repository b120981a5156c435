"""Parameter-free layers: pools where convolutions or attention stood."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import archdsl
from tests.catalogue.learning import built, fell, gmacs, moved, on_digits, parameters

FIFTY = {"blocks": [3, 4, 6, 3], "bottleneck": True}
R50_MAX = """
import "std/convolution.arch"
arch R50Max(classes = 1000) {
    in image: [3, H, W] where H % 32 == 0 and W % 32 == 0
    return image -> stem: ConvNormAct(64, 7, 2) -> maxpool2d(3, stride=2, padding=1)
        -> stages: repeat i in 0..4 { repeat j in 0..[3, 4, 6, 3][i] { Unit(64 * 2 ** i, if i > 0 and j == 0 then 2 else 1) } }
        -> mean(axis=[1, 2]) -> fc: linear(classes)
}
block Unit(c, stride) {
    in x: [..]
    y = x -> ConvNormAct(c, 1) -> maxpool2d(3, stride=stride, padding=1) -> ConvNorm(4 * c, 1)
    return relu(y + (x -> Shortcut(4 * c, stride)))
}
"""


@pytest.mark.row("pflayer")
def test_pooling_resnets_have_the_published_figures() -> None:
    resnet = parameters("resnet", **FIFTY)
    pooled = parameters("resnet", **FIFTY, space="MaxSpace")
    removed = sum(n * (9 * (64 * 2**i) ** 2 + 2 * 64 * 2**i) for i, n in enumerate([3, 4, 6, 3]))
    assert (resnet, pooled) == (25_557_032, 14_232_232) == (resnet, resnet - removed)
    assert parameters("resnet", **FIFTY, space="MeanSpace") == 17_330_600
    assert round(gmacs("resnet", FIFTY | {"space": "MaxSpace"}, H=224, W=224), 1) == 2.2
    assert round(gmacs("resnet", FIFTY | {"space": "MeanSpace"}, H=224, W=224), 1) == 2.6


@pytest.mark.row("pflayer")
def test_replacing_the_convolutions_gives_the_pooling_network() -> None:
    """Another `space` in every bottleneck of resnet.arch is the network written out with pools."""
    replaced = archdsl.load("resnet", contracts=False, **FIFTY, space="MaxSpace")
    written = archdsl.parse(R50_MAX)
    assert replaced.structure_hash == written.structure_hash
    assert replaced.structure_hash != archdsl.load("resnet", contracts=False, **FIFTY).structure_hash
    (choice,) = {d.options for _, d in archdsl.load("resnet", contracts=False, **FIFTY).decisions}
    assert choice == ("ConvNormAct", "MaxSpace", "MeanSpace")  # what a search may take


@pytest.mark.row("pflayer")
def test_vit_max_against_plain_torch() -> None:
    assert parameters("vit_max") == 23_819_368
    each = [12 * d * d + 13 * d + (2 * d * d if i % 2 else 0) for d in (192,) for i in range(12)]
    assert parameters("vit_max", d=192, heads=3) == sum(each) + 768 * 192 + 192 + 196 * 192 + 2 * 192 + 192 * 1000 + 1000
    model = moved(built("vit_max", patch=4, size=16, d=8, depth=2, heads=2, classes=5))
    block = next(m for m in model.modules() if type(m).__name__ == "PoolMix")
    x = torch.randn(2, 16, 8, dtype=torch.float64)
    y = F.gelu(F.linear(x, block.widen.weight, block.widen.bias)).transpose(1, 2).reshape(2, 24, 4, 4)
    y = F.gelu(F.max_pool2d(y, 3, 1, 1).flatten(2).transpose(1, 2))
    assert (block(x) - F.linear(y, block.narrow.weight, block.narrow.bias)).abs().max() < 1e-12


@pytest.mark.row("pflayer")
@pytest.mark.slow
@pytest.mark.parametrize("space", ["MaxSpace", "MeanSpace"])
def test_pooling_networks_learn(space: str) -> None:
    model = built("resnet", "float32", blocks=[1, 1, 1, 1], bottleneck=True, width=16, space=space, channels=1, classes=10)
    found, right = on_digits(model, 100, 32, enlarge=4)
    assert fell(found, 0.4)
    assert right > 0.7


@pytest.mark.row("pflayer")
@pytest.mark.slow
def test_vit_max_learns() -> None:
    found, right = on_digits(
        built("vit_max", "float32", patch=2, size=8, d=48, depth=2, heads=2, channels=1, classes=10), 200, 64, rate=0.003
    )
    assert fell(found, 0.4)
    assert right > 0.8
