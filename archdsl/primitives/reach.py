"""Which positions of an input a position of the output may read: what a primitive says of an axis that is time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """floor((a * i + b) / c) for output position i, with c > 0. Bound() is i itself, Bound(1, -3) three positions before it."""

    a: int = 1
    b: int = 0
    c: int = 1

    def at(self, i: int) -> int:
        return (self.a * i + self.b) // self.c

    @property
    def never_later(self) -> bool:
        """Whether it is at most i for every i >= 0."""
        return self.a <= self.c and self.b < self.c

    @property
    def never_earlier(self) -> bool:
        """Whether it is at least i for every i >= 0."""
        return self.a >= self.c and self.b >= 0


@dataclass(frozen=True, slots=True)
class Reach:
    """Output position i reads no position of the input before `low` nor behind `high`; None where there is no such bound.

    reason: why the use is not taken as causal, in words that follow the operation's name: "averages over the axis". Where it is left out and
    `high` goes beyond i, the bound itself is the reason. declared: False for UNDECLARED alone.
    """

    low: Bound | None
    high: Bound | None
    reason: str = ""
    declared: bool = True

    @property
    def ahead(self) -> str | None:
        """Why it is not taken as causal; None if each position reads itself and earlier ones only."""
        if self.reason or (self.high is not None and self.high.never_later):
            return self.reason or None
        return "reads later positions"

    @property
    def looks_back(self) -> bool:
        """Whether an earlier position may be read, so that decoding must keep something."""
        return self.low is None or not self.low.never_earlier

    def admits(self, i: int, j: int) -> bool:
        """Whether output position i may read input position j."""
        return (self.low is None or self.low.at(i) <= j) and (self.high is None or j <= self.high.at(i))

    def __str__(self) -> str:
        if not self.declared:
            return "undeclared"
        low, high = ("" if bound is None else _text(bound) for bound in (self.low, self.high))
        return low if low == high and low else f"{low}..{high}"


SAME = Reach(Bound(), Bound())  # each position reads the same position only
EARLIER = Reach(None, Bound())  # itself and all before it
UNDECLARED = Reach(None, None, "does not say which positions it reads", declared=False)  # refused as unknown


def window(back: int, ahead: int = 0, reason: str = "", stride: int = 1) -> Reach:
    """From `back` positions before to `ahead` positions behind position stride * i."""
    return Reach(Bound(stride, -back), Bound(stride, ahead), reason)


def everything(reason: str) -> Reach:
    """Any position; said of a use that is not followed more closely, with the reason why it is not taken as causal."""
    return Reach(None, None, reason)


def _text(bound: Bound) -> str:
    scaled = {0: "", 1: "i"}.get(bound.a, f"{bound.a}*i")
    top = f"{scaled} {'-' if bound.b < 0 else '+'} {abs(bound.b)}" if bound.b and scaled else scaled or str(bound.b)
    return top if bound.c == 1 else f"floor({f'({top})' if ' ' in top else top} / {bound.c})"


__all__ = ["EARLIER", "SAME", "UNDECLARED", "Bound", "Reach", "everything", "window"]
