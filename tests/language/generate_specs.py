"""Random texts that are syntactically valid `.arch` files: every construct, odd spacing, comments in every place a line may end.

Names mean nothing here: the texts parse, and need not elaborate. The same seed gives the same text.
"""

from __future__ import annotations

import random

_PLAIN = ["x", "y", "z", "h", "q", "k", "v", "d", "n", "m", "heads", "depth", "f", "g", "norm", "gate"]
_CONTEXTUAL = ["step", "state", "scan", "act", "skip", "route", "on", "over", "lengths", "until", "with", "where", "train"]
NAMES = [*_PLAIN, *_CONTEXTUAL, "param", "tap", "aux"]
KINDS = ["module", "value", "int", "float", "str", "bool", "list"]
OPERATORS = ["+", "-", "*", "/", "//", "%", "@", "**", "==", "!=", "<", "<=", ">", ">=", "and", "or"]
STRINGS = ['"t (h c) -> h t c"', '""', '"a \\"quoted\\" word"', '"tab\\tand\\nline"', '"back\\\\slash"', '"ünï→code"']
NUMBERS = ["0", "1", "12", "100_000", "0.5", "1e-3", "2.5e10", "9_007_199_254_740_992"]


class Spec:
    """One random file: `Spec(seed).text`."""

    def __init__(self, seed: int, declarations: int | None = None) -> None:
        self.random = random.Random(seed)
        self.comments = 0
        parts = [self.pick(['"""A file."""\n', '"""Two\n\n    lines.\n"""\n', "# a head\n", "", ""])]
        parts.append(self.pick(["language 1\n", "", ""]))
        parts += [f"import {self.string()}{self.pick([' as lib', ''])}{self.end()}" for _ in range(self.random.randint(0, 2))]
        parts += [f'pin {self.string()} "sha256:00"{self.end()}' for _ in range(self.random.randint(0, 1))]
        for _ in range(declarations or self.random.randint(1, 6)):
            parts.append(self.declaration())
        self.text = "".join(parts)

    # ---- chance ----

    def pick(self, options: list[str]) -> str:
        return self.random.choice(options)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def some(self, make: object, low: int, high: int, separator: str = ", ") -> str:
        assert callable(make)
        return separator.join(make() for _ in range(self.random.randint(low, high)))

    def comment(self) -> str:
        self.comments += 1
        return f"# note {self.comments}"

    def end(self) -> str:
        """The end of a line: comments, blank lines."""
        return self.pick(["\n", "\n", "\n", "\n\n", f"  {self.comment()}\n", f"\n   {self.comment()}\n", "\r\n", "\n\n\n"])

    def gap(self) -> str:
        """Where a line may end within a statement."""
        return self.pick([" ", " ", " ", " ", " ", "  ", "\n        ", f" {self.comment()}\n   ", f"\n {self.comment()}\n  "])

    # ---- pieces ----

    def name(self) -> str:
        return self.pick(NAMES)

    def string(self) -> str:
        return self.pick(STRINGS)

    def shape(self) -> str:
        kind = self.pick(["", "", "", "int", "bool", "complex"])
        group = self.pick(["heads: ", "", "", ""])
        return f"{kind}[{group}{self.some(self.dim, 1 if group else 0, 3)}]"

    def dim(self) -> str:
        return self.pick(["..", "T", "d", "2 * n", "d // heads", "(n + 1)", "3"])

    def parameters(self) -> str:
        return f"({self.some(self.parameter, 0, 4, ',' + self.gap())}{self.pick(['', ''])})" if self.chance(0.7) else ""

    def parameter(self) -> str:
        text = self.name()
        if self.chance(0.2):
            text += f": {self.pick(KINDS)}"
        if self.chance(0.2):
            text += self.pick([" in {1, 2, 4}", " in 2..=12", " in {GLA, Attention}", " in range_of(d)"])
        return text + (f" = {self.expression(1)}" if self.chance(0.5) else "")

    # ---- declarations ----

    def declaration(self) -> str:
        doc = self.pick(["", "", "", '"""A doc."""\n', '"""Two\n    lines.\n    """\n'])
        kind = self.random.randrange(8)
        if kind <= 2:
            return f"{doc if self.comments else ''}{self.block()}{self.end()}"
        if kind == 3:
            return f"scan {self.name()}{self.parameters()} {self.body(2, 'yield')}{self.end()}"
        if kind == 4:
            return self.act() + self.end()
        if kind == 5:
            return f"{self.name()} = {self.expression(2)}{self.end()}"
        overrides = f" with {self.name()}={self.atom(1)}, {self.name()}=3" if self.chance(0.3) else ""
        return f"expect {self.name()}{self.pick(['', ' == 3', ' < 2_000_000', '(T=4096) < 300'])}{overrides}{self.end()}"

    def block(self) -> str:
        head = f"{self.pick(['block', 'arch'])} {self.name()}{self.parameters()}"
        if self.chance(0.2):
            head += f" on {self.shape()}"
        return f"{head} ={self.gap()}{self.expression(3)}" if self.chance(0.3) else f"{head} {self.body(3, 'return')}"

    def act(self) -> str:
        statics = f"({self.some(self.parameter, 0, 2)})" if self.chance(0.3) else ""
        learned = f"; a: [axis] = 0.25, {self.name()} = {self.atom(1)}" if self.chance(0.3) else ""
        backward = f"{self.gap()}backward {self.expression(2)}" if self.chance(0.3) else ""
        return f"act {self.name()}{statics}({self.some(self.name, 1, 2)}{learned}) = {self.expression(2)}{backward}"

    # ---- bodies ----

    def body(self, depth: int, result: str) -> str:
        if self.chance(0.3) or depth <= 0:
            return f"{{{self.gap()}{self.expression(depth - 1)}{self.gap()}}}"
        if self.chance(0.3):
            inputs = self.some(self.input, 1, 2)
            return f"{{ in {inputs}{self.pick([' ', '; ', chr(10)])}{result} {self.expression(depth - 1)} }}"
        lines = [self.statement(depth - 1) for _ in range(self.random.randint(1, 4))]
        lines.append(f"{result} {self.some(lambda: self.expression(depth - 1), 1, 2)}")
        text = "".join(f"    {line}{self.pick([self.end(), self.end(), '; '])}" for line in lines)
        return f"{{{self.end()}{text.rstrip('; ')}{self.pick([self.end(), chr(10)])}}}"

    def input(self) -> str:
        text = self.name()
        if self.chance(0.8):
            text += f": {self.shape()}"
        text += self.pick(["", "", "", " lengths", " over H", " = none", " where d % 2 == 0", " over H = none where d > 3"])
        return text

    def statement(self, depth: int) -> str:
        kind = self.random.randrange(10)
        if kind == 0:
            return f"in {self.some(self.input, 1, 3)}"
        if kind == 1:
            return f"state {self.name()}: {self.shape()}{self.pick(['', ' = 0', ' ~ zeros'])}"
        if kind == 2:
            return f"param {self.name()}: {self.shape()}{self.pick(['', ' ~ normal(0.02)'])}"
        if kind == 3:
            return f"where {self.pick(['n', '(n + 1)', '2 * n', 'not f(n)', '-n'])} == {self.operand(1)}"
        if kind == 4:
            return f"{self.pick(['aux', 'tap'])} {self.name()} = {self.expression(depth)}"
        targets = self.some(lambda: self.name() + self.pick(["", "", "'"]), 1, 3)
        return f"{targets} ={self.gap()}{self.expression(depth)}"

    # ---- expressions ----

    def expression(self, depth: int, tight: bool = False) -> str:
        kind = self.random.randrange(12)
        if depth <= 0 or kind < 3:
            return self.atom(depth)
        if kind < 6:
            left, right = self.operand(depth - 1), self.operand(depth - 1)
            space = " " if tight else self.gap()
            return f"{left}{space}{self.pick(OPERATORS)} {right}"
        if tight or kind == 6:
            return f"{self.pick(['-', 'not ', '- - '])}{self.operand(depth - 1)}"
        if kind == 7:
            condition, then, other = (self.expression(depth - 1) for _ in range(3))
            return f"if {condition}{self.gap()}then {then}{self.gap()}else {other}"
        if kind == 8:
            return self.some(lambda: self.stage(depth - 1), 2, 4, f"{self.gap()}| ")
        return self.some(lambda: self.labelled(depth - 1), 2, 5, f"{self.gap()}-> ")

    def operand(self, depth: int) -> str:
        return self.atom(depth) if self.chance(0.6) else f"({self.expression(depth)})"

    def labelled(self, depth: int) -> str:
        return self.pick(["", "", "label: "]) + self.stage(depth)

    def stage(self, depth: int) -> str:
        return self.atom(depth) if self.chance(0.8) else f"({self.expression(depth)})"

    def atom(self, depth: int) -> str:
        kind = self.random.randrange(16 if depth > 0 else 4)
        if kind == 0:
            return self.pick(NUMBERS)
        if kind == 1:
            return self.pick([self.string(), "true", "false", "none"])
        if kind <= 3:
            return self.name() + self.pick(["", "", "", "'"])
        if kind <= 6:
            return f"{self.pick(['linear', 'f', 'x.layer', 'g(2)'])}({self.arguments(depth - 1)})"
        if kind == 7:
            return f"{self.name()}[{self.some(lambda: self.item(depth - 1), 1, 3)}]"
        if kind == 8:
            return f"[{self.some(lambda: self.expression(depth - 1), 0, 3, ',' + self.gap())}]"
        if kind == 9:
            condition = f" if {self.expression(depth - 1)}" if self.chance(0.3) else ""
            return f"[{self.expression(depth - 1)} for i in {self.pick(['0..n', '{1, 2}', 'xs'])}{condition}]"
        if kind == 10:
            return f"({self.expression(depth - 1)}, {self.some(lambda: self.expression(depth - 1), 1, 2)})"
        if kind == 11:
            head = self.pick(["", "reversible "]) + "repeat " + self.pick(["3", "depth", "i in 0..n", "i in {1, 2}", "(2 * n)"])
            return f"{head} {self.body(depth - 1, 'return')}"
        if kind == 12:
            head = "loop " + self.pick(["3", "i in 0..=8", "n"]) + self.pick(["", " until halt(x)"]) + self.pick(["", " step 1/3"])
            return f"{head} {self.body(depth - 1, 'return')}"
        if kind == 13:
            return f"{self.pick(['route', 'skip'])}({self.arguments(depth - 1)}) {self.body(depth - 1, 'return')}"
        if kind == 14:
            other = f" else {self.body(depth - 1, 'return')}" if self.chance(0.5) else ""
            return f"(train {self.body(depth - 1, 'return')}{other})"
        return self.body(depth - 1, "return")

    def arguments(self, depth: int) -> str:
        return self.some(lambda: self.argument(depth), 0, 3, f",{self.gap()}")

    def argument(self, depth: int) -> str:
        kind = self.random.randrange(6)
        if kind == 0:
            return f"{self.name()}={self.expression(depth)}"
        if kind == 1:
            return f"bias ~ {self.atom(depth)}"
        if kind == 2:
            return f"[n, 3] ~ {self.atom(depth)}"
        return self.expression(depth)

    def item(self, depth: int) -> str:
        return self.pick(["..", "..3", "1..", "2..=n", "..=k", "0", self.expression(depth, tight=True)])
