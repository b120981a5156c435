"""Reductions of the grammar -> nodes of the syntax tree: one method per action of grammars/arch.lark."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any

from archdsl.diagnostics import Collector, Diagnostic, Source, Span, suggestion
from archdsl.language import syntax as s
from archdsl.language.expressions import ExpressionBuilder
from archdsl.language.lexer import Token, unescape

Children = list[Any]
VERSION = 1
PARAMETER_KINDS = ("module", "value", "int", "float", "str", "bool", "list")
SHAPE_KINDS = ("float", "int", "bool", "complex")


class Builder(ExpressionBuilder):
    """Files, declarations and statements; expressions are inherited."""

    def __init__(self, source: Source, problems: Collector) -> None:
        super().__init__(source)
        self.problems = problems
        self.docs: dict[s.Body, tuple[str, Span]] = {}

    def tell(self, code: str, title: str, span: Span, label: str = "", note: str = "", hint: str = "") -> None:
        self.problems.add(Diagnostic(code, title, span, label, note=note, hint=hint))

    def token_span(self, token: Token) -> Span:
        return Span(self.source, token.start, token.end)

    # ---- files ----

    def file(self, children: Children, start: int, end: int) -> s.File:
        file = s.File(Span(self.source, 0, len(self.source.text)), None, None, [], [], [])
        arch: str | None = None
        pending: tuple[str, Span] | None = None
        for position, item in enumerate(children):
            if isinstance(item, tuple) and isinstance(item[1], Span):
                if pending:
                    self.stray_doc(pending[1])
                pending = None
                if position == 0:
                    file.doc = item[0] or None
                else:
                    pending = item
                continue
            if isinstance(item, (s.BlockDecl, s.ActDecl, s.ScanDecl)):
                if pending:
                    if item.doc is not None:
                        self.stray_doc(pending[1])
                    item.doc = pending[0] or None
                if isinstance(item, s.BlockDecl) and item.is_arch:
                    arch = item.name
            elif pending:
                self.stray_doc(pending[1])
            pending = None
            self.add(file, item, arch)
        for _, span in [*self.docs.values(), *([pending] if pending else [])]:
            self.stray_doc(span)
        return file

    def add(self, file: s.File, item: Any, arch: str | None) -> None:
        if isinstance(item, (s.Import, tuple, s.Number)) and file.declarations:
            span = self.span(*item[2]) if isinstance(item, tuple) else item.span
            hint = "Move it above the first declaration."
            self.tell("AD0149", "this line belongs to the head of the file", span, "after a declaration", hint=hint)
        if isinstance(item, s.Import):
            file.imports.append(item)
        elif isinstance(item, tuple):
            file.pins.append(item[:2])
        elif isinstance(item, s.Number):
            if item.value != VERSION:
                note = f"This program reads version {VERSION} of the language."
                self.tell("AD0144", "this version of the language is not known", item.span, "", note, f"Write `language {VERSION}`.")
            file.version = int(item.value)
        else:
            if isinstance(item, s.Expect):
                item.arch = arch
            file.declarations.append(item)

    def stray_doc(self, span: Span) -> None:
        hint = "Put it at the head of the file, directly before a block, arch, act or scan, or first in its body; else use `#`."
        self.tell("AD0138", "this doc string belongs to nothing", span, "", hint=hint)

    def doc(self, children: Children, start: int, end: int) -> tuple[str, Span]:
        text = children[0].text[3:-3].replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
        return cleandoc("\n".join(line.rstrip() for line in text.split("\n"))), Span(self.source, start, end)

    def language(self, children: Children, start: int, end: int) -> s.Number:
        text = children[1].text
        return s.Number(Span(self.source, start, end), int(text) if text.isdigit() else -1)

    def import_(self, children: Children, start: int, end: int) -> s.Import:
        _, path, _, alias = children
        return s.Import(Span(self.source, start, end), unescape(path.text), self.token_span(path), alias.text if alias else None)

    def pin(self, children: Children, start: int, end: int) -> tuple[str, str, tuple[int, int]]:
        return unescape(children[1].text), unescape(children[2].text), (start, end)

    # ---- declarations ----

    def block(self, children: Children, start: int, end: int) -> s.BlockDecl:
        keyword, name, parameters, _, on, *rest = children
        value = rest[-1]
        body = value if len(rest) == 1 else s.Body(value.span, [], value)
        span = Span(self.source, start, end)
        decl = s.BlockDecl(span, name.text, self.token_span(name), parameters or [], on, body, keyword.kind == "ARCH")
        decl.doc = self.docs.pop(body, (None,))[0]
        return decl

    def scan(self, children: Children, start: int, end: int) -> s.ScanDecl:
        _, name, parameters, body = children
        decl = s.ScanDecl(Span(self.source, start, end), name.text, self.token_span(name), parameters or [], body)
        decl.doc = self.docs.pop(body, (None,))[0]
        return decl

    def act(self, children: Children, start: int, end: int) -> s.ActDecl:
        _, name, first, second, _, forward, _, backward = children
        statics, group = (first, second) if second else (None, first)
        inputs, learned = group
        if statics and statics[1]:
            hint = "Write `act name(static = 1)(x; learned = 1) = …`."
            self.tell("AD0148", "learned parameters stand with the inputs", statics[1][0].span, "among the static parameters", hint=hint)
        for item in inputs:
            if item.kind or item.domain or item.default:
                hint = f"An activation's static parameters come first: `act {name.text}({item.name} = 1)(x) = …`; learned ones after `;`."
                self.tell("AD0148", "an activation's inputs are plain names", item.span, "more than a name", hint=hint)
        if not inputs:
            hint = f"Write `act {name.text}(x) = …`."
            self.tell("AD0148", "an activation has at least one input", self.token_span(name), "no input", hint=hint)
        span, parameters = Span(self.source, start, end), statics[0] if statics else []
        return s.ActDecl(span, name.text, self.token_span(name), parameters, [i.name for i in inputs], learned, forward, backward)

    def act_group(self, children: Children, start: int, end: int) -> tuple[list[s.Parameter], list[s.LearnedParameter]]:
        return children[0] or [], children[2] or []

    def constant(self, children: Children, start: int, end: int) -> s.Constant:
        return s.Constant(Span(self.source, start, end), children[0].text, self.token_span(children[0]), children[2])

    def expect(self, children: Children, start: int, end: int) -> s.Expect:
        return s.Expect(Span(self.source, start, end), children[1], children[3] or [])

    def overrides(self, children: Children, start: int, end: int) -> list[s.Argument]:
        for item in children:
            if item.name is None or item.tilde:
                hint = "Write `expect params < 1_000_000 with d=64, depth=2`."
                self.tell("AD0134", "`with` takes named values", item.span, "no `name=value`", hint=hint)
        return children

    def parameters(self, children: Children, start: int, end: int) -> list[s.Parameter]:
        return children[0] or []

    def parameter_list(self, children: Children, start: int, end: int) -> Children:
        return children

    learned_list = dims = parameter_list

    def parameter(self, children: Children, start: int, end: int) -> s.Parameter:
        name, kind, domain, _, default = children
        if kind and kind.text not in PARAMETER_KINDS:
            self.unknown_kind(kind, PARAMETER_KINDS, "parameter")
        return s.Parameter(Span(self.source, start, end), name.text, kind.text if kind else None, domain, default)

    def learned(self, children: Children, start: int, end: int) -> s.LearnedParameter:
        name, shape, _, default = children
        return s.LearnedParameter(Span(self.source, start, end), name.text, shape, default)

    def unknown_kind(self, kind: Token, known: tuple[str, ...], what: str) -> None:
        note = f"The kinds of a {what} are {', '.join(known)}."
        hint = suggestion(kind.text, known)
        self.tell("AD0143", f"`{kind.text}` is not a kind of {what}", self.token_span(kind), "unknown kind", note, hint)

    # ---- bodies and statements ----

    def statements_body(self, children: Children, start: int, end: int) -> s.Body:
        doc, *items = children
        statements: list[s.Statement] = []
        for item in items:
            if isinstance(item, list):
                statements += item
            else:
                statements.append(item)
        body = s.Body(Span(self.source, start, end), statements)
        if doc:
            self.docs[body] = doc
        return body

    def expression_body(self, children: Children, start: int, end: int) -> s.Body:
        body = s.Body(Span(self.source, start, end), [], children[1])
        if children[0]:
            self.docs[body] = children[0]
        return body

    def empty_body(self, children: Children, start: int, end: int) -> s.Body:
        span = Span(self.source, start, end)
        hint = "Give a module, `{ linear(8) }`, or statements that end in `return`; the identity is `{ in x; return x }`."
        self.tell("AD0142", "this body is empty", span, "nothing between the braces", hint=hint)
        return s.Body(span, [])

    def inputs(self, children: Children, start: int, end: int) -> list[s.Input]:
        children[0].span = Span(self.source, start, children[0].span.end)
        return children

    def input(self, children: Children, start: int, end: int) -> s.Input:
        name, shape, *clauses = children
        node = s.Input(Span(self.source, start, end), name.text, self.token_span(name), shape, False, None)
        seen = set()
        for keyword, value in clauses:
            if keyword.kind in seen:
                self.tell("AD0134", f"`{keyword.text}` is said twice", self.token_span(keyword), "the second", hint="Remove one.")
            if keyword.kind == "ASSIGN" and "WHERE" in seen:
                self.tell("AD0120", "`=` binds a name; `==` compares", self.token_span(keyword), "in a condition", hint="Write `==`.")
            seen.add(keyword.kind)
            if keyword.kind == "LENGTHS":
                node.lengths = True
            elif keyword.kind == "OVER":
                node.over = value.text
            elif keyword.kind == "WHERE":
                node.where = value
            else:
                node.default = value
        return node

    def clause(self, children: Children, start: int, end: int) -> tuple[Token, Any]:
        return children[0], children[1] if len(children) > 1 else None

    def state(self, children: Children, start: int, end: int) -> s.State:
        _, name, shape, sign, init = children
        learned = sign is not None and sign.kind == "TILDE"
        return s.State(Span(self.source, start, end), name.text, self.token_span(name), shape, init, learned)

    def param(self, children: Children, start: int, end: int) -> s.ParamDecl:
        _, name, shape, _, init = children
        return s.ParamDecl(Span(self.source, start, end), name.text, self.token_span(name), shape, init)

    def bind(self, children: Children, start: int, end: int) -> s.Bind:
        return s.Bind(Span(self.source, start, end), children[:-2], children[-1])

    def target(self, children: Children, start: int, end: int) -> s.Target:
        token = children[0]
        return s.Target(Span(self.source, start, end), token.text.rstrip("'"), token.kind == "PRIMED")

    def where(self, children: Children, start: int, end: int) -> s.Where:
        return s.Where(Span(self.source, start, end), children[1])

    def aux(self, children: Children, start: int, end: int) -> s.Aux:
        return s.Aux(Span(self.source, start, end), children[1].text, children[3])

    def tap(self, children: Children, start: int, end: int) -> s.Tap:
        return s.Tap(Span(self.source, start, end), children[1].text, children[3])

    def return_(self, children: Children, start: int, end: int) -> s.Return:
        return s.Return(Span(self.source, start, end), children)

    def yield_(self, children: Children, start: int, end: int) -> s.Yield:
        return s.Yield(Span(self.source, start, end), children)

    def shape(self, children: Children, start: int, end: int) -> s.Shape:
        kind, dims = children
        return self.led_shape([kind, [], dims], start, end)

    def led_shape(self, children: Children, start: int, end: int) -> s.Shape:
        kind, groups, dims = children
        if kind and kind.text not in SHAPE_KINDS:
            self.unknown_kind(kind, SHAPE_KINDS, "value")
        return s.Shape(Span(self.source, start, end), kind.text if kind else "float", dims or [], groups)
