"""Reductions of the grammar -> expression nodes: the half of the builder that knows no declarations."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import Source, Span
from archdsl.language import syntax as s
from archdsl.language.lexer import unescape

Children = list[Any]


class ExpressionBuilder:
    """Each method takes the children of a reduction and the offsets of its text, and returns a node."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def span(self, start: int, end: int) -> Span:
        return Span(self.source, start, end)

    def expression(self, children: Children, start: int, end: int) -> s.Expr:
        expression: s.Expr = children[0]
        return expression

    def if_(self, children: Children, start: int, end: int) -> s.If:
        return s.If(Span(self.source, start, end), *children)

    def pipe(self, children: Children, start: int, end: int) -> s.Pipe:
        return s.Pipe(Span(self.source, start, end), children)

    def labelled(self, children: Children, start: int, end: int) -> s.Labelled:
        label, value = children
        return s.Labelled(Span(self.source, start, end), label.text, Span(self.source, label.start, label.end), value)

    def choice(self, children: Children, start: int, end: int) -> s.Choice:
        return s.Choice(Span(self.source, start, end), children)

    def binary(self, children: Children, start: int, end: int) -> s.Binary:
        left, sign, right = children
        return s.Binary(Span(self.source, start, end), sign.text, left, right)

    def unary(self, children: Children, start: int, end: int) -> s.Unary:
        return s.Unary(Span(self.source, start, end), children[0].text, children[1])

    def range_(self, children: Children, start: int, end: int) -> s.Range:
        low, sign, high = children
        return s.Range(Span(self.source, start, end), low, high, sign.kind == "DOTSEQ")

    def call(self, children: Children, start: int, end: int) -> s.Call:
        return s.Call(Span(self.source, start, end), children[0], children[1] or [])

    def index(self, children: Children, start: int, end: int) -> s.Index:
        return s.Index(Span(self.source, start, end), children[0], children[1])

    def attribute(self, children: Children, start: int, end: int) -> s.Attribute:
        return s.Attribute(Span(self.source, start, end), children[0], children[1].text)

    def number(self, children: Children, start: int, end: int) -> s.Number:
        text = children[0].text
        whole = text.replace("_", "").isdigit()
        return s.Number(Span(self.source, start, end), int(text) if whole else float(text))

    def string(self, children: Children, start: int, end: int) -> s.String:
        return s.String(Span(self.source, start, end), unescape(children[0].text))

    def true(self, children: Children, start: int, end: int) -> s.Bool:
        return s.Bool(Span(self.source, start, end), True)

    def false(self, children: Children, start: int, end: int) -> s.Bool:
        return s.Bool(Span(self.source, start, end), False)

    def none(self, children: Children, start: int, end: int) -> s.NoneLit:
        return s.NoneLit(Span(self.source, start, end))

    def name(self, children: Children, start: int, end: int) -> s.Name:
        token = children[0]
        return s.Name(Span(self.source, start, end), token.text.rstrip("'"), token.kind == "PRIMED")

    def tuple_(self, children: Children, start: int, end: int) -> s.TupleExpr:
        return s.TupleExpr(Span(self.source, start, end), children)

    def list_(self, children: Children, start: int, end: int) -> s.ListExpr:
        return s.ListExpr(Span(self.source, start, end), children[0] or [])

    def comprehension(self, children: Children, start: int, end: int) -> s.Comprehension:
        value, _, variable, source, condition = children
        return s.Comprehension(Span(self.source, start, end), value, variable.text, source, condition)

    def set_(self, children: Children, start: int, end: int) -> s.SetExpr:
        return s.SetExpr(Span(self.source, start, end), children[1:])

    def ellipsis(self, children: Children, start: int, end: int) -> s.Ellipsis_:
        return s.Ellipsis_(Span(self.source, start, end))

    # ---- expressions with a body ----

    def repeat(self, children: Children, start: int, end: int) -> s.Repeat:
        reversible, _, variable, count, body = children
        span = Span(self.source, start, end)
        return s.Repeat(span, variable.text if variable else None, count, body, reversible is not None)

    def loop(self, children: Children, start: int, end: int) -> s.Loop:
        _, variable, count, _, until, _, step, body = children
        return s.Loop(Span(self.source, start, end), variable.text if variable else None, count, until, step, body)

    def route(self, children: Children, start: int, end: int) -> s.Route:
        keyword, arguments, body = children
        return s.Route(Span(self.source, start, end), keyword.text, arguments or [], body)

    def plain_call(self, children: Children, start: int, end: int) -> s.Call:
        keyword, arguments = children
        name = s.Name(Span(self.source, keyword.start, keyword.end), keyword.text)
        return s.Call(Span(self.source, start, end), name, arguments or [])

    def train(self, children: Children, start: int, end: int) -> s.Train:
        return s.Train(Span(self.source, start, end), children[1], children[2])

    def lambda_(self, children: Children, start: int, end: int) -> s.Lambda:
        return s.Lambda(Span(self.source, start, end), children[0])

    # ---- lists of things ----

    def arguments(self, children: Children, start: int, end: int) -> Children:
        return children

    list_items = arguments

    def named(self, children: Children, start: int, end: int) -> s.Argument:
        return s.Argument(Span(self.source, start, end), children[0].text, children[2])

    def tilde(self, children: Children, start: int, end: int) -> s.Argument:
        left, _, init = children
        span = Span(self.source, start, end)
        if isinstance(left, s.Name) and not left.primed and left.span.start == start:  # `(e) ~ ones` is a shape, `e ~ ones` an argument e
            return s.Argument(span, left.id, init, tilde=True)
        return s.Argument(span, None, s.Tilde(span, left, init))

    def positional(self, children: Children, start: int, end: int) -> s.Argument:
        return s.Argument(Span(self.source, start, end), None, children[0])

    def index_items(self, children: Children, start: int, end: int) -> Children:
        """A range within an index is a slice."""
        return [s.Slice(i.span, i.low, i.high, i.closed) if isinstance(i, s.Range) else i for i in children]

    def slice_from(self, children: Children, start: int, end: int) -> s.Slice:
        return s.Slice(Span(self.source, start, end), children[0], None, children[1].kind == "DOTSEQ")

    def slice_to(self, children: Children, start: int, end: int) -> s.Slice:
        return s.Slice(Span(self.source, start, end), None, children[1], children[0].kind == "DOTSEQ")
