"""The per-sample oracle as CoLa reports it, and its null. A search that is told the right answer of each question finds a program for most.

So the shares mean nothing alone: the same search on questions that have no right answer stands beside them, and how often a second search
comes to another verdict. Searches of different questions have seeds of their own: a shared seed would let one program count many times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archdsl.search.base import seeded
from archdsl.search.depth.program import COLA, Program, Rules, identity, layer_runs
from archdsl.search.depth.scoring import Exam, Question
from archdsl.search.depth.stack import Stack
from archdsl.search.depth.tree import COLA_SIMULATIONS, COLA_TREE, tree_search
from archdsl.search.drivers.tree import Rule


@dataclass(frozen=True, slots=True)
class Case:
    """One question's search. right: whether the plain model answers it. after: simulations until a shorter program kept the right answer, or
    any program mended the wrong one; None if none did. program: that program. runs: layers run."""

    right: bool
    after: int | None
    program: Program | None
    runs: int


@dataclass(frozen=True)
class Shares:
    """Shares over questions: (how many, of how many)."""

    kept: tuple[int, int]  # right answers kept by a shorter program
    mended: tuple[int, int]  # wrong answers made right by some program

    @property
    def passed(self) -> tuple[int, int]:
        """Questions that the model or some program answers."""
        return self.kept[1] + self.mended[0], self.kept[1] + self.mended[1]


@dataclass(frozen=True)
class Oracle:
    """cases: the search; null: the same on unanswerable questions; again: the search with other seeds.

    flips: how often the second search's verdict differs. alone: how often a found program's verdict differs when its question is scored in
    a batch with others instead of alone, of how many.
    """

    cases: list[Case]
    null: list[Case]
    again: list[Case]
    alone: tuple[int, int]
    simulations: int

    @property
    def flips(self) -> tuple[int, int]:
        changed = sum((a.after is None) != (b.after is None) for a, b in zip(self.cases, self.again))
        return changed, len(self.again)


def shares(cases: Sequence[Case], within: int | None = None) -> Shares:
    """The shares after `within` simulations (all if None)."""

    def found(case: Case) -> bool:
        return case.after is not None and (within is None or case.after <= within)

    right, wrong = [c for c in cases if c.right], [c for c in cases if not c.right]
    return Shares((sum(map(found, right)), len(right)), (sum(map(found, wrong)), len(wrong)))


def search_sample(
    stack: Stack, question: Question, seed: object, simulations: int = COLA_SIMULATIONS, rules: Rules = COLA, rule: Rule = COLA_TREE
) -> Case:
    """CoLa's search for one question, ended when its verdict is settled. A program is measured once, however often the tree comes to it."""
    exam, start = Exam(stack, [question], memory=1 << 27), identity(stack.depth)
    seen: dict[Program, float] = {}

    def reward(program: Program) -> float:
        if program not in seen:
            seen[program] = float(exam.score(program).verdicts[0])
        return seen[program]

    right = reward(start) > 0
    steps = tree_search(reward, start, stack.depth, rules, rule, simulations, seeded("oracle", seed))
    for number, step in enumerate(steps, 1):
        if step.reward > 0 and (not right or layer_runs(step.program) < stack.depth):
            return Case(right, number, step.program, exam.parts[0].prefixes.runs)
    return Case(right, None, None, exam.parts[0].prefixes.runs)


def oracle(
    stack: Stack,
    questions: Sequence[Question],
    unanswerable: Sequence[Question],
    seed: int,
    simulations: int = COLA_SIMULATIONS,
    tell: Callable[[str], None] = lambda text: None,
) -> Oracle:
    """The oracle, its null and a second search, each over its questions."""

    def run(name: str, asked: Sequence[Question]) -> list[Case]:
        cases = []
        for number, question in enumerate(asked):
            cases.append(search_sample(stack, question, (seed, name, number), simulations))
        done = shares(cases)
        tell(f"oracle, {name}: {done.kept[0]} of {done.kept[1]} kept shorter, {done.mended[0]} of {done.mended[1]} mended")
        return cases

    cases = run("questions", questions)
    null = run("null", unanswerable)
    again = run("second search", questions)
    return Oracle(cases, null, again, _batched_flips(stack, questions, cases), simulations)


def _batched_flips(stack: Stack, questions: Sequence[Question], cases: Sequence[Case]) -> tuple[int, int]:
    """How many found programs lose their right answer when all questions are scored together."""
    exam, changed, total = Exam(stack, questions, batch=len(questions), memory=1 << 28), 0, 0
    for number, case in enumerate(cases):
        if case.program is not None:
            total += 1
            changed += not bool(exam.score(case.program).verdicts[number])
    return changed, total
