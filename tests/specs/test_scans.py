"""Each recurrence of the library against its paper's formula: outputs, all gradients, and decoding in steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archdsl
from tests.specs import recurrences
from tests.specs.small import SPECS

pytestmark = pytest.mark.filterwarnings("ignore:scans run")
CLOSE = 1e-10
TIME, HEADS = 7, 2
SIZE = {"n": 3, "m": 4, "d": 5, "e": 5, "p": 4}
ARGUMENTS = {"wkv6": "(2)", "selective": "(3)", "s4d": "(3)", "lssl": "(3)", "mega_ema": "(3)", "jordan": "(3, 4)"}
NEVER = float("-inf")
# How each state begins, by its shape; scans not named here have the states that their cell's width gives.
MATRIX = ((3, 4),)
STARTS: dict[str, tuple[tuple[int, ...], ...]] = {
    "normalised_linear_attention": ((3, 4), (3,)), "mlstm": ((3, 5), (3,), ()),
    "selective": ((5, 3),), "s4d": ((5, 3),), "lssl": ((5, 3),), "mega_ema": ((5, 3),),
    "rg_lru": ((5,),), "diagonal": ((5,),), "ema": ((5,),), "hgrn": ((5,),), "qrnn_pool": ((5,),), "sru": ((5,),), "lif": ((5,),), "lif_reset": ((5,),), "max_plus": ((5,),),
    "softmax_stream": ((5,), ()), "aaren": ((), (), (5,)), "wkv4": ((5,), (5,)), "jordan": ((4,),),
    "lstm_1997": ((3,), (3,)), "lstm": ((3,), (3,)), "lstm_peephole": ((3,), (3,)), "lstm_layernorm": ((3,), (3,)), "para_lstm": ((3,), (3,)),
    "slstm": ((3,),) * 4,
}  # fmt: skip
COMPLEX = {"s4d", "lru", "hgrn"}

SOURCE = (SPECS / "std/scans.arch").read_text()


def declared() -> Iterator[tuple[str, bool, list[tuple[str, str]]]]:
    """Name, whether it needs a width, inputs with their size, of each scan in the file."""
    for part in re.split(r"^(?=scan )", SOURCE, flags=re.M)[1:]:
        head = part.split("{")[0]
        yield head.split("(")[0].split()[1], "(n)" in head or "(n, l" in head, re.findall(r"in (\w+): \[(\w*)\]", part)


SCANS = {name: (width, inputs) for name, width, inputs in declared()}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step as written; that kernels do the same is shown where kernels are tested."""
    monkeypatch.setenv("ARCHDSL_KERNELS", "0")


def heads(name: str) -> bool:
    return "S: [" in SOURCE.split(f"scan {name}")[1].split("\nscan ")[0]


def made(name: str) -> nn.Module:
    """A module that is the scan and nothing else, its weights moved a little from where they begin."""
    width, inputs = SCANS[name]
    lead = f"{HEADS}, " if heads(name) else ""
    size = SIZE | ({"d": 5} if name != "mlstm" else {"d": 5, "n": 3})
    lines = [f"in {x}: [{lead}T{f', {size[s]}' if s else ''}]" for x, s in inputs]
    given = ARGUMENTS.get(name, "(3)" if width else "")
    text = f'import "std/scans.arch"\narch A {{ {"; ".join(lines)}; return {name}{given}({", ".join(x for x, _ in inputs)}) }}'
    model = archdsl.parse(text).build(dtype="float64")
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def values(model: nn.Module, name: str) -> dict[str, Tensor]:
    """Random inputs [2, heads…, time, …], above zero where they are weights of a mean or lengths of a step."""
    torch.manual_seed(4)
    draw: Any = torch.rand if name in ("normalised_linear_attention", "selective") else torch.randn
    lead = (2, HEADS) if heads(name) else (2,)
    return {x: draw(*lead, TIME, *((SIZE[s],) if s else ()), dtype=torch.float64).requires_grad_() for x, s in SCANS[name][1]}


def by_formula(name: str, model: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """The paper's step, looped over time for each sequence and head."""
    weights = {n.removeprefix(f"{name}."): p for n, p in model.named_parameters()}
    step, many = getattr(recurrences, name), heads(name)
    start = STARTS.get(name, MATRIX if many else ((3,),))
    kind = torch.complex128 if name in COMPLEX else torch.float64
    flat = [x.flatten(0, 1) if many else x for x in given.values()]
    rows = []
    for row in range(len(flat[0])):
        own = {n: p[row % HEADS] if n == "u" and many else p for n, p in weights.items()}
        states: Any = tuple(torch.full(shape, NEVER if name == "max_plus" else 0.0, dtype=kind) for shape in start)
        outs = []
        for t in range(TIME):
            states, y = step(own, states, *(x[row, t] for x in flat))
            outs.append(y)
        rows.append(torch.stack(outs))
    whole = torch.stack(rows)
    return whole.unflatten(0, (2, HEADS)) if many else whole


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", SCANS)
def test_equals_the_paper(name: str) -> None:
    model = made(name)
    given = values(model, name)
    wanted, got = by_formula(name, model, given), model(**given)
    assert got.shape == wanted.shape
    assert (got - wanted).abs().max() < CLOSE
    along = torch.randn_like(got)
    sources = [*given.values(), *model.parameters()]
    for a, b in zip(torch.autograd.grad((got * along).sum(), sources), torch.autograd.grad((wanted * along).sum(), sources)):
        assert (a - b).abs().max() < CLOSE * max(1.0, float(b.abs().max()))


@pytest.mark.parametrize("name", SCANS)
@torch.inference_mode()
def test_steps_equal_the_whole(name: str) -> None:
    model = made(name).eval()
    given = values(model, name)
    time = 2 if heads(name) else 1
    whole = model(**given)
    out, state = model.prefill(**{k: v.narrow(time, 0, 3) for k, v in given.items()})
    rest, _ = model.step(**{k: v.narrow(time, 3, TIME - 3) for k, v in given.items()}, state=state)
    assert (torch.cat([out, rest], time) - whole).abs().max() < CLOSE


def test_every_recurrence_has_its_formula() -> None:
    assert [n for n in SCANS if not hasattr(recurrences, n)] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in SCANS if n not in COMPLEX])
def test_kernels_equal_the_paper(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHDSL_KERNELS", "1")
    assert getattr(made(name), name).kernel.usable(torch.zeros(1))
    test_equals_the_paper(name)


# ---- torch's own cells, with copied weights

TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "elman": nn.RNN}


@pytest.mark.row("rnn-review")
@pytest.mark.parametrize("name", TORCH)
def test_equals_torch(name: str) -> None:
    model = made(name)
    mine = dict(model.named_parameters())
    other = TORCH[name](5, 3, batch_first=True)
    with torch.no_grad():
        other.weight_ih_l0.copy_(mine[f"{name}.input.weight"])
        other.weight_hh_l0.copy_(mine[f"{name}.recurrent.weight"])
        other.bias_ih_l0.copy_(mine[f"{name}.input.bias"])
        other.bias_hh_l0.copy_(mine[f"{name}.recurrent.bias"]) if name == "gru" else other.bias_hh_l0.zero_()
    x = torch.randn(2, TIME, 5)
    assert (model(x) - other(x)[0]).abs().max() < CLOSE


@pytest.mark.row("rnn-review")
def test_a_forget_gate_held_open_is_the_lstm_of_1997() -> None:
    new, old = made("lstm"), made("lstm_1997")
    with torch.no_grad():
        for part in ("input.weight", "input.bias", "recurrent.weight"):
            i, _, g, o = new.get_parameter(f"lstm.{part}").chunk(4)
            old.get_parameter(f"lstm_1997.{part}").copy_(torch.cat([i, g, o]))
            new.get_parameter(f"lstm.{part}")[3:6] = 1e3 if part == "input.bias" else 0.0
    x = torch.randn(2, TIME, 5)
    assert (new(x) - old(x)).abs().max() < CLOSE


@pytest.mark.row("rnn-review")
def test_a_network_in_both_directions_looks_ahead() -> None:
    assert not archdsl.load("gru_classifier").causality.causal


# ---- what the running maxima are for, and what special cases must give


@torch.no_grad()
def test_aaren_stays_finite_where_the_plain_ratio_overflows() -> None:
    model = made("aaren")
    s, v = 1e4 * torch.randn(2, 40), torch.randn(2, 40, 5)
    y = model(s, v)
    prefix = torch.stack([torch.softmax(s[:, : t + 1], -1).unsqueeze(1) @ v[:, : t + 1] for t in range(40)], 1).squeeze(2)
    assert torch.isfinite(y).all()
    assert (y - prefix).abs().max() < CLOSE


@torch.no_grad()
def test_decays_of_one_are_plain_linear_attention() -> None:
    q, k, v = torch.randn(2, HEADS, TIME, 3), torch.randn(2, HEADS, TIME, 3), torch.randn(2, HEADS, TIME, 4)
    plain_one = made("linear_attention")(q, k, v)
    assert (made("gated_linear")(q, k, v, torch.zeros(2, HEADS, TIME, 3)) - plain_one).abs().max() < CLOSE
    assert (made("retention")(q, k, v, torch.zeros(2, HEADS, TIME)) - plain_one).abs().max() < CLOSE
    g = -torch.rand(2, HEADS, TIME)
    gated = made("gated_linear")(q, k, v, g.unsqueeze(-1).expand(-1, -1, -1, 3))
    assert (gated - made("retention")(q, k, v, g)).abs().max() < CLOSE


def test_spikes_pass_the_declared_slope() -> None:
    x = torch.full((1, 1, 5), 1.25, requires_grad=True)
    y = made("lif")(x)
    y.sum().backward()
    assert (y == 1).all()
    assert x.grad is not None
    assert (x.grad - 1 / (1 + (torch.pi * 0.25) ** 2)).abs().max() < CLOSE
