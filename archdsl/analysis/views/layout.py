"""Layered layout of a scene, from top to bottom: every box below what it reads, long edges in channels beside the boxes they pass.

Open boxes are laid out first, on their own; their ports are the inner inputs' and outputs' places. Steps: layers by the longest path,
a waypoint in each layer that an edge passes, order within layers by the mean place of neighbours, then x by pulling towards neighbours
under a least distance. Everything is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from archdsl.analysis.views.columns import Link, Spot, from_middle, pull
from archdsl.analysis.views.picture import Box, Edge, Scene

GAP_Y = 30.0
PORT_Y = 20.0  # between the border of an open box and what is inside
LANE = 8.0  # width of a channel for an edge that passes
PAD = 14.0
HEAD = 30.0  # title of an open box
ROUND = 26.0  # diameter of +, ×
CHARACTER = 7.4  # width of a letter of a title
SMALL = 6.0
SWEEPS = 6


@dataclass(eq=False)
class Route:
    """A drawn edge: points from source to target, and where its label may stand."""

    edge: Edge
    points: list[tuple[float, float]]


@dataclass(eq=False)
class Placed:
    """A scene with coordinates: boxes' rectangles (x, y, width, height), edges' points, ports of the border."""

    width: float
    height: float
    boxes: dict[Box, tuple[float, float, float, float]]
    routes: list[Route]
    inner: dict[Box, Placed]
    inputs: list[float]
    outputs: list[float]


def text_width(text: str, per: float = CHARACTER) -> float:
    """An estimate of a text's width; wide signs count double."""
    return sum(per * (1.6 if ord(c) > 0x2E80 else 1.0) for c in text)


def lay_out(scene: Scene) -> Placed:
    """Coordinates for a scene and all scenes inside it."""
    inner = {box: lay_out(box.scene) for box in scene.boxes if box.scene is not None}
    return _Layout(scene, inner).place()


class _Layout:
    def __init__(self, scene: Scene, inner: dict[Box, Placed]) -> None:
        self.scene = scene
        self.inner = inner
        self.spots = {box: Spot(*self._size(box), box) for box in scene.boxes}
        read = {e.output for e in scene.edges if e.source is None}
        self.ins = {i: Spot(max(text_width(name, SMALL), 20.0), 0.0) for i, name in enumerate(scene.inputs) if i in read}
        self.outs = {i: Spot(20.0, 0.0) for i in range(len(scene.outputs))}
        self.layers: list[list[Spot]] = []
        self.chains: list[tuple[Edge, list[Spot]]] = []

    def _size(self, box: Box) -> tuple[float, float]:
        if box.sign:
            return ROUND, ROUND
        title = text_width(box.title) + (text_width(box.times) + 14 if box.times else 0)
        if box in self.inner:
            placed = self.inner[box]
            head = title + text_width(box.detail, SMALL) + 40
            return max(placed.width + 2 * PAD, head), placed.height + HEAD + PAD
        return max(title, text_width(box.detail, SMALL)) + 26, 44.0 if box.detail else 30.0

    def place(self) -> Placed:
        self._assign_layers()
        self._thread_edges()
        self._order()
        for layer in self.layers:
            for place, spot in enumerate(layer):
                spot.place = place
        pull(self.layers, self._links())
        self._heights()
        return self._result()

    # ---- layers ----

    def _assign_layers(self) -> None:
        before: dict[Box, list[Box]] = {box: [] for box in self.scene.boxes}
        for e in self.scene.edges:
            if e.source is not None and e.target is not None:
                before[e.target].append(e.source)
        start = 1 if self.ins else 0
        for box in self.scene.boxes:  # in the order of the body, so that all a box reads has its layer
            self.spots[box].layer = max((self.spots[b].layer + 1 for b in before[box]), default=start)
        self._sink_sources(before, start)
        last = max((s.layer for s in self.spots.values()), default=start - 1) + 1
        for spot in self.ins.values():
            spot.layer = 0
        for spot in self.outs.values():
            spot.layer = last
        self.layers = [[] for _ in range(last + 1)]

    def _sink_sources(self, before: dict[Box, list[Box]], start: int) -> None:
        """A box that reads nothing stands just above its first reader."""
        fed = {e.target for e in self.scene.edges if e.target is not None}
        readers: dict[Box, int] = {}
        for e in self.scene.edges:
            if e.source is not None and e.target is not None:
                readers[e.source] = min(readers.get(e.source, 1 << 30), self.spots[e.target].layer)
        for box in reversed(self.scene.boxes):
            if box not in fed and box in readers:
                self.spots[box].layer = max(start, readers[box] - 1)

    def _thread_edges(self) -> None:
        for spot in (*self.ins.values(), *self.spots.values(), *self.outs.values()):
            self.layers[spot.layer].append(spot)
        for e in self.scene.edges:
            source = self.ins[e.output] if e.source is None else self.spots[e.source]
            target = self.outs[e.input] if e.target is None else self.spots[e.target]
            chain = [source]
            for layer in range(source.layer + 1, target.layer):
                waypoint = Spot(LANE, 0.0, layer=layer)
                self.layers[layer].append(waypoint)
                chain.append(waypoint)
            chain.append(target)
            self.chains.append((e, chain))
            for i, (a, b) in enumerate(pairwise(chain)):
                shift = (self._leaves(e) if i == 0 else 0.0) - (self._arrives(e) if i == len(chain) - 2 else 0.0)
                a.below.append((b, -shift))
                b.above.append((a, shift))

    def _leaves(self, e: Edge) -> float:
        """How far from the source's centre an edge leaves."""
        if e.source is None or e.source not in self.inner:
            return 0.0
        outputs = self.inner[e.source].outputs
        return outputs[e.output] - self.inner[e.source].width / 2 if e.output < len(outputs) else 0.0

    def _arrives(self, e: Edge) -> float:
        if e.target is None:
            return 0.0
        if e.target in self.inner:
            inputs = self.inner[e.target].inputs
            placed = self.inner[e.target]
            return inputs[e.input] - placed.width / 2 if 0 <= e.input < len(inputs) else -self.spots[e.target].width / 2 + 12
        arriving = sorted({x.input for x in self.scene.edges if x.target is e.target})
        if len(arriving) < 2 or e.target.sign:
            return 0.0
        room = min(self.spots[e.target].width - 16, 18.0 * (len(arriving) - 1))
        return room * (arriving.index(e.input) / (len(arriving) - 1) - 0.5)

    # ---- order and x ----

    def _order(self) -> None:
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            layers = self.layers[1:] if down else self.layers[-2::-1]
            for layer in self.layers:
                for place, spot in enumerate(layer):
                    spot.x = float(place) - (len(layer) - 1) / 2
            for layer in layers:
                keys = {}
                for place, spot in enumerate(layer):
                    near = spot.above if down else spot.below
                    mean = sum(s.x + offset / 200 for s, offset in near) / len(near) if near else spot.x
                    passing = 0.25 if spot.box is None and spot.height == 0 and len(layer) > 1 else 0.0  # channels go to the right of boxes
                    keys[spot] = (mean + passing, place)
                layer.sort(key=keys.__getitem__)
                for place, spot in enumerate(layer):
                    spot.x = float(place) - (len(layer) - 1) / 2

    def _links(self) -> list[list[Link]]:
        """For each pair of layers the edges that may run straight: (urgency, above, below, how far the lower stands to the right)."""
        links: list[list[Link]] = [[] for _ in self.layers]
        for number, (e, chain) in enumerate(self.chains):
            for i, (a, b) in enumerate(pairwise(chain)):
                leaves = self._leaves(e) if i == 0 else 0.0
                arrives = self._arrives(e) if i == len(chain) - 2 else 0.0
                urgency = 0.0 if len(chain) > 2 and 0 < i < len(chain) - 2 else 1.0 if len(chain) == 2 else 2.0
                aside = from_middle(a, b.above) + from_middle(b, a.below)
                links[a.layer].append((urgency + aside / 10 + number * 1e-6, a, b, leaves - arrives))
        return links

    # ---- result ----

    def _heights(self) -> None:
        y = 0.0
        for i, layer in enumerate(self.layers):
            height = max((s.height for s in layer), default=0.0)
            for spot in layer:
                spot.y = y + (height - spot.height) / 2
            crossing = sum(1 for s in layer for t, _ in s.below if abs(s.x - t.x) > 1)
            gap = PORT_Y if (i == 0 and self.ins) or i + 2 == len(self.layers) else GAP_Y
            y += height + (gap + min(crossing, 5) * 3.0 if i + 1 < len(self.layers) else 0.0)

    def _result(self) -> Placed:
        everything = [s for layer in self.layers for s in layer]
        left = min((s.x - s.width / 2 for s in everything), default=0.0)
        right = max((s.x + s.width / 2 for s in everything), default=0.0)
        height = max((s.y + s.height for s in everything), default=0.0)
        for spot in everything:
            spot.x -= left
        boxes = {b: (s.x - s.width / 2, s.y, s.width, s.height) for b, s in self.spots.items()}
        routes = [Route(e, self._points(e, chain)) for e, chain in self.chains]
        ins = [self.ins[i].x if i in self.ins else -1.0 for i in range(len(self.scene.inputs))]
        return Placed(right - left, height, boxes, routes, self.inner, ins, [self.outs[i].x for i in range(len(self.scene.outputs))])

    def _points(self, e: Edge, chain: list[Spot]) -> list[tuple[float, float]]:
        first, last = chain[0], chain[-1]
        points = [(first.x + self._leaves(e), first.y + first.height)]
        for spot in chain[1:-1]:
            tall = max((s.height for s in self.layers[spot.layer]), default=0.0)
            points += [(spot.x, spot.y - tall / 2), (spot.x, spot.y + tall / 2)]
        points.append((last.x + self._arrives(e), last.y))
        return points


__all__ = ["Placed", "Route", "lay_out", "text_width"]
