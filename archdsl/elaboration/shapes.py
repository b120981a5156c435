"""Written shapes: what their sizes are, whether a value fits, and the types of an arch's inputs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import evaluate
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Assumption, Axis, Origin, TensorType
from archdsl.graph.sizes import Poly, decide_equal, symbol
from archdsl.language import syntax as ast


def shape_of(body: Body, shape: ast.Shape) -> list[Any]:
    """The dims of a written shape: sizes, names not yet bound (as ast.Name), or Ellipsis."""
    dims: list[Any] = []
    for dim in shape.dims:
        if isinstance(dim, ast.Ellipsis_):
            dims.append(Ellipsis)
        elif isinstance(dim, ast.Name) and not body.scope.has(dim.id) and not _is_constant(body, dim.id):
            dims.append(dim)
        else:
            value = evaluate(body, dim)
            if isinstance(value, Fraction):
                body.fail("AD0407", f"a size must be a whole number, not {value}", dim.span, "this does not divide evenly")
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, (int, Poly)):
                body.fail("AD0234", "a shape holds sizes", dim.span, describe(value))
            if isinstance(value, int) and value < 1:
                body.fail("AD0407", f"a size must be at least 1, not {value}", dim.span)
            dims.append(value)
    return dims


def _is_constant(body: Body, name: str) -> bool:
    entry = body.scope.namespace.names.get(name)
    return entry is not None and isinstance(entry[0], ast.Constant)


def match_shape(body: Body, shape: ast.Shape, given: TensorType, name: str) -> None:
    """Fits a written shape to a type: binds its size names, checks the others."""
    if shape.kind != given.kind and not (shape.kind == "float" and given.kind == "complex" and not shape.dims):
        body.fail(
            "AD0307",
            f"`{name}` should hold {_kind_word(shape.kind)}, not {_kind_word(given.kind)}",
            shape.span,
            f"the value given is {given}",
            hint="Token ids are `int[T]`; turn them into numbers with `embedding`." if given.kind == "int" else "",
        )
    dims = shape_of(body, shape)
    written = list(shape.dims)
    if Ellipsis in dims:
        split = dims.index(Ellipsis)
        after = len(dims) - split - 1
        if given.rank < len(dims) - 1:
            _rank_mismatch(body, shape, given, name)
        axes = list(given.axes[:split]) + list(given.axes[given.rank - after :] if after else [])
        if body.rest is None:
            body.rest = [a.size for a in given.axes[split : given.rank - after]]
        dims = dims[:split] + dims[split + 1 :]
        written = written[:split] + written[split + 1 :]
    else:
        axes = list(given.axes)
        if len(axes) != len(dims):
            _rank_mismatch(body, shape, given, name)
    for dim, axis, node in zip(dims, axes, written):
        if isinstance(dim, ast.Name) and not body.scope.has(dim.id):
            body.scope.local[dim.id] = axis.size
            body.sizes[dim.id] = dim.span
        else:
            expected = body.scope.find(dim.id) if isinstance(dim, ast.Name) else dim
            _same_size(body, expected, axis.size, node, shape, given, name)


def _same_size(body: Body, expected: Any, actual: Any, node: ast.Node, shape: ast.Shape, given: TensorType, name: str) -> None:
    verdict = decide_equal(expected, actual, body.session.facts)
    if verdict is None:
        body.assume(Assumption(actual, "==", expected, Origin(node.span, body.via)))
    if verdict is False:
        note = f"`{name}` is declared {shape.span.text} and the value given is {given}."
        wanted = f"{node.span.text} is {expected}" if not isinstance(node, ast.Number) else f"{expected} is wanted"
        body.fail(
            "AD0301", f"the shape of `{name}` does not fit", node.span, f"{wanted}, but this axis of the value is {actual}", note=note
        )


def _rank_mismatch(body: Body, shape: ast.Shape, given: TensorType, name: str) -> None:
    count = len([d for d in shape.dims if not isinstance(d, ast.Ellipsis_)])
    more = "at least " if len(shape.dims) != count else ""
    body.fail(
        "AD0303",
        f"`{name}` should have {more}{count} ax{'i' if count == 1 else 'e'}s, not {given.rank}",
        shape.span,
        f"the value given is {given}",
        hint="The batch axis is never written. `[.., d]` takes any number of axes before d.",
    )


def _kind_word(kind: str) -> str:
    return {"float": "numbers", "int": "whole numbers", "bool": "true/false", "complex": "complex numbers"}[kind]


# ---- inputs of an arch ----------------------------------------------------------------------------------------------------------


def input_types(body: Body, decl: ast.BlockDecl) -> list[TensorType]:
    """The types of the inputs an arch declares."""
    declared = [s for s in decl.body.statements if isinstance(s, ast.Input) and s.default is None]
    return [_input_type(body, s) for s in declared]


def _input_type(body: Body, statement: ast.Input) -> TensorType:
    if statement.shape is None:
        body.fail(
            "AD0309",
            f"the input `{statement.name}` of an arch needs a shape",
            statement.name_span,
            "no shape",
            hint=f"For example `in {statement.name}: int[T]` for tokens, or `in {statement.name}: [3, H, W]` for images.",
        )
    return shape_type(body, statement.shape, statement.name, statement.lengths)


def shape_type(body: Body, shape: ast.Shape, name: str, lengths: bool) -> TensorType:
    """The type an arch's input has: unknown names become symbolic sizes, the same name the same axis size.

    Lengths run along the first axis whose size the data brings ([T, d], [channels, T]); along the first where all are known.
    """
    axes = []
    for dim in shape.dims:
        if isinstance(dim, ast.Ellipsis_):
            body.fail("AD0309", f"the input `{name}` of an arch needs a definite shape", dim.span, "`..` is for blocks")
        known = body.scope.find(dim.id) if isinstance(dim, ast.Name) else evaluate(body, dim)
        if isinstance(dim, ast.Name) and known is None:
            known = symbol(dim.id)
        if isinstance(known, bool) or not isinstance(known, (int, Poly)):
            body.fail("AD0234", "a shape holds sizes", dim.span, f"`{dim.span.text}` is not one")
        if isinstance(known, int) and known < 1:
            body.fail("AD0407", f"a size must be at least 1, not {known}", dim.span)
        axes.append(Axis(known))
    if lengths:
        if not axes:
            body.fail("AD0309", f"`{name}` has no axis for its lengths to run along", shape.span)
        at = next((i for i, axis in enumerate(axes) if isinstance(axis.size, Poly)), 0)
        axes[at] = replace(axes[at], ragged=name)
    return TensorType(tuple(axes), shape.kind)  # type: ignore[arg-type]
