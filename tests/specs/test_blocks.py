"""Every block of the library in use: it builds, runs forward and backward, and decodes where it is causal."""

from __future__ import annotations

import pytest
import torch

import archdsl
from archdsl.diagnostics import Source
from archdsl.language.parser import parse
from archdsl.language.syntax import BlockDecl
from tests.specs.small import SPECS, first

SEQUENCE = "[T, 8]"
MAP = "[8, 8, 8]"
USES: dict[str, tuple[str, ...]] = {
    SEQUENCE: (
        "residual(linear(8))", "Attention(2)", "Attention(4, 1, window=3)", "SelfAttention(2)", "SwiGLU(6)", "FFN(6)", "AlibiAttention(2)",
        "NormedAttention(2, head=6)", "DifferentialAttention(2)", "LatentAttention(2, 4, 3, 2)", "LatentAttention(2, 4, 3, 2, q_latent=5, absorbed=true)",
        "RectifiedAttention(2, causal=true)", "GatedRMSNorm", "Laurel(linear(8), 2)", "LaurelNormed(linear(8), 2)",
        "AverageBiasedReLU", "ConcatReLU", "PairedReLU", "Maxout", "RandomizedReLU", "PolyNorm", "VeLU", "StochasticActivation", "AlphaDropout",
        "EncoderLayer(2, 6)", "DecoderLayer(2, 6)",
        "PreNorm(linear(8))", "PostNorm(linear(8))", "Sandwich(linear(8))", "DeepNorm(linear(8), 2.0)", "ReZero(linear(8))",
        "LayerScale(linear(8))", "StochasticDepth(linear(8), 0.5)", "Highway(linear(8))", "GatedResidual(linear(8))",
        "GatedTransformerResidual(linear(8))", "Parallel(Attention(2), FFN(6))",
        "gate", "HalfGate", "GatedFFN(6)", "GLU(6)", "Bilinear(6)", "ReGLU(6)", "GEGLU(6)",
        "BlockDiagonal(2)", "GatedLinearAttention(2)", "Retention(2)", "Mamba(n=3)", "Mamba2(n=3, p=4)", "DeltaNet(2)", "Aaren(2)", "Shifted", "TimeMix",
        "ChannelMix(6)", "MultiresConv(3, 2)", "MultiresConv(2, 3, memory=7)",
    ),
    MAP: (
        "SqueezeExcite(2)", "EfficientChannelAttention", "ConvNormAct(6)", "ConvNorm(6, 1)", "DoubleConv(6)", "SeparableConv(6, 5, 2)",
        "Shortcut(6, 2)", "BasicUnit(8)", "BottleneckUnit(2)", "BottleneckUnit(4, 2, groups=2)", "PreActUnit(8)", "PreActUnit(6, 2)",
        "InvertedResidual(8)", "InvertedResidual(6, 5, 2, squeeze=1/4, act=silu)", "ConvNeXtUnit", "Inception(2, 2, 3, 2, 3, 1)", "DenseLayer(4)",
        "Shortcut(12, 2, \"A\")", "BasicUnit(6, 2, none)", "BottleneckUnit(2, 2, early=true)", "BottleneckUnit(2, 2, space=MeanSpace)",
        "MaxSpace(8)", "MeanSpace(6, 3, 2)",
    ),
    "[5, 8]": ("SpatialGate(5)", "TimeChannelConv(6, 3, groups=1)", "TimeChannelUnit(6, 3, 2)"),
}  # fmt: skip
PAIRS = ("CrossAttention(2)", "CrossDecoderLayer(2, 6)", "GMU")
IMPORTS = "".join(f'import "std/{f}.arch"\n' for f in ("transformer", "residual", "gates", "mixers", "convolution", "units"))
# Drawn anew at every call, or with inputs of a form of their own: tests/catalogue has them.
ELSEWHERE = {"SiluOrRelu", "StraightThrough", "StochasticTimesSmooth", "NoisyReLU", "Fire", "ConditionalFFN", "LaurelPast"}
ALL = [(shape, use) for shape, uses in USES.items() for use in uses]


def test_the_table_names_every_block() -> None:
    blocks = {
        d.name
        for p in (SPECS / "std").glob("*.arch")
        for d in parse(Source(p.name, p.read_text())).declarations
        if isinstance(d, BlockDecl)
    }
    assert {use.split("(")[0] for use in [*(u for _, u in ALL), *PAIRS]} == blocks - ELSEWHERE


@pytest.mark.parametrize(("shape", "use"), ALL, ids=[u for _, u in ALL])
def test_block(shape: str, use: str) -> None:
    of = archdsl.parse(f"{IMPORTS}arch A {{ in x: {shape}; return x -> it: {use} }}")
    model = of.build(dtype="float64").eval()
    size = {SEQUENCE: (6, 8), MAP: (8, 8, 8)}.get(shape, (5, 8))
    x = torch.randn(2, *size, dtype=torch.float64, requires_grad=True)
    out = model(x)
    assert tuple(out.shape[1:]) == tuple(s if isinstance(s, int) else 6 for s in of.graph.root.outputs[0].type.sizes)
    (out * torch.randn_like(out)).sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []
    if of.causality.decodable:
        with torch.inference_mode():
            read, state = model.prefill(x[:, :2])
            rest, _ = model.step(x[:, 2:], state)
            assert (torch.cat([read, rest], 1) - model(x)).abs().max() < 1e-10


def test_only_the_encoder_parts_look_ahead() -> None:
    def ahead(use: str) -> bool:
        return not archdsl.parse(f"{IMPORTS}arch A {{ in x: [T, 8]; return x -> {use} }}").causality.causal

    assert [u for u in USES[SEQUENCE] if ahead(u)] == ["SelfAttention(2)", "AverageBiasedReLU", "VeLU", "EncoderLayer(2, 6)"]


@pytest.mark.parametrize("use", PAIRS)
def test_block_with_a_memory(use: str) -> None:
    rows = "T" if use == "GMU" else "S"
    of = archdsl.parse(f"{IMPORTS}arch A {{ in x: [T, 8]; in memory: [{rows}, 6]; return {use}(x, memory) }}")
    model = of.build(dtype="float64").eval()
    x, memory = torch.randn(2, 6, 8, dtype=torch.float64), torch.randn(2, 6, 6, dtype=torch.float64)
    out = first(model(x, memory))
    assert out.shape == x.shape
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
