"""How a decoded axis runs through structural operations: what one says of its results, and what it may ask while it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from archdsl.graph.ir import Region, Value


@dataclass(frozen=True, slots=True)
class Place:
    """How a value stands to the decoded axis: `moving` if it depends on decoded input; `axes` are the (negative) positions of the axis."""

    moving: bool = False
    axes: tuple[int, ...] = ()

    @property
    def axis(self) -> int | None:
        return self.axes[0] if self.axes else None


FIXED = Place()


def joined(places: Sequence[Place], like: Place) -> Place:
    """Moving if any of them is, with the axes of one."""
    return Place(any(p.moving for p in places), like.axes)


class Seen(Protocol):
    """A region, looked at for one way its inputs stand to the decoded axis."""

    @property
    def outputs(self) -> list[Place]:
        """Its outputs; of a scan's step also the next values of its states."""
        ...

    def place(self, value: Value) -> Place:
        """How a value inside it stands to the axis."""
        ...


class Time(Protocol):
    """One node's view of the axis."""

    def place(self, value: Value) -> Place:
        """How a value of the region that the node stands in stands to the axis."""
        ...

    def axes(self, value: Value) -> tuple[int, ...]:
        """Where one of the node's outputs has the axis, going by the axes' identities."""
        ...

    def look(self, region: Region, places: tuple[Place, ...]) -> Seen:
        """A region below the node, for places of `region.all_inputs` (of a scan's step also of its states)."""
        ...

    def below(self, seen: Sequence[Seen | None]) -> None:
        """Says what was seen of each region that the node feeds; None for one that evaluation does not reach."""
        ...

    def refuse(self, reason: str) -> None:
        """Says that a result at one position depends on later ones, and why, in words that follow the operation's name."""
        ...


__all__ = ["FIXED", "Place", "Seen", "Time", "joined"]
