"""What a notebook shows: a spec as a table and a picture, a difference as a table; self-contained HTML."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from archdsl.analysis import cost
from archdsl.analysis.diff import Diff
from archdsl.analysis.usual import at_sizes, chosen_sizes
from archdsl.analysis.views.figures import shapes, short, size_in_bytes
from archdsl.analysis.views.svg import to_svg
from archdsl.analysis.views.table import Row, rows

if TYPE_CHECKING:
    from archdsl.analysis.checked import Checked

_STYLE = (
    ".archdsl-page{font:13px ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif}"
    ".archdsl-page table{border-collapse:collapse}"
    ".archdsl-page td,.archdsl-page th{padding:2px 10px;text-align:left;border:0;white-space:pre}"
    ".archdsl-page th{opacity:.65;font-weight:normal;border-bottom:1px solid #8884}"
    ".archdsl-page .n{text-align:right;font-variant-numeric:tabular-nums}"
    ".archdsl-page .total td{border-top:1px solid #8884;font-weight:600}"
    ".archdsl-page .plus{color:#1a7f37}.archdsl-page .minus{color:#cf222e}.archdsl-page .same{opacity:.65}"
    ".archdsl-page summary{cursor:pointer;margin:6px 0}"
)


def html(spec: Checked, depth: int = 3, picture_depth: int = 2, sizes: Mapping[str, int] | None = None) -> str:
    """A summary table and the picture, folded under a heading; needs nothing from elsewhere."""
    graph = spec.graph
    tree = rows(graph, depth)
    flops, state = spec.costs.flops(graph.root), cost.state_bytes(graph.root)
    chosen = chosen_sizes([flops, state, *_figures(tree)], sizes, graph.facts)
    arguments = ", ".join(f"{k}={v}" for k, v in graph.arguments.items())
    cells = [line for i, row in enumerate(tree) for line in _lines(row, 0, chosen)]
    total = _cells(
        ["", graph.name, "", shapes(v.type for v in graph.root.outputs)], spec.parameters, cost.at(flops, chosen), cost.at(state, chosen)
    )
    at = f" at {escape(at_sizes(chosen))}" if chosen else ""
    return (
        f'<div class="archdsl-page"><style>{_STYLE}</style>'
        f"<div><b>{escape(graph.name)}</b>({escape(arguments)}): {spec.parameters:,} parameters</div>"
        f"<details open><summary>Parts</summary><table><tr><th>part</th><th>what</th><th>output</th>"
        f'<th class="n">parameters</th><th class="n">FLOPs{at}</th><th class="n">state</th></tr>'
        f'{"".join(cells)}<tr class="total">{total}</tr></table></details>'
        f"<details><summary>Picture</summary>{to_svg(graph, picture_depth)}</details></div>"
    )


def _figures(tree: list[Row]) -> list[object]:
    return [f for row in tree for f in (row.flops, row.state, *_figures(row.rows))]


def _lines(row: Row, level: int, sizes: Mapping[str, int]) -> list[str]:
    name = "    " * level + row.name
    text = _cells(["", name, row.what, row.output], row.parameters, cost.at(row.flops, sizes), cost.at(row.state, sizes), row.shared)
    return [f"<tr>{text}</tr>", *(line for child in row.rows for line in _lines(child, level + 1, sizes))]


def _cells(left: list[str], parameters: int, flops: int, state: int, shared: bool = False) -> str:
    said = "shared" if shared and not parameters else f"{parameters:,}" if parameters else ""
    right = [said, short(flops) if flops else "", size_in_bytes(state) if state else ""]
    return "".join(f"<td>{escape(c)}</td>" for c in left[1:]) + "".join(f'<td class="n">{escape(c)}</td>' for c in right)


def diff_html(found: Diff) -> str:
    """A difference as a table."""
    lines = found.text().split("\n")
    body = []
    for line in lines[1:]:
        if line and not line.startswith(" "):
            body.append(f"<tr><th>{escape(line.rstrip(':'))}</th></tr>")
        elif line.strip():
            kind = {"+": "plus", "-": "minus"}.get(line.strip()[:1], "")
            body.append(f'<tr><td class="{kind}">{escape(line.strip())}</td></tr>')
    return f'<div class="archdsl-page"><style>{_STYLE}</style><div><b>{escape(lines[0])}</b></div><table>{"".join(body)}</table></div>'


__all__ = ["diff_html", "html"]
