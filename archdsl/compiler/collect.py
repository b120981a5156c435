"""Side losses and taps of a built module, by path."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import ArchError, Diagnostic, suggestion


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


def rounds(model: Any) -> dict[str, int]:
    """How often each named loop of a built module runs: {"deep": 2, "think": 6}."""
    return {name: count for module in model.modules() for name, count in vars(module).get("loop_counts", {}).items()}


def set_rounds(model: Any, **counts: int) -> Any:
    """Changes how often named loops run (`think: loop 6 { … }`), wherever they stand in the module; its weights stay. Returns the model.

    Raises AD0408 for a loop that is not there or a count below 0.
    """
    known = rounds(model)
    for name, count in counts.items():
        if name not in known:
            raise ArchError(
                Diagnostic("AD0408", f"there is no loop named `{name}`", hint=suggestion(name, known, f"Named: {', '.join(known)}."))
            )
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ArchError(Diagnostic("AD0408", f"the loop `{name}` cannot run {count} times", hint="A count is a whole number."))
    for module in model.modules():
        table = vars(module).get("loop_counts", {})
        table.update({name: count for name, count in counts.items() if name in table})
    return model


def _gathered(model: Any, table: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, module in model.named_modules():
        for name, value in vars(module).get(table, {}).items():
            found[f"{path}.{name}" if path else name] = value
    return found
