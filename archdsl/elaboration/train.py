"""`train { A } else { B }`: A while training, B in evaluation."""

from __future__ import annotations

from typing import Any

from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import Application, applies, outputs
from archdsl.elaboration.kinds import ClosureRecipe
from archdsl.elaboration.regions import call_types
from archdsl.elaboration.rounds import round_region
from archdsl.graph.ir import Instance, Region, Value
from archdsl.language import syntax as ast


@applies(ast.Train)
def _train(body: Body, recipe: ClosureRecipe, inputs: list[Value], at: Application) -> Any:
    node, span, label = recipe.node, at.span, at.label
    assert isinstance(node, ast.Train)
    inputs = [body.resolve(v) for v in inputs]
    first = body.claim("in_training", label, span)
    a = round_region(body, recipe, node.training, "train", first, {}, inputs, first, span)
    one = body.place(Instance(first, "train", body.region, region=a))
    two: Instance | None = None
    b: Region | None = None
    if node.otherwise is not None:
        second = body.claim("in_eval", f"{label}_in_eval" if label else None, span)
        b = round_region(body, recipe, node.otherwise, "train", second, {}, inputs, second, span)
        two = body.place(Instance(second, "train", body.region, region=b))
    types = call_types(a, inputs)
    other = call_types(b, inputs) if b is not None else [v.type for v in inputs]
    if [t.sizes for t in types] != [t.sizes for t in other]:
        body.fail(
            "AD0227",
            "both sides of `train` must give the same shapes",
            span,
            f"{', '.join(map(str, types))} in training, {', '.join(map(str, other))} otherwise",
        )
    captured = [body.resolve(outer) for outer, _ in a.captures]
    more = [body.resolve(outer) for outer, _ in b.captures] if b is not None else []
    borrowed = [body.borrow(i) for i in [*a.borrowed, *(b.borrowed if b is not None else [])]]
    attrs = {"otherwise": two, "split": len(captured), "carried": len(inputs), "split_borrowed": len(a.borrowed)}
    return outputs(body.add("train", [*inputs, *captured, *more], attrs, other, span, one, borrowed))
