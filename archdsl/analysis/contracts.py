"""Contracts: `expect` lines, evaluated from the graph before anything is built; a failure shows both numbers and what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from archdsl.analysis import cost
from archdsl.diagnostics import ArchError, Collector, Diagnostic, Label, suggestion
from archdsl.elaboration.elaborate import Elaborated, elaborate, pick_arch
from archdsl.graph.ir import Graph, Node
from archdsl.graph.sizes import Poly
from archdsl.language import syntax as ast
from archdsl.language.loader import Loader, Namespace

FIGURES = ("params", "buffers", "flops", "state_bytes", "activation_bytes", "causal", "invertible")
_PROPERTIES = ("causal", "invertible")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: Fraction(a) / Fraction(b),
    "**": lambda a, b: a**b,
}


class _Failed(Exception):
    """A condition that does not hold, with the explanation to show."""

    def __init__(
        self, node: ast.Node, label: str, note: Callable[[], str] = str, value: float | None = None, bound: float | None = None
    ) -> None:
        super().__init__(label)
        self.node, self.label, self.note, self.value, self.bound = node, label, note, value, bound


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A contract that is missed: why in one line, the figure's value, and by how much relative to the bound (1 where there is none)."""

    reason: str
    value: float | None
    gap: float


def shortfall(expect: ast.Expect, graph: Graph, costs: cost.Costs, flows: dict[Any, Any] | None = None) -> Shortfall | None:
    """How a graph misses a contract; None if it meets it. Raises ArchError for a contract that makes no sense.

    costs, flows: what is known of regions that the graph shares with others.
    """
    text = expect.condition.span.text
    try:
        _holds(expect.condition, _Figures(graph, costs, flows))
    except _Failed as failed:
        value, bound = failed.value, failed.bound
        gap = abs(value - bound) / max(abs(bound), 1.0) if value is not None and bound is not None else 1.0
        return Shortfall(f"the contract `{text}` does not hold: {failed.label}", value, gap)
    except ArchError as error:
        first = error.diagnostics[0]
        if first.code in ("AD0404", "AD0405", "AD0502", "AD0503"):
            raise
        return Shortfall(f"the contract `{text}` does not hold: {first.title}", None, 1.0)
    return None


def check_contracts(
    namespace: Namespace, loader: Loader, done: Elaborated, arch: str | None, overrides: Mapping[str, Any]
) -> list[ast.Expect]:
    """Checks every `expect` of the chosen arch. Returns those that were checked; raises ArchError with all that fail.

    A line without `with` speaks of the parameters' defaults, so it is skipped when the caller overrides some.
    """
    collector = Collector()
    checked = []
    name = pick_arch(namespace, arch).name
    for expect in namespace.expects:
        if expect.arch is None:
            collector.add(
                Diagnostic("AD0504", "this contract stands above every arch", expect.span, hint="Put it below the arch it speaks of.")
            )
            continue
        if expect.arch != name or (overrides and not expect.overrides):
            continue
        try:
            target = done
            if expect.overrides:
                target = elaborate(namespace, loader, expect.arch, _given(expect))
            check_one(expect, target.graph)
            checked.append(expect)
        except ArchError as error:
            for diagnostic in error.diagnostics:
                collector.add(
                    diagnostic if _shows(diagnostic, expect) else diagnostic.with_labels(Label(expect.span, "while checking this contract"))
                )
        except _Failed as failed:
            collector.add(_broken(expect, failed))
    collector.check()
    return checked


def _shows(diagnostic: Diagnostic, expect: ast.Expect) -> bool:
    """Whether a diagnostic already points into the contract's line."""
    spans = [diagnostic.span, *(label.span for label in diagnostic.labels)]
    return any(s is not None and s.source is expect.span.source and expect.span.start <= s.start < expect.span.end for s in spans)


def _given(expect: ast.Expect) -> dict[str, Any]:
    return {a.name: a for a in expect.overrides if a.name is not None}


def _broken(expect: ast.Expect, failed: _Failed) -> Diagnostic:
    title = f"the contract `{expect.condition.span.text}` does not hold"
    return Diagnostic("AD0501", title, failed.node.span, failed.label, note=failed.note())


def check_one(expect: ast.Expect, graph: Graph) -> None:
    """Raises _Failed if the condition does not hold."""
    _holds(expect.condition, _Figures(graph, cost.Costs()))


def _holds(node: ast.Expr, figures: _Figures) -> None:
    if isinstance(node, ast.Binary) and node.op == "and":
        _holds(node.left, figures)
        _holds(node.right, figures)
        return
    said = node.operand if isinstance(node, ast.Unary) and node.op == "not" else node
    if isinstance(said, ast.Name) and said.id in _PROPERTIES:
        (figures.causal if said.id == "causal" else figures.invertible)(node, said is node)
        return
    if isinstance(node, ast.Binary) and node.op in _COMPARE:
        left, right = figures.number(node.left), figures.number(node.right)
        if not _COMPARE[node.op](left, right):
            raise _Failed(node, f"{_say(left)} {node.op} {_say(right)} is false", lambda: figures.terms(node), float(left), float(right))
        return
    raise ArchError(
        Diagnostic(
            "AD0503",
            "a contract is a comparison, `causal` or `invertible`",
            node.span,
            "not a condition on a figure",
            hint="For example `expect params == 124_439_808`, `expect state_bytes(T=4096) < 300_000`, `expect causal`.",
        )
    )


def _say(number: Any) -> str:
    if isinstance(number, Fraction):
        number = float(number)
    return f"{number:,}" if isinstance(number, (int, float)) else str(number)


class _Figures:
    def __init__(self, graph: Graph, costs: cost.Costs, flows: dict[Any, Any] | None = None) -> None:
        self.graph = graph
        self.costs = costs
        self.flows = flows

    def number(self, node: ast.Expr) -> Any:
        if isinstance(node, ast.Number):
            return node.value
        if isinstance(node, ast.Unary) and node.op == "-":
            return -self.number(node.operand)
        if isinstance(node, ast.Binary) and node.op in ("+", "-", "*", "/", "**"):
            left, right = self.number(node.left), self.number(node.right)
            if node.op == "/" and right == 0:
                raise ArchError(Diagnostic("AD0405", "division by zero", node.span))
            if node.op == "**" and not (isinstance(right, int) and 0 <= right <= 64):
                raise ArchError(Diagnostic("AD0404", "this power is too large", node.span))
            return _ARITHMETIC[node.op](left, right)
        name, arguments = _figure_call(node)
        if name is None or name not in FIGURES or name in _PROPERTIES:
            known = [*FIGURES, *self.graph.arguments]
            if name in self.graph.arguments and isinstance(self.graph.arguments[name], (int, float)):
                return self.graph.arguments[name]
            text = name or node.span.text
            raise ArchError(
                Diagnostic(
                    "AD0502",
                    f"there is no figure `{text}` to expect something of",
                    node.span,
                    "unknown figure",
                    hint=suggestion(text, known, f"Known: {', '.join(FIGURES)}, and the arch's own parameters."),
                )
            )
        return self._figure(name, arguments, node)

    def _figure(self, name: str, arguments: list[ast.Argument], node: ast.Expr) -> Any:
        options: dict[str, Any] = {}
        for argument in arguments:
            if argument.name is None:
                raise ArchError(
                    Diagnostic("AD0503", f"give the sizes of `{name}` by name", argument.span, hint=f"For example `{name}(T=4096)`.")
                )
            value = argument.value
            options[argument.name] = value.value if isinstance(value, (ast.Bool, ast.String)) else self.number(value)
        dtype = options.pop("dtype", "float32")
        if dtype not in cost.BYTES:
            raise ArchError(
                Diagnostic("AD0503", f"`{dtype}` is not a dtype known here", node.span, hint=f"Known: {', '.join(cost.BYTES)}.")
            )
        if name == "params":
            options.pop("train", None)
            figure: Any = self.costs.parameters(self.graph.root)
        elif name == "buffers":
            figure = self.costs.parameters(self.graph.root, False) - self.costs.parameters(self.graph.root)
        elif name == "flops":
            figure = self.costs.flops(self.graph.root)
        elif name == "state_bytes":
            figure = cost.state_bytes(self.graph.root, dtype, self.costs)
        else:
            figure = cost.activation_bytes(self.graph, self.costs, dtype, int(options.pop("batch", 1)))
        missing = cost.symbols(figure) - options.keys()
        if missing:
            wanted = ", ".join(f"{m}=…" for m in sorted(missing))
            raise ArchError(
                Diagnostic(
                    "AD0503",
                    f"`{name}` depends on sizes that are not given",
                    node.span,
                    f"{name} = {figure}",
                    hint=f"Write `{name}({wanted})`.",
                )
            )
        return cost.at(figure, {k: v for k, v in options.items() if isinstance(v, int)})

    def invertible(self, node: ast.Expr, wanted: bool) -> None:
        from archdsl.compiler.inverse import Inverses, Obstacle

        found = Inverses().of(self.graph.root)
        if isinstance(found, Obstacle) is not wanted:
            return
        if not isinstance(found, Obstacle):
            raise _Failed(node, "the inputs follow from the outputs")
        raise ArchError(found.diagnostic("the inputs do not follow from the outputs").with_labels(Label(node.span, "expected here")))

    def causal(self, node: ast.Expr, wanted: bool) -> None:
        from archdsl.compiler.causality import causality

        report = causality(self.graph, self.flows)
        if report.causal is wanted and not report.unknown:
            return
        if report.causal:
            raise _Failed(node, "the model is causal")
        expected = Label(node.span, "expected here")
        raise ArchError(*(d.with_labels(expected) for d in report.diagnostics(self.graph)))

    def terms(self, node: ast.Expr) -> str:
        """What a parameter count is made of, largest parts first."""
        names = {n.id for n in _walk(node) if isinstance(n, ast.Name)}
        if "params" in names:
            parts = []
            for name, instance in self.graph.root.instances.items():
                count = self.costs.instance_parameters(instance)
                if count:
                    rounds = instance.rounds or []
                    each = f" ({len(rounds)} x {count // len(rounds):,})" if len(set(map(id, rounds))) == 1 and len(rounds) > 1 else ""
                    parts.append((count, f"{name} {count:,}{each}"))
            listed = [text for _, text in sorted(parts, key=lambda p: -p[0])]
            return "Parameters: " + " + ".join(listed[:6]) + (f" + {len(listed) - 6} more" if len(listed) > 6 else "") + "."
        if "state_bytes" in names:
            found = cost.slots(self.graph.root)
            return (
                "State kept: " + (", ".join(f"{p}.{s.name} [{', '.join(map(str, s.shape))}]" for p, s, _ in found[:6]) or "nothing") + "."
            )
        if "flops" in names:
            return f"FLOPs for one sequence: {self.costs.flops(self.graph.root)}."
        return ""


def _figure_call(node: ast.Expr) -> tuple[str | None, list[ast.Argument]]:
    if isinstance(node, ast.Name):
        return node.id, []
    if isinstance(node, ast.Call) and isinstance(node.function, ast.Name):
        return node.function.id, node.arguments
    return None, []


def _walk(node: Any) -> list[Any]:
    found, stack = [], [node]
    while stack:
        item = stack.pop()
        found.append(item)
        if isinstance(item, ast.Binary):
            stack += [item.left, item.right]
        elif isinstance(item, ast.Unary):
            stack.append(item.operand)
        elif isinstance(item, ast.Call):
            stack.append(item.function)
    return found


__all__ = ["FIGURES", "Node", "Poly", "check_contracts", "check_one"]
