"""Bodies with statements: of blocks, archs, scans and of the braces of repeat, loop, route, skip and train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

from archdsl.builder.expression import HERE, E, checked_name, placeless, tree, wrong
from archdsl.diagnostics import Source
from archdsl.language import syntax as s

Inside = Union[E, Any, "Callable[[Body], Any]"]


def shape_of(shape: Any) -> s.Shape | None:
    """A shape: text as in a spec (`int[T]`, `[.., d]`), a list of sizes, or None."""
    if shape is None or isinstance(shape, s.Shape):
        return shape
    if isinstance(shape, str):
        from archdsl.language import parse

        file = parse(Source("<builder>", f"block b {{\n    in x: {shape}\n    return x\n}}"))
        declaration = file.declarations[0]
        if len(file.declarations) != 1 or not isinstance(declaration, s.BlockDecl):
            wrong(f"{shape!r} is not a shape")
        statement = declaration.body.statements[0]
        if not isinstance(statement, s.Input) or len(declaration.body.statements) != 2:
            wrong(f"{shape!r} is not a shape", 'For example "[T, d]" or "int[T]".')
        made: s.Shape | None = placeless(statement.shape)
        return made
    return s.Shape(HERE, "float", [tree(d) for d in shape])


class Body:
    """Statements in order. Parameters of the block are attributes: `body.d`; also `body["d"]`."""

    def __init__(self, parameters: tuple[str, ...] = ()) -> None:
        self._parameters = parameters
        self._statements: list[Any] = []

    def __getattr__(self, name: str) -> E:
        if name.startswith("_") or name not in self._parameters:
            raise AttributeError(f"no parameter or method `{name}`; parameters: {', '.join(self._parameters) or 'none'}")
        return E(s.Name(HERE, name))

    def __getitem__(self, name: str) -> E:
        return E(s.Name(HERE, checked_name(name)))

    def input(
        self, name: str, shape: Any = None, *, lengths: bool = False, where: Any = None, default: Any = ..., over: str | None = None
    ) -> E:
        """`in name: shape lengths where …`; `default=None` makes it one that may be left out. Returns the value."""
        given = None if default is ... else tree(default)
        condition = None if where is None else tree(where)
        self._statements.append(s.Input(HERE, checked_name(name), HERE, shape_of(shape), lengths, condition, over, given))
        return E(s.Name(HERE, name))

    def let(self, name: str, value: Any) -> Any:
        """`name = value`; several names are separated by commas and give a tuple."""
        targets = [checked_name(n.strip()) for n in name.split(",")]
        self._statements.append(s.Bind(HERE, [s.Target(HERE, n) for n in targets], tree(value)))
        found = tuple(E(s.Name(HERE, n)) for n in targets)
        return found if len(found) > 1 else found[0]

    def param(self, name: str, shape: Any, init: Any = None) -> E:
        """`param name: shape ~ init`."""
        made = shape_of(shape)
        if made is None:
            wrong(f"the parameter `{name}` needs a shape")
        self._statements.append(s.ParamDecl(HERE, checked_name(name), HERE, made, None if init is None else tree(init)))
        return E(s.Name(HERE, name))

    def where(self, condition: Any) -> None:
        """`where condition`."""
        self._statements.append(s.Where(HERE, tree(condition)))

    def aux(self, name: str, value: Any) -> None:
        """`aux name = value`: a side loss."""
        self._statements.append(s.Aux(HERE, checked_name(name), tree(value)))

    def tap(self, name: str, value: Any) -> None:
        """`tap name = value`."""
        self._statements.append(s.Tap(HERE, checked_name(name), tree(value)))

    def returns(self, *values: Any) -> None:
        """`return a, b`."""
        self._statements.append(s.Return(HERE, [tree(v) for v in values]))

    # ---- scans ----

    def state(self, name: str, shape: Any, init: Any = None, learned: bool = False) -> E:
        """`state name: shape = init`, or `~ init` if it is learned."""
        made = shape_of(shape)
        if made is None:
            wrong(f"the state `{name}` needs a shape")
        self._statements.append(s.State(HERE, checked_name(name), HERE, made, None if init is None else tree(init), learned))
        return E(s.Name(HERE, name))

    def step(self, state: E, value: Any) -> E:
        """`S' = value`; returns `S'`."""
        if not isinstance(state, E) or not isinstance(state.node, s.Name):
            wrong("only a state has a next value")
        self._statements.append(s.Bind(HERE, [s.Target(HERE, state.node.id, True)], tree(value)))
        return E(s.Name(HERE, state.node.id, True))

    def yields(self, *values: Any) -> None:
        """`yield a, b`."""
        self._statements.append(s.Yield(HERE, [tree(v) for v in values]))

    # ---- text ----

    def lines(self, text: str) -> None:
        """Statements written as text. Raises ArchError if they do not parse."""
        from archdsl.language import parse

        file = parse(Source("<builder>", f"block b {{\n{text}\n}}"))
        declaration = file.declarations[0]
        if len(file.declarations) != 1 or not isinstance(declaration, s.BlockDecl) or declaration.body.expression is not None:
            wrong("these lines are not statements of one body")
        self._statements += placeless(declaration).body.statements

    def tree(self) -> s.Body:
        """The body; an expression alone if it only returns one."""
        if not self._statements:
            wrong("a body is empty", "End it with `returns(value)`.")
        return s.Body(HERE, list(self._statements))


def inside(body: Inside) -> s.Body:
    """What stands between braces: a module, or a function that fills a Body."""
    if callable(body) and not isinstance(body, E):
        made = Body()
        body(made)
        return made.tree()
    return s.Body(HERE, [], tree(body))


def lambda_(body: Inside) -> E:
    """An anonymous block: `{ in x, h; … }`."""
    return E(s.Lambda(HERE, inside(body)))


def repeat(count: Any, body: Inside, index: str | None = None, reversible: bool = False) -> E:
    """`repeat count { body }`: weights made anew each round."""
    return E(s.Repeat(HERE, None if index is None else checked_name(index), tree(count), inside(body), reversible))


def loop(count: Any, body: Inside, index: str | None = None, until: Any = None, step: Any = None) -> E:
    """`loop count until … step … { body }`: one set of weights applied again and again."""
    end, size = (None if v is None else tree(v) for v in (until, step))
    return E(s.Loop(HERE, None if index is None else checked_name(index), tree(count), end, size, inside(body)))


def _routed(kind: str, router: Any, body: Inside, options: dict[str, Any]) -> E:
    given = [s.Argument(HERE, None, tree(router)), *(s.Argument(HERE, checked_name(n), tree(v)) for n, v in options.items())]
    return E(s.Route(HERE, kind, given, inside(body)))


def route(router: Any, body: Inside, **options: Any) -> E:
    """`route(router, experts=8) { body }`."""
    return _routed("route", router, body, options)


def skip(router: Any, body: Inside, **options: Any) -> E:
    """`skip(router, capacity=1/8) { body }`."""
    return _routed("skip", router, body, options)


def train(training: Inside, otherwise: Inside | None = None) -> E:
    """`train { a } else { b }`."""
    return E(s.Train(HERE, inside(training), None if otherwise is None else inside(otherwise)))


__all__ = ["Body", "Inside", "inside", "lambda_", "loop", "repeat", "route", "shape_of", "skip", "train"]
