"""What a structural operation may ask while it writes its source text (see structural/base.py). One Writer stands for one node in one method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from archdsl.graph.ir import Axis, Instance, Kind, Region, Value


class Run(Protocol):
    """One region that a node runs, in the form that the method uses."""

    @property
    def region(self) -> Region: ...

    @property
    def form(self) -> str | None:
        """The step method that is called; None where the whole form is."""
        ...

    @property
    def decodes(self) -> bool:
        """Whether it runs at each decoding step, in whichever form."""
        ...


class Form(Protocol):
    """The form of the method that a node stands in."""

    @property
    def whole(self) -> bool:
        """Whether the method takes whole sequences, not the new positions of a decoding step."""
        ...

    @property
    def stepping(self) -> bool:
        """Whether the method is a step form in which the node runs anew at each step."""
        ...

    def over_time(self, axis: Axis) -> bool:
        """Whether the method holds only the new positions of this axis."""
        ...

    def row_wise(self, region: Region) -> bool:
        """Whether a region works on each vector along the last axis alone, so that its rows may be regrouped freely."""
        ...


class Writer(Form, Protocol):
    @property
    def path(self) -> str:
        """Source of the node's instance: `self.layers`."""
        ...

    @property
    def runs(self) -> Sequence[Run]:
        """The regions the node runs, one per feed."""
        ...

    def whole_form(self, region: Region) -> Run:
        """A region in its whole form, whatever the method."""
        ...

    @property
    def undone(self) -> bool:
        """Whether training goes back through the node by inverses of its rounds, so that nothing in between is kept."""
        ...

    # ---- values ----

    def name(self, value: Value) -> str:
        """A name for a value: its expression is written now if that is still to come."""
        ...

    def fresh(self, value: Value) -> str:
        """Claims a local name for a value that the node makes."""
        ...

    def alias(self, value: Value, source: str) -> None:
        """The value goes by this name from now on."""
        ...

    def temporary(self, base: str) -> str:
        """Claims a local name that stands for no value."""
        ...

    def begin(self, values: Sequence[Value], outputs: Sequence[Value]) -> list[str]:
        """Local names that hold `values` now and may be assigned to anew; in the end they are the names of `outputs`."""
        ...

    def targets(self, values: Sequence[Value]) -> list[str]:
        """Claims a name for each value that is used, `_` for the others."""
        ...

    def define(self, values: Sequence[Value], expression: str) -> None:
        """The node's results are this expression; it may be put inside the one that uses it."""
        ...

    def compose(self, values: Sequence[Value], make: Callable[[list[str]], str]) -> str:
        """The expression `make(sources of the values)`, with their own expressions put inside where that stays readable."""
        ...

    # ---- lines ----

    def line(self, statement: str) -> None: ...

    def assign(self, target: str, expression: str) -> None:
        """`target = expression`, laid out."""
        ...

    def block(self, head: str) -> AbstractContextManager[None]:
        """`head` as a line, and what is written inside the context below it."""
        ...

    # ---- calls ----

    def call(
        self,
        run: Run,
        path: str,
        args: Sequence[str],
        slot: str = "",
        clock: str = "clock",
        lengths: str | None = None,
        borrowed: Sequence[Instance] | None = None,
    ) -> str:
        """`path(args, …)`, or `path.step(args, …, slot, clock)` where the region keeps state; lengths and sizes are handed on.

        lengths: source to hand on instead of the caller's own. borrowed: the instances to hand on, by default all that the node does.
        """
        ...

    def instance(self, instance: Instance) -> str:
        """Source of an instance that the node uses."""
        ...

    def sizes(self, region: Region) -> list[str]:
        """Keyword arguments with the sizes that the whole form of a region must be handed."""
        ...

    def state_names(self, region: Region) -> dict[str, str]:
        """The keyword by which the form over time of a scan takes the first value of each state."""
        ...

    def slot(self, name: str) -> str:
        """Source of a dict that is kept between decoding steps, one for each name in a region."""
        ...

    def lengths(self, axis: Axis) -> str | None:
        """Source of the lengths along an axis; None if there are none."""
        ...

    def placement(self, kind: Kind) -> str:
        """Source of the keyword arguments that place a new tensor of this kind: `device=x.device, dtype=x.dtype`."""
        ...

    def counted(self, instance: Instance) -> str:
        """Source of how often a named loop runs: a table of its class, so that a built module can run it more or less often."""
        ...

    def support(self, *names: str) -> None:
        """Declares that the text calls functions of the support library."""
        ...

    def literal(self, value: float | bool | None) -> str: ...

    # ---- questions ----

    def looks_ahead(self, region: Region) -> bool:
        """Whether a region's results depend on later positions along the second last axis of its first input, and it is not told lengths."""
        ...


__all__ = ["Form", "Run", "Writer"]
