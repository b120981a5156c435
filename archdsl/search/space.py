"""A spec as a search space: its decisions, how many points they make, and the model that each point stands for."""

from __future__ import annotations

import os
import random
from collections import Counter as Counts
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NoReturn

from archdsl.api import find
from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.elaboration.body import Session
from archdsl.elaboration.elaborate import elaborate, pick_arch
from archdsl.graph.ir import Region
from archdsl.language.loader import Loader, Namespace
from archdsl.primitives.custom import load_wanted_plugins
from archdsl.search.base import Choice, Count, Point, Rejected
from archdsl.search.counting import Counter
from archdsl.search.screening import ContractMissed, Screen, SpecCandidate
from archdsl.search.tree import Dead, End, Grammar
from archdsl.search.walk import DeadEnd, Walk

NESTING = 6  # how deep blocks that contain themselves may nest
RUNS = 1_500  # branches run for an exact count; beyond, the count is an estimate
RETRIES = 200

Pick = Callable[[Walk], int]


class SpecSpace:
    """All models that a spec's decisions make; the points of `archdsl.search.base.Space`.

    A point maps paths such as "layers.3/residual/f/Mixer/choice" to an option's index, in order of expansion. Blocks that contain themselves
    nest at most `nesting` deep, which makes every space finite. `sizes` (T, H, …) are those that costs are given at; 1,024 where not given.
    `alike`: options weigh the same in every draw, instead of by the points below them, most of which are large models in most spaces.
    """

    def __init__(
        self,
        namespace: Namespace,
        loader: Loader,
        arch: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        sizes: Mapping[str, int] | None = None,
        nesting: int = NESTING,
        runs: int = RUNS,
    ) -> None:
        load_wanted_plugins()
        self.namespace, self.loader = namespace, loader
        self.arch = pick_arch(namespace, arch)
        self.name = self.arch.name
        self.overrides = dict(overrides or {})
        self.nesting, self.runs = nesting, runs
        self.alike = False
        self.screen = Screen(self, dict(sizes or {}))
        self.grammar = Grammar(Session(loader), self._start)
        self._counter: Counter | None = None
        self._check()

    def _start(self, session: Session) -> Region:
        return elaborate(self.namespace, self.loader, self.name, self.overrides, session=session).graph.root

    def _check(self) -> None:
        self.grammar.likely(self.grammar.root)
        top = self.grammar.root.root
        if isinstance(top, Dead):
            raise ArchError(*top.problems)
        if isinstance(top, End):
            raise ArchError(
                Diagnostic(
                    "AD1001",
                    f"`{self.name}` leaves nothing to decide",
                    self.arch.name_span,
                    "one model, not a space",
                    hint="Write a choice, `Attention(heads) | GatedLinearAttention(heads)`, or a domain, `d in {64, 128} = 64`.",
                )
            )
        if not self.grammar.root.outcomes and not self._counts().total:
            self._empty()

    def _empty(self) -> NoReturn:
        """Says why no point can be made: what is wrong with the defaults, or that a recursion never ends."""
        try:
            self._start(Session(self.loader))
        except ArchError as error:
            if any(d.code != "AD0401" for d in error.diagnostics):
                raise
        raise ArchError(
            Diagnostic(
                "AD1004",
                f"no expansion of `{self.name}` ever ends",
                self.arch.name_span,
                f"within {self.nesting} levels of blocks that contain themselves",
                hint="Give each recursive choice an option that does not lead back to it: `block T = linear(8) | (T -> relu -> T)`.",
            )
        )

    def _counts(self) -> Counter:
        if self._counter is None:
            self._counter = Counter(self.grammar, self.nesting, self.runs)
        return self._counter

    # ---- points ----

    def walk(self) -> Walk:
        """A walk from the first decision on."""
        return Walk(self.grammar, self._counts(), self.nesting, self.alike)

    def open(self, made: Point) -> Choice | None:
        """The next decision after those made. Raises ArchError for a path or option that is not there, Rejected where nothing fits."""
        walk, left = self.walk(), dict(made)
        try:
            while (choice := walk.choice()) is not None and choice.path in left:
                walk.take(self._option(choice, left.pop(choice.path)))
        except DeadEnd as end:
            raise Rejected(str(end)) from None
        if left:
            raise self._unknown(next(iter(left)), choice)
        return choice

    def _option(self, choice: Choice, index: int) -> int:
        if not 0 <= index < len(choice.options):
            raise ArchError(
                Diagnostic("AD1003", f"the decision `{choice.path}` has no option {index}", hint=f"It has {len(choice.options)}, from 0.")
            )
        return index

    def _unknown(self, path: str, choice: Choice | None) -> ArchError:
        where = f"The next decision is `{choice.path}`." if choice is not None else "All decisions are made."
        return ArchError(
            Diagnostic("AD1003", f"`{self.name}` has no decision `{path}` here", note=where, hint="`archdsl explain` lists the decisions.")
        )

    def count(self) -> Count:
        """The number of points. Contracts are not looked at: a point may still be rejected."""
        counter = self._counts()
        return Count(sum(counter.total.values()), counter.exact)

    def points(self) -> Iterator[dict[str, int]]:
        """Every point, in order of its choices."""
        ahead: list[dict[str, int]] = [{}]
        while ahead:
            made = ahead.pop()
            try:
                choice = self.open(made)
            except Rejected:
                continue
            if choice is None:
                yield made
            else:
                ahead += [{**made, choice.path: index} for index in reversed(live(choice))]

    # ---- drawing ----

    def sample(self, rng: random.Random, by: Literal["derivations", "choices"] = "derivations") -> dict[str, int]:
        """A point: each derivation alike, or each option that leads to one alike. Raises Rejected if none is found."""
        return self._drawn(lambda walk: walk.draw(rng, by))

    def mutate(self, point: Point, rng: random.Random) -> dict[str, int]:
        """One decision changed, each alike; what is still there stays, what opens anew is drawn. The point itself only if it is alone."""
        free = [c for c in self.choices(point) if len(live(c)) > 1]
        if not free:
            return dict(point)
        changed = free[rng.randrange(len(free))]
        others = [i for i in live(changed) if i != point[changed.path]]
        return self._kept({**_signed(self.choices(point), point), changed.path: (changed.options, rng.choice(others))}, rng)

    def cross(self, a: Point, b: Point, rng: random.Random) -> dict[str, int]:
        """Point a with a block's or a round's decisions taken from anywhere in b where the same text stands, or decisions mixed one by one."""
        first, second = _signed(self.choices(a), a), _signed(self.choices(b), b)
        if rng.random() < 0.5:
            moved = self._moved(a, b, first, second, rng)
            if moved is not None:
                return self._kept(moved, rng)
        mixed = dict(first)
        for path, item in second.items():
            if path not in mixed or rng.random() < 0.5:
                mixed[path] = item
        return self._kept(mixed, rng)

    def choices(self, point: Point) -> list[Choice]:
        """The decisions of a complete point, in order."""
        walk, left = self.walk(), dict(point)
        found = []
        try:
            while (choice := walk.choice()) is not None:
                if choice.path not in left:
                    raise ArchError(
                        Diagnostic(
                            "AD1003",
                            f"the decision `{choice.path}` is not made",
                            note=f"Its options are {', '.join(choice.options)}.",
                            hint="A point has an option for each decision that its earlier ones open.",
                        )
                    )
                found.append(choice)
                walk.take(self._option(choice, left.pop(choice.path)))
        except DeadEnd as end:
            raise Rejected(str(end)) from None
        if left:
            raise self._unknown(next(iter(left)), None)
        return found

    def _moved(self, a: Point, b: Point, first: Signed, second: Signed, rng: random.Random) -> Signed | None:
        """Point a with one unit's decisions taken from a place in b where the same text stands."""
        places: dict[int, list[str]] = {}
        for prefix, unit in self._entered(b):
            places.setdefault(unit, []).append(prefix)
        targets = [(prefix, unit) for prefix, unit in self._entered(a) if unit in places]
        if not targets:
            return None
        into, unit = targets[rng.randrange(len(targets))]
        out = rng.choice(places[unit])
        kept = {p: i for p, i in first.items() if not p.startswith(into)}
        return kept | {into + p[len(out) :]: i for p, i in second.items() if p.startswith(out)}

    def _entered(self, point: Point) -> list[tuple[str, int]]:
        walk = self.walk()
        while (choice := walk.choice()) is not None:
            walk.take(point[choice.path])
        return walk.entered

    def _kept(self, wanted: Signed, rng: random.Random) -> dict[str, int]:
        """A point that takes the options wanted where the decision is there and they fit; the rest is drawn."""

        def pick(walk: Walk) -> int:
            choice = walk.choice()
            assert choice is not None
            options, index = wanted.get(choice.path, ((), -1))
            if options == choice.options and index in live(choice):
                return index
            return walk.draw(rng, "derivations")

        return self._drawn(pick)

    def complete(self, made: Point, loose: bool = False) -> dict[str, int]:
        """A point that begins with decisions made and goes on by defaults. Decisions that do not come up, or do not fit, are an error, or
        left out if `loose`. Raises ArchError, Rejected."""
        left = dict(made)

        def pick(walk: Walk) -> int:
            choice = walk.choice()
            assert choice is not None
            index = left.pop(choice.path, None)
            if index is None or (loose and index not in live(choice)):
                return walk.usual()
            return self._option(choice, index)

        point = self._drawn(pick, 1)
        if left and not loose:
            raise self._unknown(next(iter(left)), None)
        return point

    def parse(self, path: str | os.PathLike[str]) -> dict[str, int]:
        """The point whose model a spec file (or text) is, whoever wrote it. Raises ArchError if there is none."""
        from archdsl.search.recovering import recover

        return recover(self, path)

    def _drawn(self, pick: Pick, tries: int = RETRIES) -> dict[str, int]:
        reason = ""
        for _ in range(tries):
            walk, made = self.walk(), {}
            try:
                while (choice := walk.choice()) is not None:
                    made[choice.path] = pick(walk)
                    walk.take(made[choice.path])
                return made
            except DeadEnd as end:
                reason = str(end)
        raise Rejected(reason)

    # ---- models ----

    def candidate(self, point: Point) -> SpecCandidate:
        """The point's model, with costs, contracts checked. Raises Rejected; ArchError for a point that is none of this space."""
        return self.screen.candidate(point)

    def first(self, rng: random.Random, tries: int = RETRIES) -> SpecCandidate:
        """A sampled candidate. Raises ArchError if `tries` samples are all rejected, with the contract that is in the way."""
        missed: list[ContractMissed] = []
        reason = ""
        for _ in range(tries):
            try:
                return self.candidate(self.sample(rng))
            except ContractMissed as miss:
                missed.append(miss)
            except Rejected as rejected:
                reason = str(rejected)
        raise self._unmet(missed, tries) if missed else ArchError(Diagnostic("AD1002", f"no point of `{self.name}` fits", note=reason))

    def _unmet(self, missed: list[ContractMissed], tries: int) -> ArchError:
        """The contract that most samples fail, and how near they come."""
        worst = Counts(m.contract for m in missed).most_common(1)[0]
        nearest = min((m for m in missed if m.contract == worst[0]), key=lambda m: m.gap)
        expect = next(e for e in self.screen.contracts if e.condition.span.text == worst[0])
        value = f"; the nearest comes to {nearest.value:,.0f}" if nearest.value is not None else ""
        return ArchError(
            Diagnostic(
                "AD1002",
                f"no sample of `{self.name}` meets `expect {worst[0]}`",
                expect.condition.span,
                f"missed by {worst[1]} of {tries} samples{value}",
                hint="Loosen the contract, or add smaller options to the space.",
            )
        )


Signed = dict[str, tuple[tuple[str, ...], int]]  # path -> options, the one taken


def live(choice: Choice) -> list[int]:
    """The options with points below them."""
    return [i for i in range(len(choice.options)) if choice.weights is None or choice.weights[i]]


def _signed(choices: list[Choice], point: Point) -> Signed:
    return {c.path: (c.options, point[c.path]) for c in choices}


def open_space(
    path: str | os.PathLike[str],
    arch: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    sizes: Mapping[str, int] | None = None,
    nesting: int = NESTING,
    runs: int = RUNS,
) -> SpecSpace:
    """The space of a spec file, or of a text (anything with a line break). Raises ArchError."""
    loader = Loader()
    text = str(path)
    namespace = loader.text(text, "<text>") if "\n" in text else loader.load(find(path))
    return SpecSpace(namespace, loader, arch, overrides, sizes=sizes, nesting=nesting, runs=runs)


__all__ = ["SpecSpace", "live", "open_space"]
