"""Tiling and corruption of images (TACo, in Easter2.0, arXiv:2205.14879): what lies in some tiles of random width is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor

KINDS = ("noise", "white", "black", "mean")


def corrupt_tiles(
    image: Tensor,
    share: float = 0.2,
    widths: tuple[int, int] = (10, 100),
    kind: Literal["noise", "white", "black", "mean"] = "noise",
    axis: int = -1,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, list[tuple[int, int, bool]]]:
    """A copy of an image with values in [0, 1], each of its tiles along `axis` corrupted with probability `share`, and the tiles.

    Tiles are `widths[0]` to `widths[1]` entries wide, the last one what is left: (begin, end, whether it was corrupted).
    """
    import torch

    out, tiles, begin = image.clone(), [], 0
    size = image.shape[axis]
    while begin < size:
        end = min(size, begin + int(torch.randint(widths[0], widths[1] + 1, (), generator=generator)))
        lost = float(torch.rand((), generator=generator)) < share
        if lost:
            tile = out.narrow(axis, begin, end - begin)
            if kind == "noise":
                tile.copy_(torch.rand(tile.shape, generator=generator))
            else:
                tile.fill_({"white": 1.0, "black": 0.0}.get(kind, float(image.mean())))
        tiles.append((begin, end, lost))
        begin = end
    return out, tiles


__all__ = ["KINDS", "corrupt_tiles"]
