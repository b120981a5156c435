"""Every form of every class against the step, one after another: outputs, all gradients, first and last states."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from archdsl.recurrence.classes import Kind
from archdsl.recurrence.forms.plan import Setting
from archdsl.recurrence.forms.program import Program
from tests.recurrence.steps import DECAYS, USES, Reference, Tensors, classified, step_of

SETTINGS = {
    "two levels": Setting(),
    "tree": Setting(engine="tree", sub=8),
    "in order": Setting(engine="in_order", chunk=16),
    "segments": Setting(segment=50),
    "one chunk": Setting(chunk=256),
    "convolution": Setting(convolve=True),
    "newton": Setting(newton=True),
}
SCANS = {Kind.DIAGONAL, Kind.CONSTANT_DIAGONAL, Kind.MATRIX, Kind.DELTA, Kind.SOFTMAX, Kind.BLOCK_DIAGONAL, Kind.DENSE}
MAIN = ("diagonal", "gated_linear", "channel_gated_delta_rule", "wkv4", "max_plus", "para_gru(4)")  # one per family: all lengths
GATED = ("retention", "gated_linear", "columns", "gated_delta_rule", "channel_gated_delta_rule")


def settings(use: str) -> list[str]:
    """The settings that make a difference to a class."""
    kinds = {g.kind for g in classified(use).groups}
    names = ["two levels", "segments"]
    if kinds & SCANS:
        names += ["tree", "in order"]
    if kinds & {Kind.MATRIX, Kind.DELTA}:
        names += ["one chunk"]
    if Kind.CONSTANT_DIAGONAL in kinds:
        names += ["convolution"]
    if kinds & {Kind.ELEMENTWISE, Kind.BLOCK} and use != "lif":
        names += ["newton"]
    return names


def run(use: str, given: Tensors, setting: Setting, lengths: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
    return Program(classified(use)).run(given.inputs, given.weights, given.begin, lengths, setting)


def hold_to_the_step(use: str, given: Tensors, lengths: Tensor | None = None) -> None:
    step = Reference(use, given, lengths)
    for name in settings(use):
        step.check(*run(use, given, SETTINGS[name], lengths))


@pytest.mark.parametrize("use", USES)
def test_equals_the_step(use: str) -> None:
    hold_to_the_step(use, Tensors(use, 65))


@pytest.mark.parametrize("time", [1, 2, 7, 63, 64, 129])
@pytest.mark.parametrize("use", MAIN)
def test_lengths_around_a_chunk(use: str, time: int) -> None:
    hold_to_the_step(use, Tensors(use, time))


@pytest.mark.slow
@pytest.mark.parametrize("time", [1, 2, 7, 63, 64, 129, 1000])
@pytest.mark.parametrize("use", USES)
def test_all_lengths(use: str, time: int) -> None:
    hold_to_the_step(use, Tensors(use, time))


@pytest.mark.parametrize("use", USES)
def test_sequences_of_different_lengths(use: str) -> None:
    """States stay where a sequence ended; beyond it yields are zero and nothing gets a gradient."""
    hold_to_the_step(use, Tensors(use, 33, sequences=4), torch.tensor([33, 20, 1, 0]))


@pytest.mark.parametrize("cut", [1, 16, 40])
@pytest.mark.parametrize("use", USES)
def test_split_and_resume(use: str, cut: int) -> None:
    given = Tensors(use, 41)
    program, setting = Program(classified(use)), Setting(chunk=16)
    yields, ends = program.run(given.inputs, given.weights, given.begin, None, setting)
    first, middle = program.run([x[:, :cut] for x in given.inputs], given.weights, given.begin, None, setting)
    second, last = program.run([x[:, cut:] for x in given.inputs], given.weights, middle, None, setting)
    for whole, a, b in zip(yields, first, second):
        torch.testing.assert_close(torch.cat((a, b), 1), whole, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(last, ends, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("use", USES)
def test_from_the_beginning_that_the_step_states(use: str) -> None:
    given = Tensors(use, 20)
    starts = [s.start for s in step_of(use).states]
    given.begin = [torch.full_like(b, s).requires_grad_() for b, s in zip(given.begin, starts)]
    wanted = Reference(use, given).outputs
    yields, ends = Program(classified(use)).run(given.inputs, given.weights, [], None, Setting(chunk=16))
    torch.testing.assert_close([*yields, *ends], wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("use", [u for u in USES if u != "lif"])
def test_single_precision(use: str) -> None:
    exact, given = Tensors(use, 129), Tensors(use, 129, torch.float32)
    truth, step = Reference(use, exact), Reference(use, given)
    for name in settings(use):
        step.check_rounding(*run(use, given, SETTINGS[name]), truth)


@pytest.mark.parametrize("use", ["diagonal", "given_decay", "wkv7"])
def test_decays_from_one_to_zero(use: str) -> None:
    """Decays of exactly 1 and 0 and all between, mixed, and each alone."""
    names = [t.name for t in step_of(use).of("input")]
    place = names.index({"diagonal": "a", "given_decay": "f", "wkv7": "w"}[use])
    for fixed in (None, *DECAYS):
        given = Tensors(use, 65)
        x = given.inputs[place].data
        if fixed is None:
            x.copy_(torch.tensor(DECAYS, dtype=x.dtype)[torch.randint(len(DECAYS), x.shape)])
        else:
            x.fill_(fixed)
        hold_to_the_step(use, given)


@pytest.mark.parametrize("use", ["diagonal", "given_decay"])
def test_negative_decays(use: str) -> None:
    given = Tensors(use, 65)
    given.inputs[0 if use == "diagonal" else 3].data.mul_(-1)
    hold_to_the_step(use, given)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("use", GATED)
def test_strong_gates(use: str, dtype: torch.dtype) -> None:
    """logsigmoid(x) / 0.1: sums of log-decays in a chunk pass 88, where exp(-sum) is infinite in float32."""
    given, exact = Tensors(use, 129, dtype), Tensors(use, 129)
    place = [t.name for t in step_of(use).of("input")].index("g")
    for tensors in (given, exact):
        torch.manual_seed(5)
        tensors.inputs[place].data.copy_(F.logsigmoid(torch.randn(tensors.inputs[place].shape, dtype=torch.float64)) / 0.1)
    assert float(exact.inputs[place].sum(1).min()) < -500
    truth, step = Reference(use, exact), Reference(use, given)
    for name in settings(use):
        step.check_rounding(*run(use, given, SETTINGS[name]), truth)


@pytest.mark.parametrize(
    "use", ["diagonal", "given_decay", "gated_delta_rule", "wkv7", "wkv4", "aaren", "para_lstm(4)", "turning", "mixing"]
)
def test_gradcheck(use: str) -> None:
    given = Tensors(use, 3, sequences=1)
    program, count = Program(classified(use)), len(given.inputs)
    weights = len(given.weights)

    def whole(*tensors: Tensor) -> tuple[Tensor, ...]:
        parts = tensors[:count], tensors[count : count + weights], tensors[count + weights :]
        yields, ends = program.run(*parts, None, Setting(chunk=16))
        return (*yields, *ends)

    assert torch.autograd.gradcheck(whole, given.all)


@pytest.mark.parametrize("use", USES)
def test_no_time_at_all(use: str) -> None:
    given = Tensors(use, 0)
    yields, ends = run(use, given, Setting())
    assert all(y.shape[:2] == (3, 0) for y in yields)
    torch.testing.assert_close(ends, given.begin)


@pytest.mark.parametrize("use", ["gated_linear", "delta_rule", "selective(3)"])
def test_backward_keeps_states_between_segments_only(use: str) -> None:
    """What stays in memory for the backward pass grows with the segments' number, not with what a segment works out."""
    given = Tensors(use, 512)

    def kept(setting: Setting) -> int:
        sizes: dict[int, int] = {}

        def pack(x: Tensor) -> Tensor:
            sizes[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            outputs = run(use, given, setting)
        del outputs
        return sum(sizes.values())

    inputs = sum(x.nbytes for x in given.inputs)
    assert kept(Setting(segment=64)) < 2.5 * inputs
    assert kept(Setting(segment=64)) < kept(Setting())
