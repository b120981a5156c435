"""What a primitive may ask for while it writes its source text (see primitives/base.py). One Emitter stands for one node in one method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from archdsl.graph.ir import Axis, Instance, Kind
    from archdsl.graph.sizes import Size


class Emitter(Protocol):
    @property
    def self(self) -> str:
        """The instance of this node, e.g. `self.q_proj` (or the local name of a shared instance that was handed in)."""
        ...

    def weight(self, name: str) -> str:
        """A weight of the instance: `self.q_proj.weight`. A primitive with one weight called "" is the parameter itself: `self.scale`."""
        ...

    def support(self, name: str) -> str:
        """Declares that the text calls a function or class of primitives/support/ (plain torch); returns the name to call it by."""
        ...

    def define(self, name: str, source: str) -> str:
        """Declares a generated top-level definition (class or function `name`), written once per module; returns the name to call it by.

        The same source asked for twice is one definition. If the name is taken by another source, the definition is renamed (`Golu2`) and the
        new name returned; the source must therefore name itself only in its first line. What it calls of the library is declared by `support`.
        """
        ...

    def size(self, size: Size) -> str:
        """Source for a size: a number, or an expression over the shapes of the region's inputs."""
        ...

    def lengths(self, axis: Axis) -> str | None:
        """Source of the tensor [batch] holding each sequence's own length along a ragged axis; None if the axis is not ragged.

        An axis made by a stride has the name of the lengths it comes from and what became of them, as in `tokens;-1,2`: each `;c,s` turns
        a length n into max(0, (n + c) // s + 1), and each `;*s,r` into max(0, n * s + r), in turn.
        """
        ...

    @property
    def slot(self) -> str:
        """step only: source of this occurrence's state, a dict that starts empty: `state["attend"]`. Kept tensors go in it by name."""
        ...

    @property
    def clock(self) -> str:
        """step only: source of the Clock: where the new positions begin in each sequence and how many of them are real."""
        ...

    def over_time(self, axis: Axis) -> bool:
        """step only: True if this axis is the one being decoded along (the tensor then holds only its new positions)."""
        ...

    def module_source(self, instance: Instance) -> str:
        """Source of the nn.Module given as a module parameter (unembed's `table`); its weights are reached as attributes."""
        ...

    @property
    def training(self) -> str:
        """Source of the bool that says whether the model is in training mode: `self.training`."""
        ...

    def placement(self, kind: Kind) -> str:
        """Source of the keyword arguments that place a new tensor of this kind: `device=x.device, dtype=x.dtype`."""
        ...

    @property
    def batch(self) -> str:
        """Source of the batch size: `x.shape[0]`."""
        ...
