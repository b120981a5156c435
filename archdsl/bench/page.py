"""Results as a table for the terminal, and as a page with a plot."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

Rows = Sequence[dict[str, Any]]

HOW = """Each figure is a ratio of times, loop / form: above 1 the form is faster. Loop and form run in turn; a ratio is taken of each pair,
and the median of the pairs is shown. The loop is the step as written, called for the slices that one `unbind` gives (indexing `x[:, t]`
instead would make its backward pass quadratic in time, and every ratio look better than it is). It is part of the same emitted module, and
what a step computes from the inputs alone it computes step by step, while the forms compute it once before: the linear layers of the inputs
of LSTM, GRU and the like. For these two the last rows show what torch's own modules reach against the same loop. *Kept* is what a run
keeps for its backward pass beyond inputs and weights: each saved storage counted once, in MB. *Error* is the root mean square of the
difference from the loop's output, relative to that output's."""


OLDER = "A column measured again replaces its old figures, so that columns may be of different ages; the date is that of the last."


def number(value: float | None, digits: int = 3) -> str:
    """Three digits, no exponent."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.{max(0, digits - len(str(int(value))))}f}"


def cells(row: dict[str, Any]) -> list[str]:
    """What a row shows, in the order of HEAD."""
    training = row["training"] or {}
    kept = [number(x / 1e6) if x is not None else "–" for x in (row["kept"], row["loop_kept"])]
    shape = "x".join(str(row["shape"][k]) for k in ("batch", "heads", "d", "time"))
    error = "–" if row["error"] is None else f"{row['error']:.0e}"
    return [row["scan"], row["class"], shape, row["form"], number(row["forward"]["ratio"]), number(training.get("ratio")), *kept, error]


HEAD = ["scan", "class", "BxHxdxT", "form", "forward", "with backward", "kept", "loop keeps", "error"]


def plain(rows: Rows) -> str:
    """A table for the terminal."""
    table = [HEAD, *map(cells, rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(c.rjust(w) if i >= 4 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip() for line in table
    )


def markdown(result: dict[str, Any], plot: str) -> str:
    """The page docs/scans.md. plot: the file name of the drawing beside it."""
    lines = [
        "# Scans: how fast each form is",
        "",
        "Written by `python benchmarks/scans.py --docs`.",
        "",
        f"{_measured(result)} No GPU was used.",
        "",
        HOW,
        "",
        f"![Ratios]({plot})",
        "",
    ]
    lines += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * 4 + "--:|" * (len(HEAD) - 4)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in result["rows"]]
    if result["alone"]:
        lines += ["", f"These run as the plain loop only: {', '.join(result['alone'])}."]
    if grid := result.get("grid"):
        text = "Loop / kernel, forward and backward; in brackets forward only, where the loop would keep too much."
        lines += ["", "## The kernel at 40 shapes", "", f"{text} {OLDER}", "", _measured(grid), "", *_grid(grid["rows"])]
    if peer := result.get("associative"):
        text = (
            "Torch's `associative_scan`, compiled for each shape, / kernel: forward and backward, then forward alone. Both run in turn. It holds\n"
            "the states of all steps several times over; shapes at which one copy takes more than 90 MB are left out."
        )
        lines += ["", "## Against compiled associative_scan", "", text, "", _measured(peer), "", *_grid(peer["rows"])]
        lines += ["", "Forward alone:", "", *_grid([{**row, "training": row["forward"]} for row in peer["rows"]])]
    return "\n".join(lines) + "\n"


def _measured(result: dict[str, Any]) -> str:
    """When, on what, and how often."""
    machine = result["machine"]
    return (
        f"Measured on {machine['date']}: {machine['processor']}, {machine['threads']} threads, torch {machine['versions'].get('torch', '?')}, "
        f"load {machine['load']}, {result['pairs']} pairs, {result['dtype']}."
    )


def _grid(rows: Rows) -> list[str]:
    """The kernel over the grid of shapes: the ratio of forward and backward, or of forward where that is all that was measured."""
    rows = [r for r in rows if r["form"] == "kernel"]
    names = list(dict.fromkeys(r["scan"] for r in rows))
    ratios = {(cells(r)[2], r["scan"]): r for r in rows}
    lines = ["| BxHxdxT | " + " | ".join(names) + " |", "|---|" + "--:|" * len(names)]
    for shape in dict.fromkeys(cells(r)[2] for r in rows):
        lines.append(f"| {shape} | " + " | ".join(_ratio(ratios.get((shape, n))) for n in names) + " |")
    worst = min(rows, key=lambda r: (r["training"] or r["forward"])["ratio"])
    return [*lines, "", f"The least ratio is {_ratio(worst)}, of {worst['scan']} at {cells(worst)[2]}."]


def _ratio(row: dict[str, Any] | None) -> str:
    if row is None:
        return "–"
    return number(row["training"]["ratio"]) if row["training"] else f"({number(row['forward']['ratio'])})"


def svg(rows: Rows) -> str:
    """Bars of the kernel's ratio with backward, on a logarithmic axis."""
    from math import log10

    shown = [(r["scan"], (r["training"] or r["forward"])["ratio"]) for r in rows if r["form"] == "kernel"]
    top = max([10.0, *(ratio for _, ratio in shown)])
    left, width, line = 210, 520, 18
    scale = width / (log10(top) + 1)

    def at(ratio: float) -> float:
        return left + scale * (log10(max(ratio, 0.1)) + 1)

    height = line * len(shown) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{height}" font-family="sans-serif" font-size="12">'
    ]
    parts.append('<rect width="100%" height="100%" fill="white"/>')
    tick = 0.1
    while tick <= top:
        dash = "" if tick == 1 else ' stroke-dasharray="2 3"'
        parts.append(f'<line x1="{at(tick):.1f}" x2="{at(tick):.1f}" y1="24" y2="{height - 16}" stroke="#888"{dash}/>')
        parts.append(f'<text x="{at(tick):.1f}" y="16" text-anchor="middle">{tick:g}x</text>')
        tick = round(tick * 10, 1)
    for i, (name, ratio) in enumerate(shown):
        y = 30 + line * i
        low, high = sorted((at(1), at(ratio)))
        colour = "#2a78b8" if ratio >= 1 else "#c0392b"
        parts.append(f'<text x="{left - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{low:.1f}" y="{y}" width="{max(high - low, 1):.1f}" height="{line - 5}" fill="{colour}"/>')
        parts.append(f'<text x="{max(high, at(1)) + 5:.1f}" y="{y + 11}">{number(ratio)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
