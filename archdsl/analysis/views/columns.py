"""x coordinates for a layered layout: spots joined by a straight edge move as one column, pulled towards what they are joined to."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from archdsl.analysis.views.picture import Box

GAP_X = 26.0
PULLS = 14

Link = tuple[float, "Spot", "Spot", float]  # urgency (small first), upper, lower, how far the lower stands to the right


@dataclass(eq=False)
class Spot:
    """A place in a layer: a box, a waypoint of an edge, or a port of the scene."""

    width: float
    height: float
    box: Box | None = None
    layer: int = 0
    x: float = 0.0  # centre
    y: float = 0.0  # top
    place: int = 0  # in its layer
    above: list[tuple[Spot, float]] = field(default_factory=list)  # what it is joined to, and how far from there it would stand straight
    below: list[tuple[Spot, float]] = field(default_factory=list)


def pull(layers: list[list[Spot]], links: list[list[Link]]) -> None:
    """Gives every spot its x; `links` holds for each layer the edges to the next that may run straight."""
    columns = _columns(layers, links)
    for layer in layers:
        at = 0.0
        for spot in layer:
            spot.x = at + spot.width / 2
            at += spot.width + GAP_X
    for column in columns:
        column.settle(sum(spot.x - offset for spot, offset in column.spots.items()) / len(column.spots))
    ranked = _ranked(layers, columns)
    for step in range(PULLS):
        _push_apart(layers, ranked)
        for column in ranked if step % 2 == 0 else ranked[::-1]:
            column.pull(layers)
    _push_apart(layers, ranked)


def from_middle(spot: Spot, among: list[tuple[Spot, float]]) -> float:
    """How far a spot is from the middle of several, in places."""
    order = sorted(s.place for s, _ in among)
    return min(abs(order.index(spot.place) - (len(order) - 1) / 2), 3.0)


@dataclass(eq=False)
class _Column:
    """Spots that stand in one line, each with its offset to the line."""

    spots: dict[Spot, float]
    x: float = 0.0

    def settle(self, x: float) -> None:
        self.x = x
        for spot, offset in self.spots.items():
            spot.x = x + offset

    def pull(self, layers: list[list[Spot]]) -> None:
        """Moves towards the mean of what the spots are joined to, as far as the neighbours in their layers allow."""
        wishes = []
        for spot, offset in self.spots.items():
            weight = 1.0 if spot.box is None else 2.0
            for other, shift in spot.above:
                if other not in self.spots:
                    wishes.append((other.x + shift - offset, weight))
            for other, shift in spot.below:
                if other not in self.spots:
                    wishes.append((other.x + shift - offset, weight))
        if not wishes:
            return
        want = sum(x * w for x, w in wishes) / sum(w for _, w in wishes)
        low, high = -1e9, 1e9
        for spot, offset in self.spots.items():
            layer = layers[spot.layer]
            if spot.place > 0:
                left = layer[spot.place - 1]
                low = max(low, left.x + (left.width + spot.width) / 2 + GAP_X - offset)
            if spot.place + 1 < len(layer):
                right = layer[spot.place + 1]
                high = min(high, right.x - (right.width + spot.width) / 2 - GAP_X - offset)
        if low <= high:
            self.settle(min(max(want, low), high))


def _columns(layers: list[list[Spot]], links: list[list[Link]]) -> list[_Column]:
    """Joins spots by the most urgent links that do not cross one another, each spot to at most one above and one below."""
    column = {spot: _Column({spot: 0.0}) for layer in layers for spot in layer}
    for between in links:
        taken: list[tuple[int, int]] = []
        for _, a, b, shift in sorted(between, key=lambda link: link[0]):
            if any((a.place - p) * (b.place - q) <= 0 for p, q in taken):
                continue
            taken.append((a.place, b.place))
            upper, lower = column[a], column[b]
            move = upper.spots[a] + shift - lower.spots[b]
            for spot, offset in lower.spots.items():
                upper.spots[spot] = offset + move
                column[spot] = upper
    return list(dict.fromkeys(column.values()))


def _ranked(layers: list[list[Spot]], columns: list[_Column]) -> list[_Column]:
    """Columns from left to right: each after all that have a spot on its left."""
    owner = {spot: c for c in columns for spot in c.spots}
    after: dict[_Column, set[_Column]] = {c: set() for c in columns}
    waits = dict.fromkeys(columns, 0)
    for layer in layers:
        for a, b in pairwise(layer):
            if owner[b] not in after[owner[a]]:
                after[owner[a]].add(owner[b])
                waits[owner[b]] += 1
    order: list[_Column] = []
    ready = [c for c in columns if waits[c] == 0]
    while ready:
        here = ready.pop(0)
        order.append(here)
        for other in sorted(after[here], key=lambda c: min((s.layer, s.place) for s in c.spots)):
            waits[other] -= 1
            if waits[other] == 0:
                ready.append(other)
    return order + [c for c in columns if c not in set(order)]


def _push_apart(layers: list[list[Spot]], ranked: list[_Column]) -> None:
    """Moves columns to the right until no two spots of a layer are too near."""
    for column in ranked:
        low = -1e9
        for spot, offset in column.spots.items():
            if spot.place > 0:
                left = layers[spot.layer][spot.place - 1]
                low = max(low, left.x + (left.width + spot.width) / 2 + GAP_X - offset)
        if column.x < low:
            column.settle(low)


__all__ = ["Link", "Spot", "from_middle", "pull"]
