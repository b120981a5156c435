"""Convolutional rows: HorNet, pseudo-3D networks, multiresolution memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.api import find
from tests.catalogue.learning import built, fell, gmacs, losses, moved, on_digits, parameters


def part(name: str, text: str) -> nn.Module:
    """An arch made of the blocks of a spec file: the last one of the text."""
    return archdsl.parse(find(name).read_text() + text, contracts=False).build(dtype="float64").eval()


# ---- HorNet -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("hornet")
@pytest.mark.parametrize(
    ("settings", "count", "macs"),
    [
        ({}, 22_409_512, 4.0),
        ({"width": 96}, 49_528_264, 8.8),
        ({"width": 128}, 87_256_680, 15.6),
        ({"grids": [None, None, 14, 7]}, 22_991_848, 3.9),
        ({"width": 96, "grids": [None, None, 14, 7]}, 50_401_768, 8.7),
        ({"width": 192, "grids": [None, None, 24, 12]}, 201_806_824, None),
    ],
)
def test_hornets_have_the_released_figures(settings: dict[str, Any], count: int, macs: float | None) -> None:
    assert parameters("hornet", **settings) == count
    assert macs is None or round(gmacs("hornet", settings, H=224, W=224), 1) == macs


def gated(order: int, grid: str = "none") -> nn.Module:
    return part("hornet", f"arch A {{ in x: [32, H, W]; return x -> it: GatedConv({order}, {grid}) }}")


@pytest.mark.row("hornet")
@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_an_order_n_convolution_is_of_degree_n_plus_one(order: int) -> None:
    model = moved(gated(order))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias"):
                p.zero_()
    x = torch.randn(2, 32, 8, 8, dtype=torch.float64)
    for t in (0.5, -2.0):
        assert torch.allclose(model(t * x), t ** (order + 1) * model(x), rtol=1e-10)


@pytest.mark.row("hornet")
def test_order_one_is_a_plain_gated_convolution_and_order_three_its_recursion() -> None:
    for order in (1, 3):
        model = moved(gated(order))
        conv = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        start, depthwise, last, rounds = conv[0], conv[1], next(c for c in conv[2:] if c.weight.shape[:2] == (32, 32) and c.groups == 1), []
        rounds = [c for c in conv[2:] if c is not last]
        widths = [32 // 2 ** (order - 1 - k) for k in range(order)]
        x = torch.randn(2, 32, 8, 8, dtype=torch.float64)
        p, q = start(x).split([widths[0], sum(widths)], 1)
        parts = (depthwise(q) / 3).split(widths, 1)
        y = p * parts[0]
        for k, c in enumerate(sorted(rounds, key=lambda c: c.weight.shape[0])):
            y = c(y) * parts[k + 1]
        if order == 1:
            y = p * parts[0]
        assert (model(x) - last(y)).abs().max() < 1e-12


@pytest.mark.row("hornet")
@pytest.mark.parametrize("size", [8, 12])
def test_the_global_local_filter_against_plain_torch(size: int) -> None:
    """Also where the map is larger than the filter's grid: the filter is stretched, its corners staying."""
    model = moved(part("hornet", "arch A { in x: [6, H, W]; return x -> it: GlobalLocalFilter(8) }"))
    w = {k.removeprefix("it."): v for k, v in model.state_dict().items()}
    x = torch.randn(2, 6, size, size, dtype=torch.float64)

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), (6,), w[f"{name}.weight"], w[f"{name}.bias"], 1e-6).movedim(-1, 1)

    near, far = norm(x, "layernorm").chunk(2, 1)
    grid = F.interpolate(w["weight"][None], (size, size // 2 + 1), mode="bilinear", align_corners=True)[0]
    far = torch.fft.irfft2(torch.fft.rfft2(far, norm="ortho") * torch.complex(grid[:3], grid[3:]), s=(size, size), norm="ortho")
    near = F.conv2d(near, w["conv2d.weight"], padding=1, groups=3)
    assert (model(x) - norm(torch.stack((near, far), 2).flatten(1, 2), "layernorm_2")).abs().max() < 1e-12


@pytest.mark.row("hornet")
@pytest.mark.slow
@pytest.mark.parametrize("grids", [[None] * 4, [None, None, 2, 1]], ids=["7x7", "GF"])
def test_hornet_learns(grids: list[int | None]) -> None:
    model = built("hornet", "float32", width=16, depths=[1, 1, 1, 1], grids=grids, channels=1, classes=10)
    with torch.no_grad():  # layers start at a millionth, meant for long training
        for name, p in model.named_parameters():
            if name.endswith(("first", "scale")):
                p.fill_(0.1)
    found, right = on_digits(model, 80, 32, enlarge=4, rate=0.005)
    assert fell(found, 0.4)
    assert right > 0.8


# ---- pseudo-3D --------------------------------------------------------------------------------------------------------------------


@pytest.mark.row("p3d")
def test_p3ds_have_the_counts_of_the_released_port() -> None:
    assert parameters("p3d") == 25_745_232
    assert parameters("p3d", blocks=[3, 4, 23, 3]) == 48_088_400
    assert parameters("p3d", blocks=[3, 8, 36, 3]) == 66_492_240
    assert parameters("p3d", channels=2, classes=101) == 25_745_232 - 64 * 49 - 299 * 2049  # optical flow, UCF-101


@pytest.mark.row("p3d")
@pytest.mark.parametrize("wiring", ["A", "B", "C", "Space"])
def test_the_three_wirings(wiring: str) -> None:
    model = moved(part("p3d", f"arch Alone {{ in x: [4, F, H, W]; return x -> it: {wiring}(4, 3, 1) }}"))
    units = [m for m in model.modules() if hasattr(m, "conv")]
    x = torch.randn(2, 4, 6, 5, 5, dtype=torch.float64)
    assert [u.conv.weight.shape[2:] for u in units] == [(1, 3, 3), (3, 1, 1)][: 1 if wiring == "Space" else 2]
    space, time = (units * 2)[:2]
    s = space(x)
    wanted = {"A": lambda: time(s), "B": lambda: s + time(x), "C": lambda: s + time(s), "Space": lambda: s}[wiring]()
    assert (model(x) - wanted).abs().max() < 1e-12


@pytest.mark.row("p3d")
def test_wirings_alternate_along_the_whole_depth() -> None:
    def found(spec: Any) -> str:
        names = [r.name for _, i in spec.instances if (r := i.region) is not None and r.name in ("A", "B", "C", "Space")]
        # a wiring is followed by the Space it holds
        return "".join(n for n, before in zip(names, ["", *names]) if n != "Space" or before == "Space")

    spec = archdsl.load("p3d", contracts=False)
    assert found(spec) == ("ABC" * 5)[:13] + "Space" * 3


UNIT = "BottleneckUnit(4, [1, 2, 2], early=true, space={}, conv=conv3d)"


@pytest.mark.row("p3d")
def test_an_inflated_bottleneck_sees_a_still_video_frame_by_frame() -> None:
    """With the identity as convolution in time, variant A on equal frames is the 2-D bottleneck on each."""
    video = moved(part("p3d", f"arch Alone {{ in x: [8, F, H, W]; return x -> it: {UNIT.format('A')} }}"))
    text = 'import "std/convolution.arch"\narch Alone { in x: [8, H, W]; return x -> it: BottleneckUnit(4, 2, early=true) }'
    still = moved(archdsl.parse(text).build(dtype="float64"))
    ours, theirs = ([m for m in model.modules() if hasattr(m, "conv")] for model in (video, still))
    time = ours.pop(2)
    with torch.no_grad():
        for a, b in zip(ours, theirs, strict=True):
            for value, given in zip([*a.parameters(), *a.buffers()], [*b.parameters(), *b.buffers()], strict=True):
                value.copy_(given.view_as(value))
        time.conv.weight.zero_()
        time.conv.weight[range(4), range(4), 1] = 1
        time.norm.weight.fill_((1 + time.norm.eps) ** 0.5)
        time.norm.bias.zero_()
        time.norm.running_mean.zero_()
        time.norm.running_var.fill_(1)
    x = torch.randn(2, 8, 6, 6, dtype=torch.float64)
    out = video(x.unsqueeze(2).expand(-1, -1, 5, -1, -1))
    assert (out - still(x).unsqueeze(2)).abs().max() < 1e-12


@pytest.mark.row("p3d")
def test_the_last_stage_folds_time_into_the_batch() -> None:
    model = moved(part("p3d", f"arch Alone {{ in x: [8, F, H, W]; return x -> it: {UNIT.format('Space')} }}"))
    x = torch.randn(2, 8, 3, 6, 6, dtype=torch.float64)
    folded = x.transpose(1, 2).reshape(6, 8, 1, 6, 6)
    assert torch.allclose(model(x).transpose(1, 2).reshape(6, 16, 1, 3, 3), model(folded), rtol=0, atol=1e-12)


@pytest.mark.row("p3d")
@pytest.mark.slow
def test_p3d_learns_which_way_things_move() -> None:
    model = built("p3d", "float32", blocks=[1, 1, 1, 1], width=8, p=0.0, channels=1, classes=2)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        rng = torch.Generator().manual_seed(step)
        way, start = torch.randint(2, (16,), generator=rng), torch.randint(8, 24, (16,), generator=rng)
        video = torch.zeros(16, 1, 16, 32, 32)
        for i in range(16):
            for t in range(16):
                at = int(start[i] + (t - 8) * (2 * way[i] - 1)) % 32
                video[i, 0, t, :, at : at + 3] = 1
        return video, way

    found = losses(model, batch, lambda m, b: F.cross_entropy(m(b[0]), b[1]), 40, 0.01)
    assert fell(found, 0.5)


# ---- multiresolution memory -------------------------------------------------------------------------------------------------------


def memory(k: int, levels: int, size: str = "none", d: int = 3) -> Any:
    text = f'import "std/mixers.arch"\narch A {{ in x: [T, {d}]; return x -> it: MultiresConv({k}, {levels}, {size}) }}\nexpect causal'
    return archdsl.parse(text).build(dtype="float64").eval()


@pytest.mark.row("multiresnet")
def test_multiresnet_has_the_count_of_the_released_code() -> None:
    assert parameters("multiresnet") == 1_365_514
    for d, depth, k, levels, channels, classes in ((256, 10, 2, 10, 3, 10), (128, 6, 2, 10, 12, 5), (128, 10, 4, 10, 1, 10)):
        layer = d * (2 * k + levels + 2) + 2 * d * (d + 1) + 2 * d
        wanted = (channels + 1) * d + depth * layer + (d + 1) * classes
        assert parameters("multiresnet", d=d, depth=depth, k=k, levels=levels, channels=channels, classes=classes) == wanted


def reference(x: Tensor, low: Tensor, high: Tensor, mix: Tensor, levels: int, size: int | None) -> Tensor:
    """The paper's two selections, on [B, T, d], written with loops over taps."""
    k = low.shape[-1]
    m = mix.shape[1] - 1

    def past(v: Tensor, n: int) -> Tensor:
        return F.pad(v, (0, 0, n, 0))[:, : v.shape[1]]

    def filtered(v: Tensor, h: Tensor, dilation: int) -> Tensor:
        return sum(h[:, 0, k - 1 - j] * past(v, j * dilation) for j in range(k))

    details, smooth = [], x
    for i in range(levels):
        details.append(filtered(smooth, high, 2**i))
        smooth = filtered(smooth, low, 2**i)
    y = x * mix[:, m] + smooth * mix[:, 0]
    used, width = 1, 1
    for n, detail in enumerate(reversed(details)):
        if size is None:
            y = y + detail * mix[:, n + 1]
            continue
        width = min(width, m - used)
        if width <= 0:
            break
        y = y + sum(mix[:, used + j] * past(detail, j * 2 ** (levels - n)) for j in range(width))
        used, width = used + width, 2 * (width - 1) + k
    return y


@pytest.mark.row("multiresnet")
@pytest.mark.parametrize(("k", "levels", "size"), [(2, 4, None), (3, 3, None), (2, 5, 13), (4, 3, 6), (3, 3, 30)])
def test_the_tree_against_plain_torch(k: int, levels: int, size: int | None) -> None:
    model = memory(k, levels, "none" if size is None else str(size))
    w = {n.rpartition(".")[2]: p for n, p in model.named_parameters()}
    assert sum(p.numel() for p in model.parameters()) == 3 * (2 * k + (levels + 2 if size is None else size + 1))
    x = torch.randn(2, 25, 3, dtype=torch.float64)
    assert (model(x) - reference(x, w["low"], w["high"], w["mix"], levels, size)).abs().max() < 1e-12


@pytest.mark.row("multiresnet")
@pytest.mark.parametrize("size", ["none", "13"])
def test_step_by_step_is_the_whole_and_both_are_linear(size: str) -> None:
    model = memory(2, 4, size)
    x, y = torch.randn(2, 2, 40, 3, dtype=torch.float64)
    with torch.inference_mode():
        out, state = model.prefill(x[:, :7])
        parts = [out]
        for t in range(7, 40):
            out, state = model.step(x[:, t : t + 1], state)
            parts.append(out)
        assert (torch.cat(parts, 1) - model(x)).abs().max() < 1e-12
        assert (model(2 * x - 3 * y) - 2 * model(x) + 3 * model(y)).abs().max() < 1e-12


@pytest.mark.row("multiresnet")
def test_only_the_receptive_field_is_seen() -> None:
    k, levels = 3, 3
    reach = (k - 1) * (2**levels - 1)  # positions back
    x = torch.randn(1, 40, 3, dtype=torch.float64, requires_grad=True)
    memory(k, levels)(x)[0, 30].sum().backward()
    seen = x.grad.abs().sum((0, 2)).nonzero().flatten()
    assert seen.min() == 30 - reach
    assert seen.max() == 30


@pytest.mark.row("multiresnet")
def test_with_haar_filters_it_is_the_undecimated_haar_transform() -> None:
    levels = 3
    model = memory(2, levels, d=1)
    haar = {"low": [1, 1], "high": [-1, 1]}
    x = torch.randn(1, 32, 1, dtype=torch.float64)
    padded = F.pad(x[0, :, 0], (64, 0))
    with torch.no_grad():
        for name, p in model.named_parameters():
            leaf = name.rpartition(".")[2]
            if leaf in haar:
                p.copy_(torch.tensor(haar[leaf], dtype=p.dtype).view(1, 1, 2) / math.sqrt(2))
        mix = next(p for n, p in model.named_parameters() if n.endswith("mix"))
        for level in range(1, levels + 1):
            mix.zero_()
            mix[0, levels + 1 - level] = 1
            half = 2 ** (level - 1)
            sums = padded.unfold(0, half, 1).sum(-1)  # sums[i] is that of padded[i : i + half]
            at = torch.arange(32) + 64
            wanted = (sums[at - half + 1] - sums[at - 2 * half + 1]) / 2 ** (level / 2)
            assert (model(x)[0, :, 0] - wanted).abs().max() < 1e-12


@pytest.mark.row("multiresnet")
@pytest.mark.slow
def test_multiresnet_learns_to_look_back() -> None:
    model = built("multiresnet", "float32", d=16, depth=2, levels=5, p=0.0, channels=2, classes=2)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        """Noise whose second half repeats the first, or its negative."""
        rng = torch.Generator().manual_seed(step)
        half, way = torch.randn(32, 8, 2, generator=rng), torch.randint(2, (32,), generator=rng)
        return torch.cat((half, (2 * way - 1).view(-1, 1, 1) * half), 1), way

    assert fell(losses(model, batch, lambda m, b: F.cross_entropy(m(b[0]), b[1]), 200, 0.01), 0.7)
