"""The picture as SVG: pure text, one file, light and dark, the same for the same spec."""

from __future__ import annotations

from itertools import pairwise
from xml.sax.saxutils import escape

from archdsl.analysis.checked import Checked, graph_of
from archdsl.analysis.views.layout import HEAD, Placed, Route, lay_out
from archdsl.analysis.views.picture import Box, Edge, Scene, picture
from archdsl.graph.ir import Graph

MARGIN = 24.0
PORT = 26.0  # room for the name of an input above the picture
CURVE = 8.0

# fill (or ink) and stroke (or soft ink) of each kind of thing
LIGHT: dict[str, tuple[str, str]] = {
    "ink": ("#1f2937", "#6b7280"), "line": ("#9aa3b2", "#9aa3b2"), "page": ("#ffffff", "#ffffff"), "group": ("#f6f7f9", "#c9ced8"),
    "block": ("#eef1f6", "#a3adbf"), "weights": ("#e3eefb", "#7ba7dc"), "table": ("#e9e4fa", "#a08fd8"), "norm": ("#f3f4f6", "#b6bcc8"),
    "mixing": ("#fdeed6", "#dda653"), "control": ("#fbe4ea", "#d98aa2"), "plain": ("#ffffff", "#c3c9d4"),
}  # fmt: skip
DARK: dict[str, tuple[str, str]] = {
    "ink": ("#e5e7eb", "#9ca3af"), "line": ("#6b7686", "#6b7686"), "page": ("#111418", "#111418"), "group": ("#181c22", "#353c47"),
    "block": ("#222832", "#4d5869"), "weights": ("#1c2e45", "#456f9f"), "table": ("#2a2446", "#6c5ca8"), "norm": ("#20252c", "#4a525f"),
    "mixing": ("#3d2e14", "#a3782f"), "control": ("#3f2029", "#a05870"), "plain": ("#171b20", "#434b57"),
}  # fmt: skip


def to_svg(thing: Checked | Graph, depth: int = 2) -> str:
    """The architecture as an SVG document; blocks are opened `depth` levels down."""
    graph = graph_of(thing)
    scene = picture(graph, depth)
    return _document(graph.name, scene, lay_out(scene))


def _document(name: str, scene: Scene, placed: Placed) -> str:
    pen = _Pen()
    pen.scene(scene, placed, MARGIN, MARGIN + PORT, top=True)
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * (MARGIN + PORT)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="archdsl" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
            f"<title>{escape(name)}</title>",
            f"<style>{_style()}</style>",
            f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
            *pen.below,
            *pen.parts,
            *pen.heads,
            "</svg>",
            "",
        ]
    )


def _style() -> str:
    base = (
        ".archdsl text{font:12px ui-sans-serif,system-ui,'Segoe UI',Helvetica,Arial,sans-serif;text-anchor:middle}"
        ".archdsl .title{font-weight:600}.archdsl .small{font-size:10.5px}.archdsl .left{text-anchor:start}.archdsl .right{text-anchor:end}"
        ".archdsl .head{paint-order:stroke;stroke-width:5px;stroke-linejoin:round}.archdsl .box{stroke-width:1.2}"
        ".archdsl .wire{fill:none;stroke-width:1.4}.archdsl .shared{stroke-dasharray:5 3}"
    )
    return base + _colours(LIGHT) + f"@media (prefers-color-scheme:dark){{{_colours(DARK)}}}"


def _colours(theme: dict[str, tuple[str, str]]) -> str:
    ink, soft = theme["ink"]
    group, edge = theme["group"]
    rules = [
        f".archdsl text{{fill:{ink}}}",
        f".archdsl .small{{fill:{soft}}}",
        f".archdsl .page{{fill:{theme['page'][0]}}}",
        f".archdsl .wire{{stroke:{theme['line'][0]}}}",
        f".archdsl .tip{{fill:{theme['line'][0]}}}",
        f".archdsl .group{{fill:{group};stroke:{edge}}}",
        f".archdsl .head{{stroke:{group}}}",
    ]
    for kind in ("block", "weights", "table", "norm", "mixing", "control", "plain"):
        fill, stroke = theme[kind]
        rules.append(f".archdsl .{kind}{{fill:{fill};stroke:{stroke}}}")
    return "".join(rules)


class _Pen:
    """Collects the elements: `below` are open boxes, drawn first, `heads` their titles, drawn last over the edges that pass."""

    def __init__(self) -> None:
        self.below: list[str] = []
        self.heads: list[str] = []
        self.parts: list[str] = []

    def scene(self, scene: Scene, placed: Placed, x: float, y: float, top: bool = False) -> None:
        for box, (bx, by, w, h) in placed.boxes.items():
            if box in placed.inner:
                self.group(box, placed.inner[box], x + bx, y + by, w, h)
            else:
                self.box(box, x + bx, y + by, w, h)
        labels = _labels(scene, top)
        for route in placed.routes:
            self.wire(scene, route, x, y, labels.get(route.edge, ""), placed)
        for i, port in enumerate(placed.inputs):
            if port >= 0 and scene.inputs[i] and (top or len(scene.inputs) > 1):
                self.text(scene.inputs[i], x + port + (0 if top else 4), y - (9 if top else -10), "" if top else "small left")
        if not top and len(scene.outputs) > 1:
            for port, name in zip(placed.outputs, scene.outputs):
                self.text(name, x + port + 4, y + placed.height + 2, "small left")
        if top:
            for i, port in enumerate(placed.outputs):
                label = next((e.label for e in scene.edges if e.target is None and e.input == i), "")
                self.text(label, x + port, y + placed.height + 16, "")

    def group(self, box: Box, inner: Placed, x: float, y: float, w: float, h: float) -> None:
        shared = " shared" if box.shared else ""
        self.below.append(_rect(f"group{shared}", x, y, w, h, 8))
        title = escape(f"{box.title} {box.times}".rstrip())
        detail = f'<tspan class="small" dx="8">{escape(box.detail)}</tspan>' if box.detail else ""
        self.heads.append(f'<text class="left head" x="{_n(x + 10)}" y="{_n(y + 17)}"><tspan class="title">{title}</tspan>{detail}</text>')
        assert box.scene is not None
        dx, dy = x + (w - inner.width) / 2, y + HEAD
        self.scene(box.scene, inner, dx, dy)
        for port in inner.inputs:
            if port >= 0:
                self.parts.append(f'<path class="wire" d="M{_n(dx + port)} {_n(y)}V{_n(dy)}"/>')
        for port in inner.outputs:
            self.parts.append(f'<path class="wire" d="M{_n(dx + port)} {_n(dy + inner.height)}V{_n(y + h)}"/>')

    def box(self, box: Box, x: float, y: float, w: float, h: float) -> None:
        shared = " shared" if box.shared else ""
        if box.sign:
            self.parts.append(f'<circle class="box plain" cx="{_n(x + w / 2)}" cy="{_n(y + h / 2)}" r="{_n(w / 2)}"/>')
            self.text(box.sign, x + w / 2, y + h / 2 + 4.5, "title")
            return
        self.parts.append(_rect(f"box {box.category}{shared}", x, y, w, h, 6))
        title = f"{box.title} {box.times}" if box.times else box.title
        plain = box.category in ("plain", "norm") and not box.detail
        self.text(title, x + w / 2, y + (19 if box.detail else h / 2 + 4), "" if plain else "title")
        if box.detail:
            self.text(box.detail, x + w / 2, y + 35, "small")

    def wire(self, scene: Scene, route: Route, x: float, y: float, label: str, placed: Placed) -> None:
        points = [(x + px, y + py) for px, py in route.points]
        self.parts.append(f'<path class="wire" d="{_path(points)}"/>')
        tx, ty = points[-1]
        if route.edge.target is not None and route.edge.target not in placed.inner:
            self.parts.append(f'<path class="tip" d="M{_n(tx)} {_n(ty)}l-3.6 -6.5h7.2z"/>')
        if label and route.edge.target is not None:
            self.text(label, points[0][0] + 5, points[0][1] + 12, "small left")

    def text(self, text: str, x: float, y: float, style: str) -> None:
        if text:
            kind = f' class="{style}"' if style else ""
            self.parts.append(f'<text{kind} x="{_n(x)}" y="{_n(y)}">{escape(text)}</text>')


def _labels(scene: Scene, top: bool) -> dict[Edge, str]:
    """The shape on one edge of each value, where it differs from what the box reads."""
    reads: dict[Box, set[str]] = {}
    for e in scene.edges:
        if e.target is not None:
            reads.setdefault(e.target, set()).add(e.label)
    said: set[tuple[int, int]] = set()
    found = {}
    for e in scene.edges:
        key = (id(e.source), e.output)
        if e.source is None and not top:
            continue
        if key in said or (e.source is not None and e.label in reads.get(e.source, set())):
            continue
        said.add(key)
        found[e] = e.label
    return found


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _rect(style: str, x: float, y: float, w: float, h: float, radius: float) -> str:
    return f'<rect class="{style}" x="{_n(x)}" y="{_n(y)}" width="{_n(w)}" height="{_n(h)}" rx="{_n(radius)}"/>'


def _path(points: list[tuple[float, float]]) -> str:
    """A line that runs down, across in the middle of each gap, and down again, with rounded corners."""
    text = f"M{_n(points[0][0])} {_n(points[0][1])}"
    for (ax, ay), (bx, by) in pairwise(points):
        if abs(bx - ax) < 0.5:
            text += f"V{_n(by)}"
            continue
        middle = (ay + by) / 2
        r = min(CURVE, abs(bx - ax) / 2, abs(by - ay) / 2)
        side = r if bx > ax else -r
        text += f"V{_n(middle - r)}Q{_n(ax)} {_n(middle)} {_n(ax + side)} {_n(middle)}"
        text += f"H{_n(bx - side)}Q{_n(bx)} {_n(middle)} {_n(bx)} {_n(middle + r)}V{_n(by)}"
    return text


__all__ = ["to_svg"]
