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
    "audio/matchboxnet.arch": {"units": 2, "width": 8, "outer_width": 6, "channels": 4, "classes": 5},
    "audio/quartznet.arch": {
        "repeats": 1,
        "rounds": 2,
        "kernels": [3, 5],
        "widths": [4, 6],
        "last_width": 8,
        "groups": 2,
        "channels": 4,
        "classes": 5,
    },
    "coordinates/doh.arch": {"latent": 20, "hidden": 6, "depth": 2, "octaves": 2},
    "coordinates/mip_hypernet.arch": {"width": 4, "hidden": [3, 5, 6]},
    "dense/snn.arch": {"inputs": 8, "hidden": 6, "depth": 3, "classes": 5},
    "language/bert.arch": {"vocab": 11, "context": 16, "d": 16, "depth": 2, "heads": 2},
    "language/block_recurrent_transformer.arch": {
        "vocab": 11,
        "d": 16,
        "depth": 3,
        "heads": 2,
        "head": 8,
        "hidden": 24,
        "window": 4,
        "states": 3,
        "recurrent": 2,
    },
    "language/gam.arch": {"vocab": 11, "context": 16, "d": 16, "depth": 2, "slots": 5},
    "language/gla.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "hidden": 24},
    "language/gpt2.arch": {"vocab": 11, "context": 16, "d": 16, "depth": 2, "heads": 2},
    "language/hybrid.arch": {"vocab": 11, "d": 64, "depth": 2, "heads": 2},
    "language/llama2.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 24},
    "language/mamba.arch": {"vocab": 11, "d": 16, "depth": 2, "n": 3},
    "language/mamba2.arch": {"vocab": 11, "d": 16, "depth": 2, "n": 3, "p": 8},
    "language/mix_ln.arch": {"vocab": 11, "d": 16, "depth": 4, "heads": 2, "hidden": 24},
    "language/mor.arch": {"vocab": 11, "d": 16, "depth": 4, "loops": 2, "heads": 4, "kv_heads": 2, "hidden": 24},
    "language/pararnn.arch": {"vocab": 11, "d": 8, "depth": 2, "hidden": 12},
    "language/plm.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "latent": 6, "plain": 4, "turned": 2, "hidden": 24},
    "language/rela.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "hidden": 24},
    "language/remoe.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 8, "experts": 3},
    "language/resformer.arch": {"vocab": 11, "d": 16, "depth": 3, "heads": 2, "hidden": 24},
    "language/retnet.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "width": 24},
    "language/rmoe.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "hidden": 8, "experts": 3, "router": 6},
    "language/rwkv4.arch": {"vocab": 11, "d": 16, "depth": 2},
    "language/sambay.arch": {"vocab": 11, "depth": 8, "d": 16, "head": 4, "window": 4, "hidden": 24, "n": 3},
    "language/smollm2.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 24},
    "language/spikegpt.arch": {"vocab": 11, "d": 16, "depth": 2},
    "language/transformer.arch": {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "hidden": 24},
    "language/universal_transformer.arch": {"vocab": 11, "d": 16, "heads": 2, "steps": 2, "adaptive": True},
    "sequence/compressor.arch": {"vocab": 11, "length": 9, "d": 16, "depth": 1, "heads": 2},
    "spaces/expressions.arch": {},
    "spaces/hybrids.arch": {"vocab": 11, "d": 32, "heads": 2},
    "sequence/aaren.arch": {"d": 16, "depth": 2, "heads": 2, "hidden": 24},
    "sequence/dc_bilstm.arch": {"vocab": 11, "d": 8, "depth": 3, "narrow": 3, "wide": 4},
    "sequence/global_workspace.arch": {"digits": 10, "n": 6, "steps": 3},
    "sequence/gru_classifier.arch": {"vocab": 11, "d": 8, "n": 6},
    "sequence/lssl.arch": {"d": 6, "depth": 2, "n": 4, "channels": 2, "classes": 3},
    "sequence/multiresnet.arch": {"d": 6, "depth": 2, "k": 3, "levels": 3, "classes": 5},
    "sequence/pointer.arch": {"hidden": 6},
    "sequence/recurrent.arch": {"vocab": 11, "d": 8},
    "sequence/trellisnet.arch": {"vocab": 11, "d": 6, "hidden": 5, "levels": 3, "dilations": [1, 2]},
    "sequence/trm.arch": {"vocab": 11, "d": 16, "heads": 2, "n": 2, "cycles": 2},
    "operator/mgno.arch": {"depth": 2, "width": 4, "schedule": [[1, 1], [2, 0], [1, 0]], "residual": True, "mode": "circular"},
    "operator/mgno_flow.arch": {"size": 16, "depth": 2, "width": 4, "schedule": [[1, 0], [2, 0]]},
    "video/p3d.arch": {"blocks": [2, 2, 1, 1], "width": 4, "classes": 5},
    "video/trecvit.arch": {"patch": 8, "size": 16, "d": 8, "depth": 2, "heads": 2, "classes": 5},
    "vision/convnext.arch": {"widths": [4, 6, 8, 10], "depths": [1, 2, 1, 1], "classes": 5},
    "vision/densenet.arch": {"blocks": [2, 1, 2, 1], "growth": 4, "classes": 5},
    "vision/easter2.arch": {"stem": 6, "width": 8, "kernels": [3, 5], "drops": [0.1, 0.1], "tail": 10, "channels": 4, "classes": 5},
    "vision/efficientnet.arch": {"classes": 5},
    "vision/hornet.arch": {"width": 8, "depths": [1, 1, 1, 1], "grids": [None, 4, 3, None], "classes": 5},
    "vision/irevnet.arch": {"blocks": [1, 2], "strides": [2, 2], "widths": [24, 96], "classes": 5},
    "vision/lambda_resnet.arch": {"blocks": [1, 1, 1, 1], "width": 8, "k": 4, "heads": 2, "u": 2, "context": 3, "classes": 5},
    "vision/mixer.arch": {"patch": 8, "size": 32, "d": 8, "depth": 2, "token_hidden": 6, "channel_hidden": 10, "classes": 5},
    "vision/mobilenetv2.arch": {"classes": 5},
    "vision/preact_resnet.arch": {"n": 1, "width": 4, "classes": 5},
    "vision/prelu_net.arch": {"width": 4, "hidden": 12, "levels": [2, 1], "classes": 5},
    "vision/r2unet.arch": {"levels": 2, "width": 4},
    "vision/res2net.arch": {"blocks": [1, 1, 2, 1], "base": 8, "classes": 5},
    "vision/resnet.arch": {"width": 4, "classes": 5, "bottleneck": True, "groups": 2, "wide": 2},
    "vision/resnet_cifar.arch": {"n": 1, "width": 4, "classes": 5},
    "vision/revcol.arch": {"widths": [4, 6, 8, 10], "depths": [1, 1, 2, 1], "columns": 3, "classes": 5},
    "vision/revcol_trained.arch": {"widths": [4, 6, 8, 10], "depths": [1, 1, 1, 1], "columns": 4, "classes": 10},
    "vision/squeezenet.arch": {"classes": 5},
    "vision/sret.arch": {"size": 64, "width": 4, "heads": [1, 2, 4], "blocks": [1, 1, 1], "slices": [[2, 2], [1, 1], [1, 1]], "classes": 5},
    "vision/unet.arch": {"levels": 2, "width": 4},
    "vision/vgg.arch": {"stages": [1, 1, 2], "widths": [4, 6, 8], "size": 16, "hidden": 12, "classes": 5},
    "vision/vit.arch": {"patch": 8, "size": 32, "d": 8, "depth": 2, "heads": 2, "classes": 5},
    "vision/vit_max.arch": {"patch": 8, "size": 32, "d": 8, "depth": 2, "heads": 2, "classes": 5},
    "vision/wide_resnet.arch": {"depth": 10, "k": 2, "width": 4, "classes": 5},
}

SIZES = {"F": 16, "M": 4, "N": 9, "T": 9, "S": 7, "H": 32, "W": 32}


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
