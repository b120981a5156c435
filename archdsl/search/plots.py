"""Plots of a report as inline SVG: pure text, light and dark by the page's own colours (classes, no fixed ink)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 14, 44


@dataclass(frozen=True)
class Series:
    """Points of one kind. style: the CSS class of its marks; line: "" (marks alone), "line" or "steps"; names: shown on hovering."""

    title: str
    style: str
    points: Sequence[tuple[float, float]]
    line: str = ""
    names: Sequence[str] = ()


def chart(series: Sequence[Series], x_title: str, y_title: str, whole_x: bool = False) -> str:
    """A chart with its axes and legend; empty text if there is nothing to show."""
    points = [p for s in series for p in s.points if all(map(math.isfinite, p))]
    if not points:
        return ""
    x_axis, y_axis = _Axis([p[0] for p in points], LEFT, WIDTH - RIGHT, whole_x), _Axis([p[1] for p in points], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_title)} against {escape(x_title)}">']
    for tick in x_axis.ticks:
        at = x_axis(tick)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{short(tick)}</text>')
    for tick in y_axis.ticks:
        at = y_axis(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{short(tick)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>')
    parts.append(f'<text class="axis" transform="translate(16 {middle:.0f}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>')
    for each in series:
        parts += _drawn(each, x_axis, y_axis)
    parts.append("</svg>")
    shown = [s for s in series if s.points]
    legend = "".join(f'<span class="{s.style}"><i></i>{escape(s.title)}</span>' for s in shown)
    return "\n".join(parts) + f'\n<div class="legend">{legend}</div>'


def bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars: name, length from 0 to 1, and what stands behind it."""
    height = 24 * len(rows) + 8
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img">']
    for i, (name, share, text) in enumerate(rows):
        y = 24 * i + 6
        label = name if len(name) <= 42 else f"…{name[-41:]}"
        parts.append(f'<text class="name" x="296" y="{y + 13}" text-anchor="end">{escape(label)}<title>{escape(name)}</title></text>')
        parts.append(f'<rect class="bar" x="304" y="{y + 2}" width="{max(1.0, 240 * share):.1f}" height="14" rx="2"/>')
        parts.append(f'<text class="tick" x="{310 + max(1.0, 240 * share):.1f}" y="{y + 13}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>"])


def short(value: float) -> str:
    """A number of a few characters: `1.2M`, `0.35`."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9999:
            return f"{value / size:.4g}{unit}"
    return f"{value:.4g}"


def _drawn(series: Series, x_axis: _Axis, y_axis: _Axis) -> list[str]:
    placed = [(x_axis(x), y_axis(y)) for x, y in series.points]
    parts = []
    if series.line and len(placed) > 1:
        path = f"M{placed[0][0]:.1f} {placed[0][1]:.1f}"
        for x, y in placed[1:]:
            path += f"H{x:.1f}V{y:.1f}" if series.line == "steps" else f"L{x:.1f} {y:.1f}"
        parts.append(f'<path class="line {series.style}" d="{path}"/>')
    if series.line != "steps" or len(placed) == 1:
        names = [*series.names, *[""] * (len(placed) - len(series.names))]
        for (x, y), name in zip(placed, names, strict=True):
            hover = f"<title>{escape(name)}</title>" if name else ""
            parts.append(f'<circle class="dot {series.style}" cx="{x:.1f}" cy="{y:.1f}" r="4">{hover}</circle>')
    return parts


class _Axis:
    """Values to places, with round ticks."""

    def __init__(self, values: Sequence[float], start: float, end: float, whole: bool = False) -> None:
        low, high = min(values), max(values)
        if low == high:
            low, high = low - (abs(low) * 0.1 or 1), high + (abs(high) * 0.1 or 1)
        step = 10 ** math.floor(math.log10((high - low) / 4))
        step *= next(m for m in (1, 2, 5, 10) if (high - low) / (step * m) <= 6)
        step = max(1.0, step) if whole else step
        first, last = math.floor(low / step), math.ceil(high / step)
        self.ticks = [i * step for i in range(first, last + 1)]
        self.low, self.high, self.start, self.end = first * step, last * step, start, end

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / ((self.high - self.low) or 1) * (self.end - self.start)
