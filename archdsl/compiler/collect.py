"""Side losses and taps of a built module, by path."""

from __future__ import annotations

from typing import Any


def collect_aux(model: Any) -> dict[str, Any]:
    """The side losses (`aux name = …`) of the last forward pass in training mode: {"layers.0.moe.balance": tensor}.

    A block that ran several times gives the sum over its runs.
    """
    return _gathered(model, "aux")


def tap(model: Any, on: bool = True) -> Any:
    """Switches taps on or off in all parts of a model; returns the model."""
    for module in model.modules():
        if "tapping" in vars(module):
            module.tapping = on
            module.taps.clear()
    return model


def collect_taps(model: Any) -> dict[str, Any]:
    """The tapped values (`tap name = …`) of the last forward pass after `tap(model)`, detached."""
    return _gathered(model, "taps")


def _gathered(model: Any, table: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        for name, value in vars(module).get(table, {}).items():
            found[f"{path}.{name}" if path else name] = value
    return found
