"""Images and series."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from archdsl.diagnostics import ArchError
from archdsl.tasks import get_task


def idx(path: Path, array: np.ndarray) -> None:
    head = (2048 + array.ndim).to_bytes(4, "big") + b"".join(side.to_bytes(4, "big") for side in array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


@pytest.fixture
def fashion(tmp_path):
    """A folder in the form of Fashion-MNIST, whose labels stand in its first pixel."""
    random = np.random.default_rng(0)
    for part, count in (("train", 5040), ("t10k", 30)):
        images, labels = random.integers(0, 256, (count, 28, 28)), random.integers(0, 10, count)
        images[:, 0, 0] = labels
        idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    return tmp_path


def test_images_come_with_their_labels_in_each_form(fashion):
    tokens = get_task("fashion_mnist", folder=str(fashion), form="tokens").batch(0, 0, 16, "train")
    assert torch.equal(tokens["tokens"][:, 0], tokens["targets"])
    task = get_task("fashion_mnist", folder=str(fashion), channels=3, pad=2, scale=2)
    image = task.batch(0, 0, 16, "train")
    assert image["image"].shape == (16, 3, 64, 64)
    assert torch.equal(image["targets"], tokens["targets"])
    pixels = (image["image"] * task.spread + task.mean).round().long()
    assert torch.equal(pixels[:, 2, 4:-4:2, 4:-4:2].reshape(16, -1), tokens["tokens"])
    assert not pixels[:, :, :4].any()
    series = get_task("fashion_mnist", folder=str(fashion), form="series").batch(0, 0, 16, "train")["series"]
    assert torch.allclose(series[:, :, 0], (tokens["tokens"] - task.mean) / task.spread, atol=1e-5)
    assert abs(float(series.mean())) < 0.05


def test_an_epoch_shows_each_image_once_and_parts_are_apart(fashion):
    task = get_task("fashion_mnist", folder=str(fashion), form="tokens")
    batches = [task.batch(3, step, 7, "train")["tokens"] for step in range(12)]  # 84 rows of 40 images
    rows = torch.cat(batches)
    assert len({tuple(row) for row in rows[:40].tolist()}) == 40
    assert len({tuple(row) for row in rows[40:80].tolist()}) == 40
    assert not torch.equal(rows[:40], rows[40:80])
    held = task.batch(3, 0, 30, "test")["tokens"].tolist()
    assert not {tuple(row) for row in rows.tolist()} & {tuple(row) for row in held}


def test_what_is_not_at_hand_is_told(tmp_path, fashion):
    def code(**options) -> str:
        with pytest.raises(ArchError) as caught:
            get_task("fashion_mnist", **options)
        assert "dataset-fashion-mnist" in caught.value.diagnostics[0].hint
        return caught.value.diagnostics[0].code

    assert code(folder=str(tmp_path / "none")) == "AD0818"
    path = fashion / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:100])
    assert code(folder=str(fashion)) == "AD0818"


def test_digits():
    pytest.importorskip("sklearn")
    task = get_task("digits", form="tokens")
    seen = {split: {tuple(row) for row in task.batch(0, 0, n, split)["tokens"].tolist()} for split, n in (("train", 1437), ("valid", 180))}
    assert len(seen["train"]) == 1437
    assert not seen["train"] & seen["valid"]
    assert sorted(task.batch(0, 0, 180, "test")["targets"].unique().tolist()) == list(range(10))


@pytest.mark.parametrize("kind", ["sines", "ar", "logistic"])
def test_series_are_scaled_and_targets_follow(kind):
    task = get_task("forecast", kind=kind, length=60, channels=2)
    batch = task.batch(0, 0, 200, "train")
    assert torch.equal(batch["series"][:, 1:], batch["targets"][:, :-1])
    assert abs(float(batch["series"].mean())) < 0.1
    assert 0.8 < float(batch["series"].std()) < 1.2
    ahead = get_task("forecast", kind=kind, length=50, horizon=10, channels=2).batch(0, 0, 20, "train")
    assert (ahead["series"].shape, ahead["targets"].shape) == ((20, 50, 2), (20, 10, 2))


def test_series_are_what_they_are_called():
    x = get_task("forecast", kind="logistic", noise=0.0, length=40).batch(0, 0, 5, "train")["series"][..., 0].double() * 0.3 + 0.6
    rate = x[:, 1:] / (x[:, :-1] * (1 - x[:, :-1]))
    assert (rate - rate[:, :1]).abs().max() < 1e-3
    assert (rate > 3.59).all()
    ar = get_task("forecast", kind="ar", length=4000).batch(0, 0, 6, "train")["series"][..., 0].double().numpy()
    for row in ar:  # least squares on two lags leaves white noise
        lags = np.stack([row[1:-1], row[:-2]], axis=1)
        weights, *_ = np.linalg.lstsq(lags, row[2:], rcond=None)
        rest = row[2:] - lags @ weights
        assert weights[1] < -0.4
        assert abs(np.corrcoef(rest[1:], rest[:-1])[0, 1]) < 0.06


def test_the_naive_forecast_has_no_skill():
    for horizon in (0, 5):
        task = get_task("forecast", horizon=horizon)
        batch = task.batch(0, 0, 8, "valid")
        naive = batch["series"] if not horizon else batch["series"][:, -1:].expand(-1, 5, -1)
        found = task.metrics(naive, batch)
        assert found["skill"] == pytest.approx(0.0, abs=1e-6)
        assert found["loss"] == pytest.approx(found["naive"])
        assert task.metrics(batch["targets"].squeeze(-1), batch)["loss"] == 0.0
