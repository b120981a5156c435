"""Lists, tuples, ranges, comprehensions, and what is taken out of them or of a value by an index."""

from __future__ import annotations

from typing import Any

from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import Application, evaluate, evaluates, item_of, items
from archdsl.elaboration.kinds import PrimitiveRecipe, Scope, StaticRange
from archdsl.elaboration.nodes import primitive
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Value
from archdsl.graph.sizes import Poly
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES

MAX_LIST = 4096


@evaluates(ast.ListExpr)
def _list(body: Body, node: ast.ListExpr) -> list[Any]:
    items: list[Any] = []  # a shape may hold `..`: what it stood for in the shape of an input of this body
    for item in node.items:
        if isinstance(item, ast.Ellipsis_) and body.rest is not None:
            items += body.rest
        else:
            items.append(evaluate(body, item))
    return items


@evaluates(ast.TupleExpr)
def _tuple(body: Body, node: ast.TupleExpr) -> tuple[Any, ...]:
    return tuple(evaluate(body, item) for item in node.items)


@evaluates(ast.Ellipsis_)
def _ellipsis(body: Body, node: ast.Ellipsis_) -> Any:
    hint = "In a shape it is what it was in the shape of an input of the same body."
    body.fail("AD0213", "`..` has a meaning only in a shape or an index", node.span, hint=hint)


@evaluates(ast.Range)
def _range(body: Body, node: ast.Range) -> StaticRange:
    low, high = evaluate(body, node.low), evaluate(body, node.high)
    for end, where in ((low, node.low), (high, node.high)):
        if not isinstance(end, int) or isinstance(end, bool):
            body.fail("AD0235", "a range needs whole numbers", where.span, describe(end))
    return StaticRange(low, high + 1 if node.closed else high)


@evaluates(ast.Comprehension)
def _comprehension(body: Body, node: ast.Comprehension) -> list[Any]:
    source = evaluate(body, node.source)
    if isinstance(source, int) and not isinstance(source, bool):
        source = StaticRange(0, source)
    if not isinstance(source, (list, tuple, StaticRange)):
        body.fail("AD0235", "`for` runs over a list or a range", node.source.span, describe(source))
    if len(source) > MAX_LIST:
        body.fail("AD0404", "this list would be too long", node.source.span, f"{len(source):,} items; at most {MAX_LIST:,}")
    outer = body.scope
    result = []
    try:
        for item in source:
            body.scope = Scope(outer.namespace, outer, {node.variable: item})
            if node.condition is not None:
                keep = evaluate(body, node.condition)
                if not isinstance(keep, bool):
                    body.fail("AD0236", "the condition must be true or false", node.condition.span, describe(keep))
                if not keep:
                    continue
            result.append(evaluate(body, node.value))
    finally:
        body.scope = outer
    return result


@evaluates(ast.SetExpr)
def _set(body: Body, node: ast.SetExpr) -> Any:
    body.fail(
        "AD0213",
        "a set in braces gives a parameter's options",
        node.span,
        hint="Write `d in {64, 128} = 128` in the parameter list; a list is [64, 128].",
    )


# ---- indices --------------------------------------------------------------------------------------------------------------------


@evaluates(ast.Index)
def _index(body: Body, node: ast.Index) -> Any:
    thing = evaluate(body, node.value)
    look = item_of(thing)
    if len(node.items) != 1 and not isinstance(thing, Value):
        body.fail("AD0235", f"{describe(thing)} takes one index", node.span)
    found = [_index_item(body, i) for i in node.items]
    if look is None:
        body.fail(
            "AD0235", f"{describe(thing)} has no items", node.value.span, hint="Only values, lists and labelled repeats can be indexed."
        )
    return look(body, thing, found, node)


def _index_item(body: Body, item: ast.Expr) -> Any:
    if isinstance(item, ast.Ellipsis_):
        return Ellipsis
    if isinstance(item, (ast.Slice, ast.Range)):
        low = evaluate(body, item.low) if item.low is not None else None
        high = evaluate(body, item.high) if item.high is not None else None
        for end in (low, high):
            if isinstance(end, bool) or not (end is None or isinstance(end, (int, Poly))):
                body.fail("AD0235", "an index needs whole numbers", item.span, describe(end))
        if item.closed and isinstance(high, int):
            high = high + 1 if high != -1 else None
        return slice(low, high)
    value = evaluate(body, item)
    if isinstance(value, Value):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, Poly)):
        body.fail("AD0235", "an index needs whole numbers", item.span, describe(value))
    return value


@items(list, tuple, StaticRange)
def _of_list(body: Body, thing: Any, found: list[Any], node: ast.Index) -> Any:
    whole, item = list(thing) if isinstance(thing, StaticRange) else thing, found[0]
    if isinstance(item, slice):
        return whole[item]
    if not isinstance(item, int) or not -len(whole) <= item < len(whole):
        body.fail("AD0406", f"there is no item {item} here", node.items[0].span, f"the list has {len(whole)}")
    return whole[item]


@items(Value)
def _of_value(body: Body, value: Value, found: list[Any], node: ast.Index) -> Any:
    at = Application(node.span)
    if any(isinstance(i, Value) for i in found):
        if len(found) == 1:
            return primitive(body, PrimitiveRecipe("take", node.span, PRIMITIVES["take"]), [value, found[0]], at)
        body.fail("AD0235", "an index that is a value stands alone", node.span, hint="Use take(x, index, axis=…) for other axes.")
    plain = [(i.start, i.stop) if isinstance(i, slice) else i for i in found]
    return primitive(body, PrimitiveRecipe("slice", node.span, PRIMITIVES["slice"], {"items": plain}), [value], at)
