"""C kernels of scans, forward and adjoint, against the step run one time after another."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from archdsl.kernels import build
from archdsl.kernels.scan_op import Kernel, kernel, run, scan_backward_op, scan_op
from tests.recurrence.steps import DECAYS, ORDERED, ROWS, USES, WIDER, Reference, Tensors, difference, gradients, loop, step_of

ALL = [*USES, *ORDERED]
MAIN = ("diagonal", "gated_linear", "delta_rule", "lstm(4)", "mlstm", "lif")


def _compiler() -> bool:
    try:
        build.compiler()
    except build.NoCompiler:
        return False
    return True


pytestmark = pytest.mark.skipif(not _compiler(), reason="no C compiler")


@pytest.fixture
def poison() -> Iterator[None]:
    """Fresh memory is full of NaN: what a kernel reads before it writes, and what it forgets to write, shows."""
    old = torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = old


def made(use: str) -> Kernel:
    return kernel(step_of(use))


def ours(use: str, given: Tensors, lengths: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
    return run(made(use), given.inputs, given.weights, given.begin, lengths)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("use", ALL)
def test_equals_the_step(use: str) -> None:
    given = Tensors(use, 65)
    Reference(use, given).check(*ours(use, given))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("time", [1, 2, 7, 63, 64, 129, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("use", MAIN)
def test_lengths_around_a_checkpoint(use: str, time: int) -> None:
    given = Tensors(use, time)
    Reference(use, given).check(*ours(use, given))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("use", ALL)
def test_sequences_of_different_lengths(use: str) -> None:
    given = Tensors(use, 70, sequences=4)
    lengths = torch.tensor([70, 64, 1, 0])
    Reference(use, given, lengths).check(*ours(use, given, lengths))


@pytest.mark.parametrize("use", MAIN)
def test_padding_is_never_read(use: str) -> None:
    given, lengths = Tensors(use, 20), torch.tensor([20, 7, 1])
    wanted = [*ours(use, given, lengths)[0]]
    grads = gradients(wanted, given.all)
    for x in given.inputs:
        x.data[1, 7:] = math.nan
        x.data[2, 1:] = math.nan
    found = [*ours(use, given, lengths)[0]]
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    torch.testing.assert_close(gradients(found, given.all), grads, rtol=0, atol=0)


@pytest.mark.parametrize("use", [u for u in ALL if u != "lif"])
def test_single_precision(use: str) -> None:
    exact, given = Tensors(use, 129), Tensors(use, 129, torch.float32)
    Reference(use, given).check_rounding(*ours(use, given), Reference(use, exact))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("use", MAIN)
@pytest.mark.parametrize("sequences", [1, 2, 17])
def test_few_and_many_sequences(use: str, sequences: int) -> None:
    given = Tensors(use, 9, sequences=sequences)
    Reference(use, given).check(*ours(use, given))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("use", ALL)
def test_no_time_and_no_sequences(use: str) -> None:
    given = Tensors(use, 0)
    yields, ends = ours(use, given)
    assert all(y.shape[:2] == (3, 0) for y in yields)
    torch.testing.assert_close(ends, given.begin)
    grads = gradients(ends, given.all)
    assert all(torch.isfinite(g).all() for g in grads)
    none = Tensors(use, 4, sequences=0)
    yields, ends = ours(use, none)
    assert [y.shape[:2] for y in yields] == [(0, 4)] * len(yields)
    assert all((g == 0).all() for g in gradients(yields, none.all))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("use", MAIN)
def test_split_and_resume(use: str) -> None:
    given = Tensors(use, 70)
    yields, ends = ours(use, given)
    k, cut = made(use), 33
    first, middle = run(k, [x[:, :cut] for x in given.inputs], given.weights, given.begin)
    second, last = run(k, [x[:, cut:] for x in given.inputs], given.weights, middle)
    for whole, a, b in zip(yields, first, second):
        torch.testing.assert_close(torch.cat((a, b), 1), whole, rtol=1e-12, atol=1e-12)
    whole_grads = gradients([*yields, *ends], given.all)
    pieces = [*(torch.cat(p, 1) for p in zip(first, second)), *last]
    for a, b in zip(gradients(pieces, given.all), whole_grads):
        assert difference(a, b) < 1e-10


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("use", WIDER)
@pytest.mark.parametrize("sequences", [1, 3, 23])
def test_weight_matrices_of_any_size(use: str, sequences: int) -> None:
    """Sequences are taken in blocks, columns in vectors: what is left over of either counts too, and sequences end at different times."""
    given = Tensors(use, 70, sequences=sequences)
    lengths = torch.arange(sequences) * 70 // sequences
    Reference(use, given).check(*ours(use, given))
    Reference(use, given, lengths).check(*ours(use, given, lengths))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("use", ROWS)
def test_rows_of_whole_vectors(use: str) -> None:
    given = Tensors(use, 66)
    lengths = torch.tensor([66, 33, 0])
    Reference(use, given).check(*ours(use, given))
    Reference(use, given, lengths).check(*ours(use, given, lengths))


@pytest.mark.parametrize("use", ROWS)
def test_rows_in_single_precision(use: str) -> None:
    exact, given = Tensors(use, 129), Tensors(use, 129, torch.float32)
    Reference(use, given).check_rounding(*ours(use, given), Reference(use, exact))


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_one_weight_per_head(heads: int) -> None:
    """Weights with lead axes: gradients stay with their head, and add over the batch."""
    from dataclasses import replace

    step = step_of("mixing")
    per_head = replace(step, tensors=tuple(replace(t, lead=1) if t.role == "weight" else t for t in step.tensors))
    torch.manual_seed(heads)
    batch, time, d = 5, 70, 5
    x = torch.randn(batch * heads, time, d, dtype=torch.float64, requires_grad=True)
    w = (torch.randn(heads, d, d, dtype=torch.float64) / 4).requires_grad_()
    h = torch.randn(batch * heads, d, dtype=torch.float64, requires_grad=True)
    wanted = [y for part in loop(per_head, [x], [w], [h]) for y in part]
    found = [y for part in run(kernel(per_head), [x], [w], [h]) for y in part]
    for a, b in zip([*found, *gradients(found, [x, w, h])], [*wanted, *gradients(wanted, [x, w, h])]):
        assert difference(a, b) < 1e-10


@pytest.mark.parametrize("use", ["diagonal", "given_decay", "wkv7"])
@pytest.mark.parametrize("decay", DECAYS)
def test_decays_from_one_to_zero(use: str, decay: float) -> None:
    given = Tensors(use, 20)
    place = [t.name for t in step_of(use).of("input")].index({"diagonal": "a", "given_decay": "f", "wkv7": "w"}[use])
    given.inputs[place].data.fill_(decay)
    Reference(use, given).check(*ours(use, given))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_strong_gates(dtype: torch.dtype) -> None:
    given, exact = Tensors("gated_linear", 129, dtype), Tensors("gated_linear", 129)
    gates = F.logsigmoid(torch.randn(exact.inputs[3].shape, dtype=torch.float64)) / 0.1
    place = [t.name for t in step_of("gated_linear").of("input")].index("g")
    given.inputs[place].data.copy_(gates)
    exact.inputs[place].data.copy_(gates)
    Reference("gated_linear", given).check_rounding(*ours("gated_linear", given), Reference("gated_linear", exact))


@pytest.mark.parametrize("use", ["diagonal", "delta_rule", "elman(4)", "aaren"])
def test_gradcheck(use: str) -> None:
    given = Tensors(use, 3, sequences=2)
    k, count, weights = made(use), len(given.inputs), len(given.weights)

    def whole(*tensors: Tensor) -> tuple[Tensor, ...]:
        yields, ends = run(k, tensors[:count], tensors[count : count + weights], tensors[count + weights :])
        return (*yields, *ends)

    assert torch.autograd.gradcheck(whole, given.all)


@pytest.mark.parametrize("use", ["gated_linear", "elman(4)"])
def test_the_operators_are_sound(use: str) -> None:
    """Shapes for fake tensors, no changed or shared inputs, autograd: what torch.library asks of an operator."""
    given, k = Tensors(use, 9), made(use)
    args = (k.key, given.inputs, given.weights, "1" * len(given.begin), given.begin, None, True)
    torch.library.opcheck(scan_op, args)
    with torch.no_grad():
        out = scan_op(*args)
        kept = out[len(k.yields) + len(k.states) :]
        grads = [torch.ones_like(o) for o in out[: len(k.yields) + len(k.states)]]
        plain = [[x.detach() for x in xs] for xs in (given.inputs, given.weights)]
        torch.library.opcheck(scan_backward_op, (k.key, *plain, None, kept, "1" * len(grads), grads, "0" * len(kept), []))


def test_shapes_without_data_and_flops() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    given, k = Tensors("gated_linear", 9), made("gated_linear")
    meta = [x.detach().to("meta") for x in given.inputs]
    yields, ends = run(k, meta, [])
    assert (yields[0].shape, ends[0].shape) == ((3, 9, 3), (3, 5, 3))
    with FlopCounterMode(display=False) as counter:
        run(k, [x.detach() for x in given.inputs], [])
    assert counter.get_total_flops() == 3 * 9 * 2 * 5 * 3  # q @ S, per sequence and time


class Watching(TorchDispatchMode):
    """Sees the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen.add(func.name())
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("use", ["gated_linear", "elman(4)", "mlstm"])
def test_watched_or_not_the_numbers_are_the_same(use: str) -> None:
    """Who watches sees the operators; nobody else pays for them."""
    given, found = Tensors(use, 30), []
    watching = Watching()
    for mode in (contextlib.nullcontext(), watching):
        with mode:
            yields, ends = ours(use, given, torch.tensor([30, 7, 19]))
            found.append([*yields, *ends, *gradients([*yields, *ends], given.all)])
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
    assert {"archdsl::scan", "archdsl::scan_backward"} <= watching.seen


def test_without_gradients_nothing_is_kept() -> None:
    given, k = Tensors("gated_linear", 200), made("gated_linear")
    kept = scan_op(k.key, given.inputs, [], "0", [], None, False)[-1]
    assert kept.numel() == 0


def test_gradients_of_some_outputs_only() -> None:
    """A final state that nobody reads sends no gradient; neither does a yield."""
    given = Tensors("gated_linear", 20)
    for which in (0, 1):  # the yields, the final states
        found, wanted = ours("gated_linear", given)[which], loop(step_of("gated_linear"), given.inputs, given.weights, given.begin)[which]
        for x, y in zip(gradients(found, given.all), gradients(wanted, given.all)):
            assert difference(x, y) < 1e-10


def test_threads_do_not_change_numbers() -> None:
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        given = Tensors("elman(4)", 40, sequences=5)
        yields, ends = ours("elman(4)", given)
        found.append([*yields, *gradients([*yields, *ends], given.inputs)])
    torch.set_num_threads(before)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)
