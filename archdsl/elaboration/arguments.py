"""Arguments to parameters, by kind: what a primitive or a declaration is given before it is applied."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.diagnostics import Label, Span, suggestion
from archdsl.elaboration.body import Body
from archdsl.elaboration.kinds import DeclaredRecipe, LabelledRecipe, Module, PrimitiveRecipe, ShapeInit, StaticRange
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Init, Value
from archdsl.graph.sizes import Poly
from archdsl.language import syntax as ast
from archdsl.primitives.base import Param

Positional = list[tuple[Any, ast.Expr]]
Named = dict[str, tuple[Any, ast.Argument]]


def configure_primitive(body: Body, callee: PrimitiveRecipe, given: Positional, named: Named, node: ast.Call) -> PrimitiveRecipe:
    params = callee.primitive.params
    args = dict(callee.args)
    taken = set(named) | set(callee.given)
    free = [p for p in params if p.name not in taken]
    if len(given) > len(free):
        at = given[len(free)][1]
        signature = ", ".join(p.name for p in params) or "no parameters"
        body.fail(
            "AD0203",
            f"`{callee.name}` has too many parameters here",
            at.span,
            f"{describe(given[len(free)][0])} has no place",
            note=f"It takes {signature}.",
        )
    for (value, at), param in zip(given, free):
        args[param.name] = _fit(body, callee.name, param, value, at.span)
    by_name = {p.name: p for p in params}
    for name, (value, argument) in named.items():
        if name in by_name:
            args[name] = _fit(body, callee.name, by_name[name], value, argument.span)
        elif callee.primitive.open:
            if isinstance(value, bool) or not isinstance(value, (int, Poly)):
                body.fail("AD0233", f"`{name}` must be a size", argument.span, describe(value))
            args.setdefault("named", {})
            args["named"] = {**args["named"], name: value}
        else:
            body.fail(
                "AD0202",
                f"`{callee.name}` has no parameter `{name}`",
                argument.span,
                "unknown parameter",
                hint=suggestion(name, by_name, f"It takes {', '.join(by_name)}." if by_name else "It takes none."),
            )
    now = tuple(dict.fromkeys([*callee.given, *(p.name for (_, _), p in zip(given, free)), *named]))
    return PrimitiveRecipe(callee.name, node.span, callee.primitive, args, now)


_WORDS = {
    "size": "a size",
    "int": "a whole number",
    "number": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "shape": "a shape",
    "module": "a module",
    "act": "an activation",
    "value": "a value",
    "init": "an initialiser",
}


def _fit(body: Body, owner: str, param: Param, value: Any, span: Span) -> Any:
    """Checks an argument against its parameter's kind."""
    if value is None and param.default is None:
        return None
    kind = param.kind
    ok = True
    if isinstance(value, Fraction) and kind in ("size", "int"):
        body.fail("AD0407", f"`{param.name}` of {owner} must be a whole number, not {value}", span, "this does not divide evenly")
    if isinstance(value, float) and kind in ("size", "int") and value.is_integer():
        value = int(value)
    number = isinstance(value, (int, float, Fraction)) and not isinstance(value, bool)
    if kind == "size":
        ok = (isinstance(value, int) and not isinstance(value, bool)) or isinstance(value, Poly)
        if ok and isinstance(value, int) and value < 1:
            body.fail("AD0407", f"`{param.name}` of {owner} must be at least 1, not {value}", span)
    elif kind == "int":
        ok = isinstance(value, int) and not isinstance(value, bool)
    elif kind == "number":
        ok = number
        value = float(value) if isinstance(value, Fraction) else value
    elif kind == "bool":
        ok = isinstance(value, (bool, Init))
    elif kind == "str":
        ok = isinstance(value, str)
    elif kind == "list":
        ok = isinstance(value, (list, StaticRange)) or number
        value = list(value) if isinstance(value, StaticRange) else value
    elif kind == "shape":
        ok = isinstance(value, (list, ShapeInit))
    elif kind in ("module", "act"):
        value = value.inner if isinstance(value, LabelledRecipe) else value
        ok = isinstance(value, Module) or (kind == "act" and isinstance(value, str))
    elif kind == "value":
        ok = isinstance(value, (Value, Init))
    elif kind == "init":
        value = Init("constant", (float(value),)) if number else value
        ok = isinstance(value, Init)
    if not ok:
        body.fail("AD0233", f"`{param.name}` of {owner} must be {_WORDS.get(kind, kind)}", span, f"this is {describe(value)}")
    return value


def configure_declared(body: Body, callee: DeclaredRecipe, given: Positional, named: Named, node: ast.Call) -> DeclaredRecipe:
    decl = callee.decl
    args, options = dict(callee.args), dict(callee.options)
    by_name = {p.name: p for p in decl.parameters}
    free = [p for p in decl.parameters if p.name not in named and p.name not in args]
    if len(given) > len(free):
        at = given[len(free)][1]
        signature = ", ".join(by_name) or "none"
        body.fail(
            "AD0203",
            f"`{callee.name}` has too many parameters here",
            at.span,
            f"{describe(given[len(free)][0])} has no place",
            labels=[Label(decl.name_span, f"its parameters: {signature}")],
        )
    for (value, at), param in zip(given, free):
        args[param.name] = _declared_argument(body, callee.name, param, value, at.span)
    extra = _scan_options(decl)
    for name, (value, argument) in named.items():
        if name in by_name:
            args[name] = _declared_argument(body, callee.name, by_name[name], value, argument.span)
        elif name in extra:
            options[name] = value
        else:
            known = [*by_name, *extra]
            body.fail(
                "AD0202",
                f"`{callee.name}` has no parameter `{name}`",
                argument.span,
                "unknown parameter",
                labels=[Label(decl.name_span, "declared here")],
                hint=suggestion(name, known, f"It takes {', '.join(known)}." if known else "It takes none."),
            )
    return body.made_by(node, DeclaredRecipe(callee.name, node.span, decl, callee.namespace, args, options, callee.cell))


def _scan_options(decl: Any) -> list[str]:
    if isinstance(decl, ast.ScanDecl):
        return ["final", *(s.name for s in decl.body.statements if isinstance(s, ast.State))]
    if isinstance(decl, ast.ActDecl):
        return ["axis", *(x.name for x in decl.learned)]
    return []


_KIND_TESTS: dict[str, tuple[str, Any]] = {
    "int": ("a whole number", lambda v: (isinstance(v, int) and not isinstance(v, bool)) or isinstance(v, Poly)),
    "size": ("a size", lambda v: (isinstance(v, int) and not isinstance(v, bool)) or isinstance(v, Poly)),
    "float": ("a number", lambda v: isinstance(v, (int, float, Fraction)) and not isinstance(v, bool)),
    "number": ("a number", lambda v: isinstance(v, (int, float, Fraction)) and not isinstance(v, bool)),
    "str": ("a text", lambda v: isinstance(v, str)),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "list": ("a list", lambda v: isinstance(v, (list, StaticRange))),
    "module": ("a module", lambda v: isinstance(v, Module)),
    "value": ("a value", lambda v: isinstance(v, Value)),
}


def _declared_argument(body: Body, owner: str, param: ast.Parameter, value: Any, span: Span) -> Any:
    if param.kind in _KIND_TESTS and not (value is None and isinstance(param.default, ast.NoneLit)):
        words, test = _KIND_TESTS[param.kind]
        if not test(value):
            body.fail(
                "AD0233",
                f"`{param.name}` of {owner} must be {words}",
                span,
                f"this is {describe(value)}",
                labels=[Label(param.span, "declared here")],
            )
    if isinstance(value, LabelledRecipe):
        return value.inner
    return value
