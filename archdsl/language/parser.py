"""The LALR(1) automaton over the generated tables. One loop, no recursion; on an error it skips to the next statement and goes on."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import ArchError, Collector, Diagnostic, Source
from archdsl.language.arch_parser import RULES, START, STATES
from archdsl.language.builder import Builder
from archdsl.language.layout import arrange
from archdsl.language.lexer import Token, tokenize
from archdsl.language.syntax import Comment, Expr, File

SPLICE = 100
OPENING = ("LPAR", "LSQB", "LBRACE", "LSET")
CLOSING = ("RPAR", "RSQB", "RBRACE")
_RESYNC = ("_statement", "_top")  # what an erroneous stretch of tokens is taken for

# (state below, state, kind of the next token) -> state after all reductions that change nothing but the state
_shortcuts: dict[tuple[int, int, str], int] = {}


def parse(source: Source) -> File:
    """The tree of a whole file. Raises ArchError with all that was found (at most 20 errors), in the order of the text."""
    file, comments = _run(source, "file")
    assert isinstance(file, File)
    file.comments = comments
    return file


def parse_expression(source: Source) -> Expr:
    """The tree of a text that is one expression (as given on a command line)."""
    expression: Expr = _run(source, "expression")[0]
    return expression


def _run(source: Source, goal: str) -> tuple[Any, list[Comment]]:
    problems = Collector()
    try:
        tokens, comments = tokenize(source, problems)
        result = _Parser(tokens, source, problems).run(goal)
        problems.check()
    except ArchError as error:
        raise ArchError(*sorted(error.diagnostics, key=lambda d: d.span.start if d.span else 0)) from None
    return result, comments


class _Parser:
    def __init__(self, tokens: list[Token], source: Source, problems: Collector) -> None:
        self.source = source
        self.problems = problems
        self.tokens = arrange(tokens, source, problems)
        builder = Builder(source, problems)
        self.actions = [getattr(builder, action) if action else None for _, _, action, _ in RULES]
        self.states: list[int] = []
        self.values: list[Any] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.building = True
        self.last_error = -1

    def run(self, goal: str) -> Any:
        self.states.append(START[goal])
        tokens, states, index = self.tokens, self.states, 0
        while True:
            token = tokens[index]
            kind = token.kind
            action = STATES[states[-1]].get(kind)
            if action is None:
                index = self.recover(index)
            elif action < 0:
                self.reduce(~action, kind, token.start)
            elif kind == "END":
                return self.values[-1]
            else:
                states.append(action)
                self.values.append(token)
                self.starts.append(token.start)
                self.ends.append(token.end)
                index += 1

    def reduce(self, rule: int, kind: str, at: int) -> None:
        left, length, action, recipe = RULES[rule]
        children: list[Any]
        if not action and recipe == (0,) and left[0] != "_":
            self.pass_on(left, kind)
            return
        states, values = self.states, self.values
        first = len(values) - length
        if recipe and recipe[0] == SPLICE and left[0] == "_":  # a list that grows: the same list, or its making would be quadratic
            children, recipe = values[first], recipe[1:]
        else:
            children = []
        for child in recipe:
            if child < 0:
                children.append(None)
            elif child >= SPLICE:
                children += values[first + child - SPLICE]
            else:
                children.append(values[first + child])
        if length:
            start, end = self.starts[first], self.ends[-1]
            del states[-length:], values[first:], self.starts[first:], self.ends[first:]
        else:
            start = end = at
        build = self.actions[rule]
        if build is None:
            values.append(children if left[0] == "_" else children[0])
        else:
            values.append(build(children, start, end) if self.building else None)
        states.append(STATES[states[-1]][left])
        self.starts.append(start)
        self.ends.append(end)

    def pass_on(self, left: str, kind: str) -> None:
        """A reduction of one symbol to another. The precedence ladder makes long chains of them, so a whole chain is remembered."""
        states = self.states
        key = (states[-2], states[-1], kind)
        target = _shortcuts.get(key)
        if target is None:
            row = STATES[states[-2]]
            target = row[left]
            while (action := STATES[target].get(kind)) is not None and action < 0:
                left, length, name, recipe = RULES[~action]
                if name or length != 1 or recipe != (0,) or left[0] == "_":
                    break
                target = row[left]
            _shortcuts[key] = target
        states[-1] = target

    # ---- errors ----

    def recover(self, index: int) -> int:
        """Tells the error at a token, takes the statement around it for read, and returns the token that ends it."""
        from archdsl.language.mistakes import explain  # only a text with mistakes pays for these
        from archdsl.language.situation import Situation

        if index == self.last_error:  # no headway: the brackets around are beyond repair
            raise ArchError(*self.problems.diagnostics)
        self.last_error = index
        situation = Situation(self.source, self.tokens, index, self.accepts)
        problem = explain(situation)
        if not self.told(problem) and not self.told(situation.say("", "")):
            self.problems.add(problem)
        self.building = False
        if situation.resume is not None:  # the mistake ended with the line before
            index = situation.resume
            self.tokens.insert(index, self.tokens[index]._replace(kind="SEP", text=""))
        depth = 0
        while not any(goal in STATES[self.states[-1]] for goal in _RESYNC):
            if len(self.states) == 1:
                raise ArchError(*self.problems.diagnostics)
            self.states.pop()
            self.ends.pop()
            self.starts.pop()
            value = self.values.pop()
            if isinstance(value, Token):
                depth += (value.kind in OPENING) - (value.kind in CLOSING)
        goal = next(goal for goal in _RESYNC if goal in STATES[self.states[-1]])
        while (kind := self.tokens[index].kind) != "END":
            if depth == 0 and (kind == "RBRACE" or (kind == "SEP" and (goal == "_statement" or self.at_margin(index + 1)))):
                break
            depth += (kind in OPENING) - (kind in CLOSING)
            index += 1
        self.states.append(STATES[self.states[-1]][goal])
        self.values.append([])
        self.starts.append(self.tokens[index].start)
        self.ends.append(self.tokens[index].start)
        return index

    def at_margin(self, index: int) -> bool:
        """Whether a token stands at the left margin, as declarations do: what is indented belongs to the erroneous one."""
        start = self.tokens[index].start
        return self.tokens[index].kind == "END" or start == 0 or self.source.text[start - 1] in "\r\n;\ufeff"

    def told(self, problem: Diagnostic) -> bool:
        """Whether something was told on the same line already: what follows is probably its echo, and comes back if it is not."""
        line = self.source.position(problem.span.start if problem.span else 0)[0]
        return any(d.span is not None and self.source.position(d.span.start)[0] == line for d in self.problems.diagnostics)

    def accepts(self, kind: str) -> bool:
        """Whether a token of this kind could stand next: the reductions are run on a copy of the states."""
        states = list(self.states)
        while True:
            action = STATES[states[-1]].get(kind)
            if action is None or action >= 0:
                return action is not None
            left, length, _, _ = RULES[~action]
            if length:
                del states[-length:]
            states.append(STATES[states[-1]][left])
