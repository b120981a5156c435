"""What is measured: a scan as a model of its own at given sizes, with inputs that keep it in bounds, and the forms that can run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archdsl.bench.alone import Shape, spec_of
from archdsl.language import syntax
from archdsl.scanning.choose import Choice
from archdsl.scanning.runner import ScanKernel

Call = Callable[[], Tensor]

GRID = tuple(
    Shape(batch, heads, d, time) for batch, heads in ((1, 4), (8, 2)) for d in (16, 64, 128, 256) for time in (64, 256, 1024, 2048, 8192)
)
POSITIVE = ("normalised_linear_attention",)  # its queries and keys are feature maps above zero
GRID_SCANS = ("diagonal", "gated_linear", "delta_rule", "indrnn", "gru")


def draw(name: str, x: Tensor) -> Tensor:
    """Values for an input called `name`: decays and gates between 0 and 1, their logarithms below 0, keys of length one."""
    if name in ("k", "q", "r") and x.dim() > 3:
        return F.normalize(x, dim=-1)
    if name in ("a", "f", "w", "beta", "o"):
        return torch.sigmoid(x)
    if name in ("g", "b"):
        return F.logsigmoid(x) if name == "g" else 0.1 * x
    return F.softplus(x - 3) if name == "dt" else x


class Case:
    """A scan at one shape."""

    def __init__(self, decl: syntax.ScanDecl, shape: Shape, dtype: torch.dtype = torch.float32, file: Path | None = None) -> None:
        self.name, self.shape, self.dtype = decl.name, shape, dtype
        spec = spec_of(decl, shape, file)
        self.model: Any = spec.build(dtype=dtype)
        self.module: Any = next((m for m in self.model.modules() if isinstance(getattr(m, "kernel", None), ScanKernel)), None)
        self.own: ScanKernel | None = getattr(self.module, "kernel", None)
        torch.manual_seed(0)
        self.inputs = []
        for value in spec.graph.root.inputs:
            sizes = [s if isinstance(s, int) else shape.time for s in value.type.sizes]
            x = draw(value.name or "", torch.randn(shape.batch, *sizes, dtype=dtype))
            self.inputs.append((x.abs() if decl.name in POSITIVE else x).requires_grad_())

    @property
    def leaves(self) -> list[Tensor]:
        return [*self.inputs, *self.model.parameters()]

    @property
    def kind(self) -> str:
        """The class of the recurrence."""
        from archdsl.recurrence.classify import classify

        return str(classify(self.own.step, verify=False).kind) if self.own is not None else "complex"

    def loop_bytes(self) -> int:
        """About what the loop keeps for its backward pass: three tensors of each state's size a step."""
        states = [self.own.step.tensor(s.before).shape for s in self.own.step.states] if self.own is not None else [(self.shape.d, 32)]
        return 3 * sum(map(prod, states)) * self.shape.batch * self.shape.heads * self.shape.time * self.dtype.itemsize

    def by(self, runner: ScanKernel | None) -> Call:
        """Runs the model with its scan run by `runner`; None is the loop over time as written."""

        def call() -> Tensor:
            if self.module is not None:
                self.module.kernel = runner
            result: Tensor = self.model(*self.inputs)
            return result

        return call

    def loop(self) -> Call:
        return self.by(None)

    def forms(self, wanted: tuple[str, ...] = ("kernel", "torch")) -> dict[str, Call]:
        """The wanted forms that this scan has. torch: the parallel form that runs without a compiler; others by name."""
        own = self.own
        if own is None:
            return {}
        found: dict[str, Call] = {}
        if "kernel" in wanted and own.compiled(self.inputs[0]):
            found["kernel"] = self.by(own)
        program = own.forms()[0]
        if program is None:
            return found
        base = _Fixed(own.text, None)
        choice = ScanKernel.choice(base, self.shape.batch * self.shape.heads, self.shape.time, "cpu", True)
        if "torch" in wanted and choice.setting is not None:
            found[f"torch: {choice.form}"] = self.by(base)
        from archdsl.scanning.choose import available

        ready = {a.form for a in available(program.classified) if a.ok}
        for form in {"convolution", "newton"} & ready & set(wanted):
            setting = choice.setting and replace(choice.setting, convolve=form == "convolution", newton=form == "newton")
            found[f"torch: {form}"] = self.by(_Fixed(own.text, replace(choice, setting=setting)))
        return found

    def peers(self, compiled: bool = False) -> dict[str, tuple[Call, list[Tensor]]]:
        """What torch itself offers for the same recurrence, with its own weights, and what gradients are taken of."""
        if self.name in ("gru", "lstm"):
            module = (nn.GRU if self.name == "gru" else nn.LSTM)(self.shape.d, self.shape.d, batch_first=True).to(self.dtype)
            x = self.inputs[0].detach().flatten(0, 1).requires_grad_()
            return {f"torch.nn.{self.name.upper()}": (lambda: module(x)[0], [x, *module.parameters()])}
        run = ASSOCIATIVE.get(self.name)
        if run is None:
            return {}
        found: dict[str, tuple[Call, list[Tensor]]] = {"torch associative_scan": (lambda: run(*self.inputs), self.inputs)}
        if compiled:
            found["torch associative_scan, compiled"] = (self.associative(), self.inputs)
        return found

    def associative(self) -> Call:
        """The same recurrence by torch's associative_scan, compiled for these sizes alone. The scan is one of ASSOCIATIVE."""
        torch.compiler.reset()
        fast = torch.compile(ASSOCIATIVE[self.name], dynamic=False)
        return lambda: fast(*self.inputs)


class _Fixed(ScanKernel):
    """A scan by a torch form, whatever would be chosen."""

    def __init__(self, text: str, choice: Choice | None) -> None:
        super().__init__(text)
        self.kernel, self.fixed = None, choice

    def choice(self, sequences: int, time: int, device: str, training: bool) -> Choice:
        return self.fixed or super().choice(sequences, time, device, training)


def _scanned(a: Tensor, b: Tensor) -> Tensor:
    """h' = a * h + b along the time, which is the third dimension."""
    from torch._higher_order_ops.associative_scan import associative_scan

    result: Tensor = associative_scan(_compose, (a, b), dim=2, combine_mode="generic")[1]
    return result


def _gated_linear(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """All states at once, read by q; the decay stands once for each row of the state, as broadcasting wants it."""
    states = _scanned(g.exp().unsqueeze(-1).expand(*k.shape, v.shape[-1]), k.unsqueeze(-1) * v.unsqueeze(-2))
    return (q.unsqueeze(-2) @ states).squeeze(-2)


ASSOCIATIVE: dict[str, Callable[..., Tensor]] = {"diagonal": _scanned, "gated_linear": _gated_linear}


def _compose(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return first[0] * second[0], second[0] * first[1] + second[1]
