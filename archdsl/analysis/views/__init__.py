"""What an architecture looks like: tables, prose and pictures of a checked spec, without torch. All are functions of the spec alone."""

from __future__ import annotations

from archdsl.analysis.views.markup import to_dot, to_mermaid
from archdsl.analysis.views.page import diff_html, html
from archdsl.analysis.views.prose import explain
from archdsl.analysis.views.svg import to_svg
from archdsl.analysis.views.table import Row, rows, summary

__all__ = ["Row", "diff_html", "explain", "html", "rows", "summary", "to_dot", "to_mermaid", "to_svg"]
