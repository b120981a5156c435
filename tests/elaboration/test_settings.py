"""Small rules that convolutional networks asked for: text settings, functions of lists and of values, the axis that lengths run along."""

from __future__ import annotations

import pytest
import torch

import archdsl
from archdsl.diagnostics import ArchError

WORDS = 'arch A(mode = "same", n = 2) { in x: [4, T]; return x -> conv1d(n, 3, padding=mode) }'


def test_a_text_is_set_without_quotes() -> None:
    sizes = {m: str(archdsl.parse(WORDS, mode=m).graph.root.outputs[0].type) for m in ("same", "valid", '"valid"')}
    assert sizes == {"same": "[2, T]", "valid": "[2, T - 2]", '"valid"': "[2, T - 2]"}
    with pytest.raises(ArchError):
        archdsl.parse(WORDS, n="valid")


def test_total_is_the_sum_of_a_list() -> None:
    text = "arch A(widths = [2, 3, 4]) { in x: [4]; return x -> linear(total(widths[0..2])) -> linear(1 + total([])) }"
    assert archdsl.parse(text).parameters == 4 * 5 + 5 + 5 + 1


def test_clamp_of_values_and_of_numbers() -> None:
    text = "arch A { in x: [4]; return clamp(x, -1, clamp(7, 0, 2)) }"
    x = torch.tensor([[-3.0, 0.5, 1.5, 9.0]])
    assert archdsl.parse(text).build()(x).tolist() == [[-1.0, 0.5, 1.5, 2.0]]


@pytest.mark.parametrize(("shape", "axis"), [("[T, 4]", 0), ("[4, T]", 1), ("[4, 6]", 0), ("[2, T, W]", 1)])
def test_lengths_run_along_the_first_open_axis(shape: str, axis: int) -> None:
    (x,) = archdsl.parse(f"arch A {{ in x: {shape} lengths; return x + 1 }}").graph.root.inputs
    assert [a.ragged is not None for a in x.type.axes] == [i == axis for i in range(x.type.rank)]


def test_a_convolution_with_lengths_and_without() -> None:
    model = archdsl.parse("arch A { in x: [4, T] lengths; return x -> conv1d(5, 3) }").build(dtype="float64")
    x = torch.randn(2, 4, 9, dtype=torch.float64)
    whole = model(x)
    cut = model(x, lengths=torch.tensor([9, 5]))
    assert torch.equal(whole[0], cut[0])
    assert torch.allclose(cut[1:, :, :5], model(x[1:, :, :5]))
