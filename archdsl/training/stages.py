"""A curriculum over a spec's own settings: the same weights, run with fewer rounds of a loop at first (for instance).

Settings that change no weight (how often a loop runs, a dropout rate, a threshold) give modules that differ in code alone. A stage is such
a module whose weights ARE those of the model that is trained, so nothing is added to the model and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic

if TYPE_CHECKING:
    from archdsl.api import Spec


@dataclass(frozen=True)
class Stage:
    """The module that trains until `until` (a share of the run's steps, above 0 and at most 1) is done. It shares the model's weights."""

    until: float
    model: nn.Module


def curriculum(spec: Spec, model: nn.Module, plan: Sequence[tuple[float, Mapping[str, Any]]]) -> tuple[Stage, ...]:
    """Stages of `spec` at other settings, sharing the weights of `model`, which is built from `spec`.

    plan: (until, settings), in order: [(0.3, {"n": 2}), (0.6, {"n": 4})] trains the first 30 % of the steps with n=2, up to 60 % with n=4,
    the rest with the model itself (arXiv:2511.08653 calls this a progressive depth curriculum). Raises AD0817 if a setting changes the
    weights or the shares do not rise.
    """
    ends = [until for until, _ in plan]
    if ends != sorted(set(ends)) or not all(0 < end <= 1 for end in ends):
        raise _refused(
            f"the stages end at {', '.join(f'{end:g}' for end in ends)}", "Give rising shares of the steps, above 0 and at most 1."
        )
    parameter = next(model.parameters())
    made = []
    for until, settings in plan:
        stage = spec.at(**settings).build(device=parameter.device, dtype=str(parameter.dtype).removeprefix("torch."))
        share_weights(model, stage, ", ".join(f"{name}={value}" for name, value in settings.items()))
        made.append(Stage(until, stage))
    return tuple(made)


def share_weights(source: nn.Module, target: nn.Module, name: str = "the stage") -> None:
    """Puts the parameters and buffers of `source` itself in `target`, by name. Raises AD0817 if names or shapes differ."""
    theirs, ours = source.state_dict(keep_vars=True), target.state_dict(keep_vars=True)
    differ = [key for key in theirs.keys() | ours.keys() if key not in theirs or key not in ours or theirs[key].shape != ours[key].shape]
    if differ:
        title = f"{name} changes the weights ({min(differ)}{f' and {len(differ) - 1} more' if len(differ) > 1 else ''})"
        raise _refused(
            title, "A stage may change how the weights are used, not which there are: the rounds of a `loop`, not of a `repeat`."
        )
    for key, value in theirs.items():
        path, _, leaf = key.rpartition(".")
        module = target.get_submodule(path)
        if leaf in module._parameters:
            module._parameters[leaf] = value
        else:
            module._buffers[leaf] = value


def _refused(title: str, hint: str) -> ArchError:
    return ArchError(Diagnostic("AD0817", title, hint=hint))
