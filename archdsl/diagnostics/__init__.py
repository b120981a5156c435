"""Spans, the one Diagnostic type, rendering and the error index."""

from archdsl.diagnostics.diagnostic import ArchError, Collector, Diagnostic, Label, Source, Span
from archdsl.diagnostics.suggest import did_you_mean, suggestion

__all__ = ["ArchError", "Collector", "Diagnostic", "Label", "Source", "Span", "did_you_mean", "suggestion"]
