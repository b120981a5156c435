"""Convolutions along one axis of a sound or a line of writing: QuartzNet, MatchboxNet, Easter2.0."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.training.ctc import ctc_loss, focal_ctc_loss, greedy_labels
from archdsl.training.tiles import KINDS, corrupt_tiles
from tests.catalogue.learning import built, fell, losses, moved, parameters

SMALL = {"repeats": 1, "rounds": 2, "kernels": [5, 7], "widths": [16, 16], "last_width": 24, "channels": 6}


def parsed(body: str) -> nn.Module:
    return archdsl.parse(f'import "std/convolution.arch"\narch A {{ {body} }}').build(dtype="float64")


def normed(x: Tensor, norm: nn.Module) -> Tensor:
    return F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps)


# ---- QuartzNet --------------------------------------------------------------------------------------------------------------------


def quartz_count(s: int, groups: int = 1) -> int:
    """The paper's table, counted by hand: 29 labels, batch norms unfolded."""
    total, inside = 64 * 33 + 64 * 256 + 512, 256
    for k, c in ((33, 256), (39, 256), (51, 512), (63, 512), (75, 512)):
        for _ in range(s):
            total += inside * k + inside * c // groups + 2 * c + 4 * (c * k + c * c // groups + 2 * c) + inside * c + 2 * c
            inside = c
    return total + 512 * 87 + 512 * 512 + 2 * 512 + 512 * 1024 + 2 * 1024 + 1025 * 29


@pytest.mark.row("quartznet")
def test_quartznets_have_the_published_figures() -> None:
    for s, printed in ((1, 6.7), (2, 12.8), (3, 18.9)):
        assert parameters("quartznet", repeats=s) == quartz_count(s)
        assert round(parameters("quartznet", repeats=s) / 1e6, 1) == printed
    assert parameters("quartznet", repeats=1) == 6_713_181
    for groups, printed in ((2, 12.1), (4, 8.7)):
        assert parameters("quartznet", groups=groups) == quartz_count(3, groups)
        assert round(quartz_count(3, groups) / 1e6, 1) == printed
    spec = archdsl.load("quartznet", contracts=False)
    norms = sum(i.weights["weight"].shape[0] for _, i in spec.instances if i.op == "batchnorm")
    assert abs(spec.parameters - norms - 18.8857e6) < 30_000  # folded, a norm leaves one bias per channel
    assert abs(spec.flops(T=128) / 1e9 - 2.4195) < 0.01


@pytest.mark.row("quartznet")
def test_padding_changes_no_frame_that_is_real() -> None:
    """In evaluation, and in training for the statistics too: padding counts for nothing."""
    model = moved(built("quartznet", **SMALL))
    x = torch.randn(3, 6, 40, dtype=torch.float64)
    lengths = torch.tensor([40, 23, 12])
    whole = model(x, lengths=lengths)
    for row, n in zip(range(3), lengths.tolist()):
        x[row, :, n:] = 1e3
        alone = model(x[row : row + 1, :, :n])
        assert alone.shape[-1] == math.ceil(n / 2)
        assert (whole[row : row + 1, :, : alone.shape[-1]] - alone).abs().max() < 1e-10
    model.train()
    first = model(x, lengths=lengths)
    x[1, :, 23:] = -5
    again = model(x, lengths=lengths)
    assert (first[1, :, :12] - again[1, :, :12]).abs().max() < 1e-10


@pytest.mark.row("quartznet")
def test_a_unit_against_plain_torch() -> None:
    model = moved(parsed("in x: [4, T]; return x -> unit: TimeChannelUnit(6, 5, 3, groups=2)"))
    x = torch.randn(2, 4, 11, dtype=torch.float64)
    y = x
    steps = [*model.unit.body, model.unit.last]
    for i, step in enumerate(steps):
        step = getattr(step, "TimeChannelConv", step)
        y = F.conv1d(y, step.depthwise.weight, padding=2, groups=y.shape[1])
        y = F.conv1d(y, step.pointwise.weight, groups=2).view(2, 2, 3, 11).transpose(1, 2).reshape(2, 6, 11)  # shuffled
        y = normed(y, step.norm)
        y = y.relu() if i + 1 < len(steps) else y
    shortcut = model.unit.shortcut
    wanted = (y + normed(F.conv1d(x, shortcut.conv.weight), shortcut.norm)).relu()
    assert (model(x) - wanted).abs().max() < 1e-12


def spelled(step: int, frames: int = 4, labels: int = 5, size: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tone patterns: each label is a loud channel for some frames, then a short silence. Features, targets, counts, lengths."""
    rng = torch.Generator().manual_seed(step)
    counts = torch.randint(2, 5, (size,), generator=rng)
    targets = torch.randint(labels, (size, 4), generator=rng)
    lengths = counts * 2 * frames
    x = 0.1 * torch.randn(size, 6, int(lengths.max()), generator=rng)
    for row in range(size):
        for i in range(int(counts[row])):
            at = 2 * frames * i
            x[row, targets[row, i], at : at + frames + 1] += 2
    return x, targets, counts, lengths


@pytest.mark.row("quartznet")
@pytest.mark.slow
def test_quartznet_learns_to_spell() -> None:
    model = built("quartznet", "float32", **SMALL, classes=6)

    def loss(m: nn.Module, b: Any) -> Tensor:
        x, targets, counts, lengths = b
        return ctc_loss(m(x, lengths=lengths), targets, counts, (lengths + 1) // 2).mean()

    found = losses(model, spelled, loss, 200, 0.01)
    assert fell(found, 0.1)
    x, targets, counts, lengths = spelled(10_000, size=64)
    with torch.inference_mode():
        read = greedy_labels(model.eval()(x, lengths=lengths), (lengths + 1) // 2)
    assert read == [t[:n].tolist() for t, n in zip(targets, counts)]


# ---- MatchboxNet ------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("matchboxnet")
def test_matchboxnets_have_the_published_counts() -> None:
    table = {(3, 1, 64): (77_214, 77), (3, 2, 64): (92_766, 93), (6, 2, 64): (138_846, 140)}
    for (units, rounds, width), (count, printed) in table.items():
        assert parameters("matchboxnet", units=units, rounds=rounds, width=width) == count
        assert abs(count / 1000 - printed) < 1.2
    kernels = [i.weights["weight"].shape[-1] for k, i in archdsl.load("matchboxnet").instances if k.endswith("depthwise")]
    assert kernels == [11, 13, 13, 15, 15, 17, 17, 29]


@pytest.mark.row("matchboxnet")
def test_a_separable_unit_is_one_dense_convolution() -> None:
    model = moved(parsed("in x: [4, T]; return x -> unit: TimeChannelConv(6, 5, stride=2, dilation=2, act=identity)"))
    deep, point = model.unit.depthwise.weight, model.unit.pointwise.weight
    dense = point * deep.squeeze(1)  # [out, in, k]
    x = torch.randn(2, 4, 17, dtype=torch.float64)
    assert (model(x) - normed(F.conv1d(x, dense, stride=2, padding=4, dilation=2), model.unit.norm)).abs().max() < 1e-12


@pytest.mark.row("matchboxnet")
def test_any_length_is_accepted() -> None:
    model = moved(built("matchboxnet", units=2, width=8, outer_width=6, channels=4, classes=5))
    for frames in (1, 2, 7, 128):
        assert model(torch.randn(2, 4, frames, dtype=torch.float64)).shape == (2, 5)


@pytest.mark.row("matchboxnet")
@pytest.mark.slow
def test_matchboxnet_tells_chirps_apart() -> None:
    """Tones that rise, fall or stay, as energy over 16 bands, in noise."""
    model = built("matchboxnet", "float32", rounds=1, width=16, outer_width=16, channels=16, classes=3)

    def chirps(step: int, size: int = 32) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(step)
        kind, start = torch.randint(3, (size,), generator=rng), 4 + 8 * torch.rand(size, 1, generator=rng)
        pitch = start + (kind - 1).unsqueeze(1) * 6 * torch.linspace(-0.5, 0.5, 40)
        bands = torch.arange(16.0).view(1, 16, 1)
        x = torch.exp(-((bands - pitch.unsqueeze(1)) ** 2)) + 0.2 * torch.randn(size, 16, 40, generator=rng)
        return x, kind

    found = losses(model, chirps, lambda m, b: F.cross_entropy(m(b[0]), b[1]), 100, 0.01)
    assert fell(found, 0.3)
    x, kind = chirps(10_000, 300)
    with torch.inference_mode():
        assert (model.eval()(x).argmax(1) == kind).float().mean() > 0.95


# ---- Easter2.0 --------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("easter2")
def test_easter2_has_the_published_counts() -> None:
    spec = archdsl.load("easter2")
    assert spec.parameters == 6_182_832
    moments = sum(w.shape[0] for _, i in spec.instances if i.op == "batchnorm" for n, w in i.weights.items() if n.startswith("running"))
    assert moments == 10_240
    assert spec.parameters + moments == 6_193_072


@pytest.mark.row("easter2")
def test_a_quarter_of_the_columns_comes_out() -> None:
    model = moved(built("easter2", stem=6, width=8, kernels=[3, 5], drops=[0.1, 0.1], tail=10, channels=4, classes=5))
    for columns in (1, 4, 5, 9, 31):
        assert model(torch.randn(2, 4, columns, dtype=torch.float64)).shape == (2, 5, math.ceil(columns / 4))


@pytest.mark.row("easter2")
def test_an_easter_unit_against_plain_torch() -> None:
    from archdsl.api import find

    text = find("easter2").read_text() + "arch A { in data: [4, T]; in old: [3, T]; return Unit(8, 5, 0.2, 4)(data, old) }"
    model = moved(archdsl.parse(text, arch="A", contracts=False).build(dtype="float64"))
    parts = [m for m in model.modules() if isinstance(m, nn.Conv1d | nn.BatchNorm1d)]
    convs, norms = [m for m in parts if isinstance(m, nn.Conv1d)], [m for m in parts if isinstance(m, nn.BatchNorm1d)]
    assert [m.momentum for m in norms] == [0.003] * 5
    data, old = torch.randn(2, 4, 9, dtype=torch.float64), torch.randn(2, 3, 9, dtype=torch.float64)

    def conv(i: int, x: Tensor) -> Tensor:
        return normed(F.conv1d(x, convs[i].weight, convs[i].bias, padding=convs[i].kernel_size[0] // 2), norms[i])

    kept = conv(0, old) + conv(1, data)
    y = conv(4, conv(3, conv(2, data).relu()).relu())
    squeeze, spread = (m for m in model.modules() if isinstance(m, nn.Linear))
    weights = torch.sigmoid(F.linear(F.linear(y.mean(2), squeeze.weight, squeeze.bias).relu(), spread.weight, spread.bias))
    out, handed = model(data, old)
    assert (handed - kept).abs().max() < 1e-12
    assert (out - (kept + y * weights.unsqueeze(2)).relu()).abs().max() < 1e-12


def all_paths(scores: Tensor, target: list[int], blank: int) -> float:
    """-log of the summed chance of every path that spells the target. scores [classes, T] are log chances."""
    total = 0.0
    for path in itertools.product(range(scores.shape[0]), repeat=scores.shape[1]):
        if [label for label, _ in itertools.groupby(path) if label != blank] == target:
            total += math.exp(sum(float(scores[label, t]) for t, label in enumerate(path)))
    return -math.log(total)


@pytest.mark.row("easter2")
@pytest.mark.parametrize("blank", [-1, 0])
def test_ctc_is_the_sum_over_all_paths(blank: int) -> None:
    logits = torch.randn(3, 4, 3, dtype=torch.float64)
    targets, counts = torch.tensor([[1, 2], [2, 2], [1, 0]]), torch.tensor([2, 2, 1])
    found = ctc_loss(logits, targets, counts, blank=blank)
    scores = logits.log_softmax(1)
    for row in range(3):
        wanted = all_paths(scores[row], targets[row, : counts[row]].tolist(), blank % 4)
        assert abs(float(found[row]) - wanted) < 1e-10
    focal = focal_ctc_loss(logits, targets, counts, blank=blank)
    assert (focal - 0.25 * (1 - (-found).exp()) ** 0.5 * found).abs().max() < 1e-12
    short = ctc_loss(logits, targets, counts, torch.tensor([2, 3, 1]), blank)
    assert abs(float(short[0]) - all_paths(scores[0, :, :2], [1, 2], blank % 4)) < 1e-10


@pytest.mark.row("easter2")
def test_greedy_reading_joins_repeats_and_leaves_blanks_out() -> None:
    path = torch.tensor([[0, 0, 3, 0, 1, 1, 3, 3], [3, 2, 2, 2, 3, 2, 1, 0]])
    logits = F.one_hot(path, 4).transpose(1, 2).double()
    assert greedy_labels(logits) == [[0, 0, 1], [2, 2, 1, 0]]
    assert greedy_labels(logits, torch.tensor([3, 6])) == [[0], [2, 2]]


@pytest.mark.row("easter2")
@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("kind", KINDS)
def test_tiling_and_corruption(kind: Any, axis: int) -> None:
    image = 0.2 + 0.5 * torch.rand(1, 80, 300)
    same, tiles = corrupt_tiles(image, 0.0, kind=kind, axis=axis)
    assert torch.equal(same, image)
    assert not any(lost for _, _, lost in tiles)
    out, tiles = corrupt_tiles(image, 1.0, (10, 30), kind, axis)
    ends = [0, *(end for _, end, _ in tiles)]
    assert [begin for begin, _, _ in tiles] == ends[:-1]
    assert ends[-1] == image.shape[axis]
    assert all(10 <= end - begin <= 30 for begin, end, _ in tiles[:-1])
    for begin, end, lost in tiles:
        assert lost
        assert not torch.equal(out.narrow(axis, begin, end - begin), image.narrow(axis, begin, end - begin))
    some = [
        lost for seed in range(40) for *_, lost in corrupt_tiles(image, 0.2, (10, 10), kind, axis, torch.Generator().manual_seed(seed))[1]
    ]
    assert abs(sum(some) / len(some) - 0.2) < 0.06


@pytest.mark.row("easter2")
@pytest.mark.slow
def test_easter2_learns_strokes() -> None:
    """Lines of strokes in one of five heights, six columns apart, some tiles lost."""
    model = built("easter2", "float32", stem=12, width=16, kernels=[5, 5], drops=[0.0, 0.0], tail=24, tail_k=3, channels=6, classes=6)

    def lines(step: int, size: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, targets, counts, lengths = spelled(step, 6, size=size)
        rng = torch.Generator().manual_seed(step)
        return torch.stack([corrupt_tiles(row, 0.02, (2, 3), "black", generator=rng)[0] for row in x]), targets, counts, lengths

    def loss(m: nn.Module, b: Any) -> Tensor:
        return focal_ctc_loss(m(b[0], lengths=b[3]), b[1], b[2], (b[3] + 3) // 4).mean()

    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.momentum = 0.1  # few steps
    assert fell(losses(model, lines, loss, 250, 0.01), 0.1)
    x, targets, counts, lengths = spelled(10_000, 6, size=64)
    with torch.inference_mode():
        read = greedy_labels(model.eval()(x, lengths=lengths), (lengths + 3) // 4)
    assert sum(r == t[:n].tolist() for r, t, n in zip(read, targets, counts)) >= 58
