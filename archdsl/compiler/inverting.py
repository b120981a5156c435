"""Writing inverses: the methods that compute a region's inputs from its outputs."""

from __future__ import annotations

from archdsl.compiler import text
from archdsl.compiler.body import write_node
from archdsl.compiler.context import Context
from archdsl.compiler.inverse import Inverse, Step
from archdsl.compiler.method import Method, returned
from archdsl.compiler.nodetext import mark
from archdsl.compiler.writer import NodeWriter
from archdsl.graph.ir import Region
from archdsl.structural import TABLE as STRUCTURAL

DOC = "What the model was given, found again from {}."


def write_inverses(context: Context, region: Region) -> list[str]:
    """The inverse methods of one class."""
    return [_method(context, inverse) for inverse in context.inversions.of(region)]


def _method(context: Context, inverse: Inverse) -> str:
    region = inverse.region
    root = region is context.graph.root
    method = Method(context, region, None, context.plan.whole(region).needs)
    method.given = inverse.given
    declared = ["self", *_outputs(method, inverse.outputs if root else range(len(region.outputs)))]
    missing = set(inverse.wanted)
    declared += method.parameters([v for v in region.all_inputs if v not in missing])
    declared += method.extras()
    named = ", ".join(d.partition(":")[0] for d in declared[1 : 1 + len(inverse.outputs)])
    for step in inverse.steps:
        method.count([] if step.unknown else [step.node], step.node.outputs if step.unknown else [])
    method.count([], inverse.wanted)
    for step in inverse.steps:
        _step(method, step)
    method.lines.append(text.statement("return ", ", ".join([method.name(v) for v in inverse.wanted]), method.indent))
    return method.definition(inverse.name, declared, returned(inverse.wanted), DOC.format(named) if root else "")


def _outputs(method: Method, indices: range | tuple[int, ...]) -> list[str]:
    """Declares the outputs; one that stands twice is read the first time."""
    declared = []
    for i in indices:
        value = method.region.outputs[i]
        name = method.scope.claim(value.name or "y")
        method.source.setdefault(value, name)
        declared.append(f"{name}: Tensor")
    return declared


def _step(method: Method, step: Step) -> None:
    node, context = step.node, method.context
    if not step.unknown:
        write_node(method, node)
    elif node.op in STRUCTURAL:
        inner = [(inverse.name, inverse.region) for inverse in context.inversions.inverses.below(step)]
        STRUCTURAL[node.op].write_inverse(node, list(step.unknown), inner, NodeWriter(method, node))
    else:
        made = context.plan.texts.solved(node, step.unknown)
        places = {f"{text.PLACE}o{i}": method.name(v) for i, v in enumerate(node.outputs)}
        places |= {mark(i): method.name(v) for i, v in enumerate(node.inputs) if i not in step.unknown}
        places |= method.answers(made)
        for i, expression in zip(step.unknown, made.expressions):
            method.assign(method.fresh(node.inputs[i]), text.fill(expression, places))


__all__ = ["write_inverses"]
