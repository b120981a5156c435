"""Small images with one of ten classes: scikit-learn's digits, and Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747) from a folder."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.tasks.base import Batch, Input, Option, Options, Split, generator
from archdsl.tasks.forms import LabelTask

if TYPE_CHECKING:
    import numpy as np

FASHION = "/usr/share/datasets/fashion-mnist"
_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FORMS: tuple[Input, ...] = ("image", "tokens", "series")
_OPTIONS = {
    "form": Option("image", "image: float [channels, H, W]; tokens: grey levels, row by row; series: float [H * W, 1]", choices=FORMS),
    "channels": Option(1, "copies of the grey channel in an image, for models that take three", 1, 16),
    "scale": Option(1, "how many times larger each side is made, by repeating pixels", 1, 64),
    "pad": Option(0, "pixels of border put on each side, before enlarging", 0, 64),
}


class _Images(LabelTask):
    """Images of `levels` grey levels; training goes through them all in a new order each time round."""

    classes = 10
    levels = 256
    names: ClassVar[tuple[str, ...]] = tuple("0123456789")

    def __init__(self, parts: dict[Split, tuple[np.ndarray, np.ndarray]], form: str, channels: int, scale: int, pad: int):
        self.parts, self.kind, self.channels, self.scale, self.pad = parts, form, channels, scale, pad
        pixels = parts["train"][0]
        self.mean, self.spread = float(pixels.mean()), float(pixels.std())
        height, width = (scale * (side + 2 * pad) for side in pixels.shape[1:])
        self.length, self.vocab = height * width, self.levels if form == "tokens" else 0
        self.input = next(kind for kind in FORMS if kind == form)
        self.shape = {"image": (channels, height, width), "tokens": (self.length,), "series": (self.length, 1)}[form]

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        images, labels = self.parts[split]
        places = np.arange(step * size, (step + 1) * size)
        rounds = np.unique(places // len(labels))
        chosen = np.concatenate(
            [_order(seed, int(r), split, len(labels))[places[places // len(labels) == r] % len(labels)] for r in rounds]
        )
        pixels = np.pad(images[chosen], ((0, 0), (self.pad, self.pad), (self.pad, self.pad)))
        pixels = pixels.repeat(self.scale, axis=1).repeat(self.scale, axis=2)
        targets = torch.from_numpy(labels[chosen])
        if self.kind == "tokens":
            return {"tokens": torch.from_numpy(pixels.reshape(size, -1).astype(np.int64)), "targets": targets}
        values = torch.from_numpy((pixels.astype(np.float32) - self.mean) / self.spread)
        if self.kind == "series":
            return {"series": values.reshape(size, -1, 1), "targets": targets}
        return {"image": values[:, None].repeat(1, self.channels, 1, 1), "targets": targets}

    def label(self, number: int) -> str:
        return self.names[number]

    def show(self, batch: Batch, row: int) -> str:
        """The picture in shades of characters."""
        import torch

        fields: dict[str, Any] = {**batch}
        shape = self.shape[1:] if self.kind == "image" else (-1, int(self.length**0.5))
        given = fields[self.input][row]
        picture = (given[0] if self.kind == "image" else given).reshape(shape).float()
        level = (picture - picture.min()) / (picture.max() - picture.min()).clamp(min=1e-9)
        shades = torch.round(level * 4).long()
        text = "\n".join("".join(" .:*#"[shade] * 2 for shade in line) for line in shades.tolist())
        return f"{text}\n=> {self.label(int(batch['targets'][row]))}"


class Digits(_Images):
    """1,797 hand-written digits of 8 x 8 pixels and 17 grey levels, from scikit-learn: 1,437 to train on, 180 valid, 180 test."""

    name = "digits"
    levels = 17
    options: ClassVar[Options] = {**_OPTIONS}

    def __init__(self, form: str = "image", channels: int = 1, scale: int = 1, pad: int = 0):
        images, labels = _digits()
        order = generator(0, 0, "train").permutation(len(labels))
        cuts: dict[Split, Any] = {"train": order[:1437], "valid": order[1437:1617], "test": order[1617:]}
        super().__init__({split: (images[rows], labels[rows]) for split, rows in cuts.items()}, form, channels, scale, pad)


class FashionMNIST(_Images):
    """70,000 pictures of clothes, 28 x 28 pixels: the last 5,000 of the training part are valid, the test part is test."""

    name = "fashion_mnist"
    names: ClassVar[tuple[str, ...]] = _CLOTHES
    options: ClassVar[Options] = {"folder": Option(FASHION, "folder of the four idx.gz files"), **_OPTIONS}

    def __init__(self, folder: str = FASHION, form: str = "image", channels: int = 1, scale: int = 1, pad: int = 0):
        images, labels = _idx(Path(folder), "train")
        parts: dict[Split, Any] = {"train": (images[:-5000], labels[:-5000]), "valid": (images[-5000:], labels[-5000:])}
        super().__init__({**parts, "test": _idx(Path(folder), "t10k")}, form, channels, scale, pad)


@lru_cache(maxsize=4)
def _order(seed: int, round_: int, split: Split, count: int) -> np.ndarray:
    """The order of one time through a part."""
    return generator(seed, round_, split).permutation(count)


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    try:
        from sklearn.datasets import load_digits  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        hint = "Install it: pip install scikit-learn"
        raise ArchError(Diagnostic("AD0818", "the task digits needs scikit-learn, which is not installed", hint=hint)) from None
    found = load_digits()
    return found.images.astype("uint8"), found.target.astype("int64")


@lru_cache(maxsize=2)
def _idx(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 28, 28] uint8 and labels [N] int64 of one part. Raises AD0818."""
    import numpy as np

    images = np.frombuffer(_read(folder / f"{part}-images-idx3-ubyte.gz", 2051, 16), dtype=np.uint8)
    labels = np.frombuffer(_read(folder / f"{part}-labels-idx1-ubyte.gz", 2049, 8), dtype=np.uint8)
    if len(images) != 784 * len(labels) or labels.max(initial=0) > 9:
        raise _absent(f"the files of `{part}` in {folder} do not belong together")
    return images.reshape(-1, 28, 28), labels.astype(np.int64)


def _read(path: Path, magic: int, head: int) -> bytes:
    try:
        with gzip.open(path) as file:
            content = file.read(1 << 26)
    except (OSError, EOFError) as error:
        raise _absent(f"`{path}` cannot be read", str(error)) from None
    if int.from_bytes(content[:4], "big") != magic:
        raise _absent(f"`{path}` is not a file of Fashion-MNIST")
    return content[head:]


def _absent(title: str, note: str = "") -> ArchError:
    hint = (
        "Debian and Ubuntu have it: apt install dataset-fashion-mnist. Else take the four idx.gz files from "
        "github.com/zalandoresearch/fashion-mnist (data/fashion) and give their folder: --option folder=DIR"
    )
    return ArchError(Diagnostic("AD0818", f"Fashion-MNIST is not at hand: {title}", note=note, hint=hint))
