"""Every spec of specs/ at a size that runs in milliseconds, and how to run one."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import archdsl
from archdsl.graph.sizes import evaluate

ROOT = Path(__file__).parents[2]
SPECS = ROOT / "specs"
HARD = ROOT / "tests" / "hard"

SMALL: dict[str, dict[str, Any]] = {
    "language/bert.arch": {"vocab": 11, "context": 16, "d": 16, "depth": 2, "heads": 2},
    "language/gla.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "hidden": 24},
    "language/gpt2.arch": {"vocab": 11, "context": 16, "d": 16, "depth": 2, "heads": 2},
    "language/hybrid.arch": {"vocab": 11, "d": 64, "depth": 2, "heads": 2},
    "language/llama2.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 24},
    "language/mamba.arch": {"vocab": 11, "d": 16, "depth": 2, "n": 3},
    "language/mamba2.arch": {"vocab": 11, "d": 16, "depth": 2, "n": 3, "p": 8},
    "language/retnet.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "width": 24},
    "language/rwkv4.arch": {"vocab": 11, "d": 16, "depth": 2},
    "language/smollm2.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 24},
    "language/transformer.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "hidden": 24},
    "sequence/aaren.arch": {"d": 16, "depth": 2, "heads": 2, "hidden": 24},
    "sequence/gru_classifier.arch": {"vocab": 11, "d": 8, "n": 6},
    "sequence/recurrent.arch": {"vocab": 11, "d": 8},
    "vision/convnext.arch": {"widths": [4, 6, 8, 10], "depths": [1, 2, 1, 1], "classes": 5},
    "vision/densenet.arch": {"blocks": [2, 1, 2, 1], "growth": 4, "classes": 5},
    "vision/efficientnet.arch": {"classes": 5},
    "vision/hornet.arch": {"width": 8, "depths": [1, 1, 1, 1], "classes": 5},
    "vision/mixer.arch": {"patch": 8, "size": 32, "d": 8, "depth": 2, "token_hidden": 6, "channel_hidden": 10, "classes": 5},
    "vision/mobilenetv2.arch": {"classes": 5},
    "vision/res2net.arch": {"blocks": [1, 1, 2, 1], "base": 8, "classes": 5},
    "vision/resnet.arch": {"width": 4, "classes": 5, "bottleneck": True, "groups": 2, "wide": 2},
    "vision/resnet_cifar.arch": {"n": 1, "width": 4, "classes": 5},
    "vision/squeezenet.arch": {"classes": 5},
    "vision/unet.arch": {"levels": 2, "width": 4},
    "vision/vgg.arch": {"stages": [1, 1, 2], "widths": [4, 6, 8], "size": 16, "hidden": 12, "classes": 5},
    "vision/vit.arch": {"patch": 8, "size": 32, "d": 8, "depth": 2, "heads": 2, "classes": 5},
}

SIZES = {"T": 9, "S": 7, "H": 32, "W": 32}


def files(folder: Path = SPECS) -> list[Path]:
    return sorted(folder.rglob("*.arch"))


def name(path: Path) -> str:
    return path.relative_to(SPECS if path.is_relative_to(SPECS) else HARD.parent).as_posix()


@cache
def spec(key: str) -> archdsl.Spec:
    """A spec at its small size; its contracts speak of other sizes."""
    if key.startswith("hard/"):
        return archdsl.load(HARD.parent / key, contracts=False)
    return archdsl.load(SPECS / key, contracts=False, **SMALL[key])


@cache
@torch.inference_mode(False)
def model(key: str) -> nn.Module:
    """Its module in float64, evaluation mode, parameters moved a little so that none is zero."""
    made = spec(key).build(dtype="float64").eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


def inputs(of: archdsl.Spec, batch: int = 2, **sizes: int) -> dict[str, Tensor]:
    """Random inputs; whole numbers fit every table (two kinds of segments)."""
    torch.manual_seed(0)
    known = SIZES | sizes
    given = {}
    for value in of.graph.root.inputs:
        shape = [batch, *(evaluate(s, known) if not isinstance(s, int) else s for s in value.type.sizes)]
        ids = torch.randint(0, 2 if value.name == "segments" else 10, shape)
        given[value.name] = ids if value.type.kind == "int" else torch.randn(*shape, dtype=torch.float64)
    return given


def first(out: Any) -> Tensor:
    """The first output."""
    return out if isinstance(out, Tensor) else out[0]
