"""What may happen to a tensor between a published file and a spec's weight: a short, closed list of reshapings, in the order written.

Each works on torch tensors, also on the meta device, so the shape a file would give is known before a byte of it is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

_TOKEN = re.compile(r"\s*(?:([A-Za-z_][A-Za-z0-9_]*)|(\d{1,10})|([*/]))")


class FitError(Exception):
    """A transform that does not fit the tensor it is given. The text says why; the caller says where."""


def quantity(text: int | str, params: Mapping[str, Any]) -> Any:
    """A number, a parameter of the spec, or products and exact quotients of them from left to right: `d`, `4 * d`, `d / heads`.

    Raises FitError on an unknown name, a remainder, or anything else.
    """
    if isinstance(text, int):
        return text
    position, result, operator = 0, None, None
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FitError(f"`{text}` is not a product or quotient of parameters and whole numbers")
        name, digits, sign = match.groups()
        position = match.end()
        if sign is not None:
            if result is None or operator is not None:
                raise FitError(f"`{text}` is not a product or quotient of parameters and whole numbers")
            operator = sign
            continue
        if name is not None and name not in params:
            raise FitError(f"the spec has no parameter `{name}`")
        operand = params[name] if name is not None else int(digits)
        if result is None:
            result = operand
        elif operator is None:
            raise FitError(f"`{text}` lacks a `*` or `/`")
        else:
            result = _combine(text, result, operator, operand)
        operator = None
    if result is None or operator is not None:
        raise FitError(f"`{text}` is not complete")
    return result


def _combine(text: str, left: Any, operator: str, right: Any) -> int:
    if not all(isinstance(side, int) and not isinstance(side, bool) for side in (left, right)):
        raise FitError(f"`{text}` needs whole numbers, not {left!r} and {right!r}")
    if operator == "*":
        return left * right
    if right == 0 or left % right:
        raise FitError(f"in `{text}`, {left} / {right} leaves a remainder")
    return left // right


class _Transform(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Transpose(_Transform):
    """Swaps two axes (the last two unless said otherwise)."""

    kind: Literal["transpose"]
    axes: list[int] = Field(default=[-2, -1], min_length=2, max_length=2)

    def apply(self, x: torch.Tensor, params: Mapping[str, Any]) -> torch.Tensor:
        return x.transpose(*self.axes)


class RotaryHalves(_Transform):
    """Undoes the row order that llama.cpp's converter gives to query and key projections.

    In the file the two partners of a rotary pair lie side by side within each head (2j, 2j+1), as in Su et al. 2021 (arXiv:2104.09864);
    here they lie half a head apart (j, j + c/2). `heads`: how many heads the rows hold.
    """

    kind: Literal["rotary_halves"]
    heads: int | str

    def apply(self, x: torch.Tensor, params: Mapping[str, Any]) -> torch.Tensor:
        heads = quantity(self.heads, params)
        if x.shape[0] % (2 * heads):
            raise FitError(f"{x.shape[0]} rows are not {heads} heads of even width")
        pairs = x.reshape(heads, x.shape[0] // heads // 2, 2, *x.shape[1:])
        return pairs.transpose(1, 2).reshape(x.shape)


class Slice(_Transform):
    """One part of an axis: `parts` equal ones, or `sizes` of each. `part` counts from 0."""

    kind: Literal["split"]
    axis: int = 0
    part: int = Field(ge=0, le=1023)
    parts: int | str | None = None
    sizes: list[int | str] | None = Field(default=None, min_length=1, max_length=1024)

    @model_validator(mode="after")
    def _one_of_two(self) -> Slice:
        if (self.parts is None) == (self.sizes is None):
            raise ValueError("give either `parts` or `sizes`")
        return self

    def apply(self, x: torch.Tensor, params: Mapping[str, Any]) -> torch.Tensor:
        length = x.shape[self.axis]
        if self.sizes is not None:
            sizes = [quantity(s, params) for s in self.sizes]
        else:
            parts = quantity(self.parts or 1, params)
            if length % parts:
                raise FitError(f"an axis of {length} cannot be cut into {parts} equal parts")
            sizes = [length // parts] * parts
        if sum(sizes) != length:
            raise FitError(f"the parts {sizes} do not add up to the axis of {length}")
        if self.part >= len(sizes):
            raise FitError(f"there is no part {self.part} among {len(sizes)} (they count from 0)")
        return x.narrow(self.axis, sum(sizes[: self.part]), sizes[self.part])


class Reshape(_Transform):
    """The same numbers in another shape."""

    kind: Literal["reshape"]
    shape: list[int | str] = Field(max_length=8)

    def apply(self, x: torch.Tensor, params: Mapping[str, Any]) -> torch.Tensor:
        return x.reshape([quantity(s, params) for s in self.shape])


class Affine(_Transform):
    """scale * x + shift: for norms that store their gain minus one, and the like."""

    kind: Literal["affine"]
    scale: float = 1.0
    shift: float = 0.0

    def apply(self, x: torch.Tensor, params: Mapping[str, Any]) -> torch.Tensor:
        return x * self.scale + self.shift


Transform = Annotated[Transpose | RotaryHalves | Slice | Reshape | Affine, Field(discriminator="kind")]
TRANSFORM_NAMES = ("transpose", "rotary_halves", "split", "reshape", "affine")
