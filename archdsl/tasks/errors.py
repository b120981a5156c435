"""How a task refuses its options."""

from __future__ import annotations

from archdsl.diagnostics import ArchError, Diagnostic


def refuse(task: str, title: str, hint: str = "") -> ArchError:
    """AD0814 for options that do not go together."""
    return ArchError(Diagnostic("AD0814", f"the task {task}: {title}", hint=hint))
