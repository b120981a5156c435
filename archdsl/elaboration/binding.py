"""Names bound in a body: parameters, and modules that become instances by their names."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import Label, Span
from archdsl.elaboration.body import Body, Bound
from archdsl.elaboration.dispatch import Application, applies, apply, evaluate
from archdsl.elaboration.kinds import POISON, Handed, LabelledRecipe, Module, StaticRange
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Value
from archdsl.language import syntax as ast


def bind_target(body: Body, target: ast.Target, thing: Any, statement: ast.Bind) -> None:
    name = target.id + ("'" if target.primed else "")
    if isinstance(thing, Module) and not isinstance(thing, Bound):
        label = None
        if isinstance(thing, LabelledRecipe):
            label, thing = thing.label, thing.inner
        if not isinstance(thing, Handed):
            body.reserved.discard(name)
            thing = Bound(body.claim(label or name, label or name, target.span), thing, body, target.span)
    elif isinstance(thing, Value) and thing.name is None and thing.region is body.region:
        thing.name = target.id if not target.primed else f"{target.id}_next"
    body.bind(name, thing, target.span)


def bind_parameters(child: Body, owner: str, parameters: list[ast.Parameter], args: dict[str, Any], values: set[str], span: Span) -> None:
    """Enters parameters in order: the argument, the decision over a domain, or the default (which may use earlier parameters)."""
    for parameter in parameters:
        name = parameter.name
        if name in values:
            continue
        if name in args:
            thing = args[name]
        elif parameter.domain is not None:
            thing = _from_domain(child, parameter)
        elif parameter.default is not None:
            thing = evaluate(child, parameter.default)
        else:
            child.scope.local[name] = POISON
            child.fail(
                "AD0204",
                f"`{owner}` needs `{name}`",
                span,
                "not given",
                labels=[Label(parameter.span, "it has no default")],
                hint=f"Write `{owner}({name}=…)`.",
            )
        if isinstance(thing, LabelledRecipe):
            thing = thing.inner
        if isinstance(thing, Module) and not isinstance(thing, (Bound, Handed)):
            thing = Handed(name, thing)
        elif isinstance(thing, Handed):
            thing = Handed(name, thing.recipe)
        child.bind(name, thing, parameter.span)


def _from_domain(child: Body, parameter: ast.Parameter) -> Any:
    assert parameter.domain is not None
    if isinstance(parameter.domain, ast.SetExpr):
        texts = [item.span.text for item in parameter.domain.items]
        options = [evaluate(child, item) for item in parameter.domain.items]
    else:
        domain = evaluate(child, parameter.domain)
        if not isinstance(domain, (StaticRange, list)):
            child.fail("AD0235", f"the domain of `{parameter.name}` is a set or a range", parameter.domain.span, describe(domain))
        if len(domain) > 65536:
            child.fail("AD0404", f"the domain of `{parameter.name}` is too large", parameter.domain.span, f"{len(domain):,} values")
        options = list(domain)
        texts = [str(o) for o in options]
    if not options:
        child.fail("AD0222", f"the domain of `{parameter.name}` is empty", parameter.domain.span, "nothing to choose from")
    default = 0
    if parameter.default is not None:
        wanted = evaluate(child, parameter.default)
        if parameter.default.span.text in texts:
            default = texts.index(parameter.default.span.text)
        elif any(not isinstance(o, Module) and type(o) is type(wanted) and o == wanted for o in options):
            default = next(i for i, o in enumerate(options) if type(o) is type(wanted) and o == wanted)
        else:
            child.fail(
                "AD0222",
                f"the default of `{parameter.name}` is not in its domain",
                parameter.default.span,
                f"not one of {', '.join(texts[:8])}{' …' if len(texts) > 8 else ''}",
            )
    return options[child.decide(parameter.name, "domain", texts, default, parameter)]


# ---- applying what has a name ---------------------------------------------------------------------------------------------------


@applies(Bound)
def _apply_bound(body: Body, bound: Bound, inputs: list[Value], at: Application) -> Any:
    return apply(body, bound.recipe, inputs, Application(at.span, at.label, bound))


@applies(Handed)
def _apply_handed(body: Body, handed: Handed, inputs: list[Value], at: Application) -> Any:
    """The first application in a body makes the instance, later ones there share it."""
    made = body.made.get(handed)
    if made is None:
        if isinstance(handed.recipe, (Bound, Handed)):
            return apply(body, handed.recipe, inputs, at)
        made = Bound(body.claim(at.label or handed.name, at.label, at.span), handed.recipe, body, at.span)
        body.made[handed] = made
    return apply(body, made.recipe, inputs, Application(at.span, bound=made))
