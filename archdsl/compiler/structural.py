"""Writing structural nodes: calls, repeats, loops, routers, and the two sides of `train`."""

from __future__ import annotations

from archdsl.compiler import text
from archdsl.compiler.flow import Flow
from archdsl.compiler.members import plain
from archdsl.compiler.method import Method
from archdsl.compiler.names import identifier
from archdsl.compiler.plan import moving, row_wise
from archdsl.compiler.structure import carried, feeds, handed, rounds_of
from archdsl.graph.ir import Axis, Instance, Node, Region, Value


def write(method: Method, node: Node) -> None:
    """One structural node."""
    _WRITERS[node.op](method, node)


def call_text(
    method: Method,
    path: str,
    region: Region,
    flow: Flow | None,
    args: list[str],
    borrowed: list[str],
    slot: str,
    clock: str = "clock",
    lengths: str | None = None,
) -> str:
    """`path(args, …)`, or `path.step(args, …, slot, clock)` where the region keeps state; lengths and sizes are handed on.

    lengths: source to hand on instead of the caller's own.
    """
    plan = method.owner.plan
    step = plan.form(region, flow)
    needs = plan.of(region, flow) if step else plan.of(region, None)
    parts = [*args, *borrowed]
    if step:
        parts += [slot, clock]
    for ragged in sorted(needs.lengths):
        keyword = plan.keyword(ragged)
        parts.append(f"{keyword}={lengths or _lengths(method, ragged, keyword)}")
    parts += [f"{symbol}={method.size(method.owner.file.symbol(symbol))}" for symbol in sorted(needs.sizes)]
    return f"{path}{'.' + step if step else ''}({', '.join(parts)})"


def _lengths(method: Method, ragged: str, keyword: str) -> str:
    return keyword if ragged in method.needs.lengths else "None"


def _runs(method: Method, node: Node) -> list[tuple[Region, Flow | None]]:
    return method.owner.plan.runs(node, method.flow)


def _path(method: Method, node: Node) -> str:
    """Source of a node's instance."""
    return method.instance(_instance(node), node)


def borrowed_by(method: Method, node: Node, instances: list[Instance] | None = None) -> list[str]:
    """Sources of the instances a node hands on."""
    return [method.instance(i, node) for i in (node.borrowed if instances is None else instances)]


def _instance(node: Node) -> Instance:
    assert node.instance is not None
    return node.instance


# ---- call, cell, scan -----------------------------------------------------------------------------------------------------------


def _call(method: Method, node: Node) -> None:
    ((region, flow),) = _runs(method, node)
    path, slot, borrowed = _path(method, node), method.slot(node.occurrence), borrowed_by(method, node)

    def make(args: list[str]) -> str:
        return call_text(method, path, region, flow, args, borrowed, slot)

    method.define(node.outputs, method.compose(node.inputs, make))


def _cell(method: Method, node: Node) -> None:
    path = _path(method, node) + ".cell"
    handed_on = borrowed_by(method, node, handed(node))
    method.define(node.outputs, method.compose(node.inputs, lambda args: f"{path}({', '.join([*args, *handed_on])})"))


def _scan(method: Method, node: Node) -> None:
    from archdsl.compiler.scans import write_scan

    write_scan(method, node)


# ---- repeat, loop ---------------------------------------------------------------------------------------------------------------


def _begin(method: Method, node: Node) -> list[str]:
    """Local names for the carried values, holding their first values."""
    names = []
    for value, out in zip(node.inputs[: carried(node)], node.outputs):
        if id(value) in method.pending:
            expression = method.expression(value)
            names.append(method.fresh(out))
            method.assign(names[-1], expression)
        elif method.uses.get(id(value)) == 1 and method.source[id(value)].isidentifier() and node.inputs.count(value) == 1:
            names.append(method.source[id(value)])
            method.source[id(out)] = names[-1]
        else:
            names.append(method.fresh(out))
            method.assign(names[-1], method.source[id(value)])
    return names


def _repeat(method: Method, node: Node) -> None:
    captured = [method.name(v) for v in node.inputs[carried(node) :]]
    names = _begin(method, node)
    runs, instance = _runs(method, node), _instance(node)
    path, indices = _path(method, node), rounds_of(node)
    forms = {method.owner.plan.form(r, f) for r, f in runs}
    borrowed, target, args = borrowed_by(method, node), ", ".join(names), [*names, *captured]
    if len(forms) > 1:  # rounds stand differently to the decoded axis
        for i, (region, flow) in enumerate(runs):
            slot = f"{method.slot(node.occurrence)}.setdefault({i}, {{}})"
            method.assign(target, text.tidy(call_text(method, f"{path}[{indices[i]}]", region, flow, args, borrowed, slot)))
        return
    region, flow = runs[0]
    path = chosen_rounds(method, node)
    if id(node) in method.owner.file.inversions.repeats and flow is None:
        call = call_text(method, "", region, None, args, borrowed, "")
        method.owner.file.support.add("reversed_rounds")
        method.assign(target, text.tidy(f"reversed_rounds({path}, {len(names)}, {call[1:]}"))
        return
    item = method.temporary(singular(instance.name))
    if forms == {None}:
        method.line(f"for {item} in {path}:")
        method.indent += 1
        call = text.tidy(call_text(method, item, region, flow, args, borrowed, ""))
        if node.attrs.get("reversible") and method.flow is None:
            call = _checkpointed(method, item, call)
        method.assign(target, call)
    else:
        slots, number = method.temporary("slots"), method.temporary("i")
        method.assign(slots, method.slot(node.occurrence))
        method.line(f"for {number}, {item} in enumerate({path}):")
        method.indent += 1
        call = call_text(method, item, region, flow, args, borrowed, f"{slots}.setdefault({number}, {{}})")
        method.assign(target, text.tidy(call))
    method.indent -= 1


def chosen_rounds(method: Method, node: Node) -> str:
    """Source of the rounds a repeat runs: all, a slice, or a list of them."""
    path, indices, count = _path(method, node), rounds_of(node), len(_instance(node).rounds or [])
    if indices == list(range(count)):
        return path
    if indices == list(range(indices[0], indices[-1] + 1)):
        return f"{path}[{indices[0]}:{indices[-1] + 1}]"
    return f"[{', '.join(f'{path}[{i}]' for i in indices)}]"


def _checkpointed(method: Method, item: str, call: str) -> str:
    """The call through a checkpoint: its inner values are computed again for the backward pass instead of being kept."""
    method.owner.file.support.add("recomputed")
    return f"recomputed({item}, {call[len(item) + 1 :]}"


def singular(name: str) -> str:
    """`layers` -> layer; a name for one of them in any case."""
    return name[:-1] if name.endswith("s") and len(name) > 2 else f"{name}_round"


def _loop(method: Method, node: Node) -> None:
    ((region, flow),) = _runs(method, node)
    attrs, count = node.attrs, carried(node)
    captured = [method.name(v) for v in node.inputs[count:]]
    names = _begin(method, node)
    path, form = _path(method, node), method.owner.plan.form(region, flow)
    start, rounds = attrs.get("start") or 0, attrs["count"]
    indexed = bool(form or attrs.get("index") or attrs.get("until"))
    number, slot = method.temporary("i") if indexed else "_", ""
    halting = _Halting(method, node, names) if attrs.get("until") else None
    if form:
        slots = method.temporary("slots")
        method.assign(slots, method.slot(node.occurrence))
        slot = f"{slots}.setdefault({number}, {{}})"
    end = f"{f'{start} + ' if start else ''}{loop_rounds(node)}" if attrs.get("named") else str(start + rounds)
    method.line(f"for {number} in range({f'{start}, ' if start else ''}{end}):")
    method.indent += 1
    args = [*names, *captured]
    if attrs.get("index"):
        args.insert(0, f"torch.tensor({number}, device={names[0]}.device)")
    call = text.tidy(call_text(method, path, region, flow, args, borrowed_by(method, node), slot))
    if halting is not None:
        halting.round(call, f"{number} == {end} - 1" if attrs.get("named") else f"{number} == {start + rounds - 1}")
    elif attrs.get("step") is not None:
        _damped(method, names, call, attrs["step"])
    else:
        method.assign(", ".join(names), call)
    method.indent -= 1
    if halting is not None:
        halting.end(node.outputs)


def loop_rounds(node: Node) -> str:
    """Source of how often a named loop runs: a table of its class, so that a built module can run it more or less often."""
    return f'self.loop_counts["{identifier(_instance(node).name)}"]'


def _damped(method: Method, names: list[str], call: str, step: float) -> None:
    """x <- x + step * (f(x) - x)."""
    if len(names) == 1:
        method.assign(names[0], f"{names[0]} + {plain(step)} * ({call} - {names[0]})")
        return
    news = [method.temporary(f"{n}_new") for n in names]
    method.assign(", ".join(news), call)
    for name, new in zip(names, news):
        method.assign(name, f"{name} + {plain(step)} * ({new} - {name})")


class _Halting:
    """Adaptive computation time (Graves, 2016): each position stops on its own; the result is the mean of its states by halting share."""

    def __init__(self, method: Method, node: Node, names: list[str]):
        self.method, self.names, self.node = method, names, node
        self.threshold, self.cost = node.attrs["until"]["threshold"], node.attrs["until"]["cost"]
        self.cost = 0.0 if method.flow is not None else self.cost  # a side loss of training
        method.owner.file.support.add("halting_share")
        self.left = method.temporary("left")
        self.means = [method.temporary(f"{n}_mean") for n in names]
        method.assign(self.left, f"torch.ones_like({names[0]}[..., :1])")
        for mean, name in zip(self.means, names):
            method.assign(mean, f"torch.zeros_like({name})")
        if self.cost:
            method.owner.file.support |= {"pondered", "pondering"}
            self.ponder = method.temporary("ponder")
            method.assign(self.ponder, f"torch.zeros_like({self.left})")

    def round(self, call: str, last: str) -> None:
        method, left = self.method, self.left
        news = [method.temporary(f"{n}_new") for n in self.names]
        logit, share = method.temporary("logit"), method.temporary("share")
        method.assign(", ".join([*news, logit]), call)
        method.assign(share, f"halting_share({logit}, {left}, {plain(self.threshold)}, {last})")
        for name, new, mean in zip(self.names, news, self.means):
            method.assign(mean, f"{mean} + {share} * {new}")
            method.assign(name, f"torch.where({left} > 0, {new}, {name})")
        if self.cost:
            method.assign(self.ponder, f"pondered({self.ponder}, {left}, {share})")
        method.assign(left, f"{left} - {share}")

    def end(self, outputs: list[Value]) -> None:
        for value, mean in zip(outputs, self.means):
            self.method.source[id(value)] = mean
        if self.cost:
            axis = halting_axis(self.node)
            lengths = self.method.lengths(axis) if axis is not None else None
            name = self.method.fresh(outputs[-1])
            self.method.assign(name, f"{plain(self.cost)} * pondering({self.ponder}{f', {lengths}' if lengths else ''})")


def halting_axis(node: Node) -> Axis | None:
    """The axis of the positions that halt on their own, if it may be ragged."""
    axes = node.inputs[0].type.axes
    return axes[-2] if len(axes) > 1 else None


# ---- routers --------------------------------------------------------------------------------------------------------------------


def _route(method: Method, node: Node) -> None:
    runs, path = _runs(method, node), _path(method, node)
    x, logits = method.name(node.inputs[0]), method.name(node.inputs[1])
    gates = method.temporary("gates")
    method.assign(gates, text.tidy(_gates(method, node, logits)))
    rank = node.inputs[0].type.rank
    plan = method.owner.plan
    forms = [plan.form(r, f) for r, f in runs]
    if not any(forms) and all(row_wise(r) for r, _ in runs):
        method.owner.file.support.add("dispatch")
        method.define(node.outputs, f"dispatch({path}, {x}, {gates}, {rank})")
        return
    (out,) = node.outputs
    name = method.fresh(out)
    method.assign(name, f"torch.zeros_like({x})")
    for i, (region, flow) in enumerate(runs):
        slot = f"{method.slot(node.occurrence)}.setdefault({i}, {{}})"
        call = call_text(method, f"{path}[{i}]", region, flow, [x], borrowed_by(method, node), slot)
        method.assign(name, text.tidy(f"{name} + {gates}[..., {i}:{i + 1}] * {call}"))


def _gates(method: Method, node: Node, logits: str) -> str:
    """One weight per expert and position, zero where the expert is not used."""
    router = node.attrs["router"]
    kind, capacity = router["kind"], router["capacity"]
    if kind == "relu":
        return f"F.relu({logits})"
    if kind == "soft":
        return f"{logits}.softmax(-1)"
    name = {"topk": "gate_topk", "hash": "gate_hash", "expert_choice": "gate_expert_choice"}[kind]
    method.owner.file.support.add(name)
    if kind == "hash":
        return f"{name}({logits}, {router['k'] or 1})"
    if kind == "topk":
        limit = f", {plain(capacity)} if self.training else None" if capacity is not None and method.flow is None else ""
        return f"{name}({logits}, {router['k']}, {router['normalise']}{limit})"
    axis = node.inputs[0].type.axes[-2] if node.inputs[0].type.rank > 1 else None
    lengths = method.lengths(axis) if axis is not None else None
    return f"{name}({logits}, {plain(capacity or 1.0)}{f', {lengths}' if lengths else ''})"


def _skip(method: Method, node: Node) -> None:
    from archdsl.compiler.skips import write_skip

    write_skip(method, node)


# ---- train ----------------------------------------------------------------------------------------------------------------------


def _train(method: Method, node: Node) -> None:
    sides = feeds(node)
    runs = _runs(method, node)
    decoding = method.flow is not None and moving(method.flow, node)
    otherwise: Instance | None = node.attrs.get("otherwise")

    def call(i: int) -> str:
        feed, (region, flow) = sides[i], runs[i]
        args = [method.name(v) for v in feed.inputs if v is not None]
        owner = _instance(node) if i == 0 or otherwise is None else otherwise
        slot = method.slot(owner.name)
        return text.tidy(
            call_text(method, method.instance(owner, node), region, flow, args, borrowed_by(method, node, feed.borrowed), slot)
        )

    if decoding and otherwise is None:
        for value, given in zip(node.outputs, node.inputs):
            method.source[id(value)] = method.name(given)
        return
    if decoding:
        method.define(node.outputs, call(1))
        return
    for value in node.inputs:
        method.name(value)
    other = call(1) if otherwise is not None else ", ".join(method.name(v) for v in node.inputs[: len(node.outputs)])
    names = [method.fresh(v) for v in node.outputs]
    for condition, expression in (("if self.training:", call(0)), ("else:", other)):
        method.line(condition)
        method.indent += 1
        method.assign(", ".join(names), expression)
        method.indent -= 1


_WRITERS = {
    "call": _call,
    "cell": _cell,
    "scan": _scan,
    "repeat": _repeat,
    "loop": _loop,
    "route": _route,
    "skip": _skip,
    "train": _train,
}

__all__ = ["call_text", "singular", "write"]
