"""Attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archdsl.graph.acts import Act
from archdsl.graph.ir import Attrs, Init, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size, decide_equal
from archdsl.primitives.act import Activation, ActivationAttrs
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Slot, Use, elements, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, given_value, known, number, option, show, switch, value_node_type, weight
from archdsl.primitives.reach import EARLIER, SAME, Reach, everything, window
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import Pure

SCORES = ("softmax", "relu", "relu2", "sigmoid", "exp", "none")


@frozen
class AttendAttrs(Attrs):
    causal: bool = param("bool", False, "each position sees itself and earlier ones only")
    window: int | None = param(
        "size", None, "how many positions are seen: the last ones if causal, else those nearer than this on either side"
    )
    chunk: int | None = param("size", None, "only positions of the same chunk of this size are seen")
    offset: int = param("int", 0, "how many keys come before the first query's own: a part of the sequence, with what came before it")
    scale: float | None = param("number", None, "factor of the scores; 1/sqrt(c) if not said")
    mask: TensorType | None = param("value", None, "bool (true may be seen) or numbers added to the scores: [Tq, Tk] or [h, Tq, Tk]")
    softcap: float | None = param("number", None, "scores become cap * tanh(score / cap)")
    bias: str | None = param("str", None, 'by distance: "alibi" (minus slope times distance), "relative" or "t5" (rows of `table`)')
    table: TensorType | None = param("value", None, "a value [rows, h]: what is added for each distance, or for each of T5's buckets")
    reach: Size = param("size", 128, "t5: the distance from which on all share the last bucket")
    score: str | Act = param("act", "softmax", "how scores become weights: softmax, relu, relu2, sigmoid, exp, none, or an activation")
    normalise: str = param("str", "none", 'scores other than softmax: "length" divides by the keys seen, "sum" by the sum of the weights')
    sinks: Any = param("any", False, "one learned logit per head that takes weight and gives nothing (true, or how it begins)")
    dropout: float = param("number", 0.0, "share of the weights dropped in training")


class Attend(Pure[AttendAttrs]):
    """q [.., h, Tq, c], k [.., hk, Tk, c], v [.., hk, Tk, cv] -> [.., h, Tq, cv]; h is a multiple of hk (grouped queries)."""

    name = "attend"
    causal_form = "Write `attend(q, k, v, causal=true)`."
    category = "mixing"
    short = "mixed"
    inputs = ("q", "k", "v")
    attributes = AttendAttrs
    doc = "Scaled dot-product attention: grouped queries, windows, ALiBi, soft capping, sinks, other scores. Decodes with kept keys."
    source = "Vaswani et al., Attention is all you need, 2017"

    def infer(self, use: Use[AttendAttrs]) -> list[TensorType]:
        q, k, v = (use.rank(i, 2) and require_kind(use, i, "float") for i in range(3))
        if not q.rank == k.rank == v.rank:
            use.fail("AD0303", "attend needs q, k and v with equally many axes", f"they are {q}, {k} and {v}")
        use.same(q.axes[-1].size, k.axes[-1].size, "features of q and k")
        use.same(k.axes[-2].size, v.axes[-2].size, "positions of k and v")
        if q.rank > 2:
            use.same(k.axes[-3].size, v.axes[-3].size, "heads of k and v")
            use.divides(q.axes[-3].size, k.axes[-3].size, "heads of q and heads of k")
        for i in range(-q.rank, -3):
            use.same(q.axes[i].size, k.axes[i].size, "leading axes of q and k")
            use.same(q.axes[i].size, v.axes[i].size, "leading axes of q and v")
        if use.args.causal:
            use.same(q.axes[-2].size + use.args.offset, k.axes[-2].size, "positions of q and k (causal attention)")
        heads = q.axes[-3].size if q.rank > 2 else 1
        self._options(use)
        self._bias(use, heads)
        mask = use.args.mask
        if mask is not None:
            self._mask(use, mask, q, k)
        bias, sinks = use.args.bias, switch(use, "sinks", use.args.sinks)
        use.attrs = replace(use.args, bias=None if bias == "none" else bias, sinks=sinks)
        if sinks:
            weight(use, "sinks", (heads,), given_init(use.args.sinks, Init("zeros")))
        values = [q, k, v, *(t for t in (mask, use.args.table) if isinstance(t, TensorType))]
        return [TensorType((*q.axes[:-1], v.axes[-1]), q.kind, any(t.batched for t in values))]

    def random(self, node: Node[AttendAttrs]) -> bool:
        return bool(node.attrs.dropout)

    def _options(self, use: Use[AttendAttrs]) -> None:
        score = use.args.score
        if isinstance(score, str):
            option(use, "score", use.args.score, SCORES)
        else:
            self._score(use, score)
        option(use, "normalise", use.args.normalise, ("none", "length", "sum"))
        number(use, "softcap", use.args.softcap, 0, above=True)
        number(use, "dropout", use.args.dropout, 0, 1, below=True)
        for name, size in (("window", use.args.window), ("chunk", use.args.chunk)):
            if size is not None:
                known(use, name, size, "The positions kept while decoding depend on it.")
        if use.args.chunk is not None and (use.args.window is not None or use.args.mask is not None):
            use.fail("AD0260", "`chunk` of attend stands alone", "with a window or a mask", hint="Leave out the window or the mask.")
        if use.args.chunk is not None and not use.args.causal:
            use.same(use.types[0].axes[-2].size, use.types[1].axes[-2].size, "positions of q and k (chunks)")
        if score == "softmax" and use.args.normalise != "none":
            use.fail("AD0260", "softmax weights sum to one already", "`normalise` has no place here", hint="Leave it out.")
        if score != "softmax" and use.args.sinks is not False:
            use.fail("AD0260", "sinks belong to softmax attention", "the score here is another")

    def _score(self, use: Use[AttendAttrs], act: Any) -> None:
        """An activation in place of softmax; its learned numbers become weights of this instance."""
        if len(act.inputs) != 1:
            use.fail("AD0260", f"`{act.name}` cannot weigh scores", f"it takes {len(act.inputs)} values, a score is one")
        for learned in act.learned:
            if learned.per_axis:
                use.fail("AD0260", f"`{act.name}` cannot weigh scores", f"it learns `{learned.name}` per axis")
            weight(use, learned.name, (), Init("constant", (learned.init,)))

    def _bias(self, use: Use[AttendAttrs], heads: Size) -> None:
        bias, table = option(use, "bias", use.args.bias, (None, "none", "alibi", "relative", "t5")), use.args.table
        if bias == "alibi" and not isinstance(heads, int):
            use.fail("AD0305", "ALiBi has one slope per head: their number must be known", f"it is {heads}")
        if bias not in ("relative", "t5"):
            if table is not None:
                use.fail(
                    "AD0260",
                    '`table` of attend goes with bias="relative" or bias="t5"',
                    f"bias is {show(None if bias == 'none' else bias)}",
                )
            return
        if not isinstance(table, TensorType) or table.rank != 2 or table.batched:
            what = "none is given" if table is None else f"it is {table}" if isinstance(table, TensorType) else "it is no value"
            use.fail("AD0262", "this bias needs `table`, a value [rows, heads] that is not batched", what, hint="table=param([32, heads])")
        use.same(table.axes[-1].size, heads, "columns of the table and heads")

    def _mask(self, use: Use[AttendAttrs], mask: object, q: TensorType, k: TensorType) -> None:
        if not isinstance(mask, TensorType) or mask.kind not in ("bool", "float"):
            use.fail("AD0314", "`mask` of attend must be a value of bools or numbers", f"it is {show(mask)}")
        if not 2 <= mask.rank <= max(q.rank, 3):
            use.fail("AD0303", "`mask` of attend must be [Tq, Tk] or [h, Tq, Tk]", f"it is {mask}")
        wanted = (*(q.axes[:-2]), q.axes[-2], k.axes[-2])
        for i in range(-mask.rank, 0):
            if mask.axes[i].size != 1 and -i <= len(wanted):
                use.same(mask.axes[i].size, wanted[i].size, "the mask and the scores")

    def flops(self, node: Node[AttendAttrs]) -> Size:
        q, keys = node.inputs[0].type, node.inputs[1].type.axes[-2].size
        if node.attrs.chunk is not None:
            keys = node.attrs.chunk
        return (elements(q) + elements(node.outputs[0].type)) * keys * 2

    def slots(self, node: Node[AttendAttrs]) -> list[Slot]:
        if not node.attrs.causal or node.attrs.offset:
            return []
        kept = node.attrs.window if node.attrs.chunk is None else node.attrs.chunk
        found = []
        past = self.past(node)
        for name, value in zip(("k", "v"), node.inputs[1:3]):
            if name in past:
                continue
            kept = None if past else kept  # rows must lie alike in both
            *lead, time, features = value.type.sizes
            found.append(Slot(name, (*lead, time if kept is None else kept, features), grows=kept is None, along=-2))
        return found

    def past(self, node: Node[AttendAttrs]) -> list[str]:
        """Which of k and v hold all positions so far already, so that they are not kept here."""
        return [name for name, value in zip(("k", "v"), node.inputs[1:3]) if value.type.axes[-2].past]

    def time(self, node: Node[AttendAttrs], index: int, axis: int) -> Reach:
        if index > 2:
            is_mask = node.value_inputs.get("mask") == index
            return everything("takes a mask over every key") if is_mask and axis == -1 else SAME
        if axis == -2 and node.attrs.offset:
            return everything("attends to a part of the sequence as a whole")
        if axis == -1:
            return everything("sums over the axis") if index < 2 else SAME
        if axis != -2 or index == 0:
            return SAME
        if not node.attrs.causal:
            return everything("attends to every position")
        seen = node.attrs.window if node.attrs.chunk is None else node.attrs.chunk
        return EARLIER if seen is None else window(seen - 1)

    # ---- emission ----

    def named(self, node: Node[AttendAttrs], args: list[str], e: Emitter) -> dict[str, str]:
        """The options of `attend_at` that differ from the usual, as keyword arguments."""
        a = node.attrs
        named = {"offset": repr(a.offset)} if a.offset != 0 else {}
        named |= {"scale": repr(a.scale)} if a.scale is not None else {}
        named |= {"softcap": repr(a.softcap)} if a.softcap is not None else {}
        named |= {"bias": f'"{a.bias}"'} if a.bias is not None else {}
        named |= {"normalise": f'"{a.normalise}"'} if a.normalise != "none" else {}
        table, mask = given_value(node, args, "table"), given_value(node, args, "mask")
        named |= {"table": table} if table is not None else {}
        named |= {"reach": str(a.reach)} if a.bias == "t5" and a.reach != 128 else {}
        named |= {"mask": self.fitted(node, mask)} if mask is not None else {}
        named |= {"sinks": e.weight("sinks")} if a.sinks else {}
        score = a.score
        if isinstance(score, str):
            return named | ({"score": f'"{score}"'} if score != "softmax" else {})
        stand_in = Node("act", node.inputs[:1], ActivationAttrs(act=score), node.outputs, node.origin, node.instance)
        text = Activation().emit(stand_in, ["s"], e)
        return named | {"score": text.removesuffix("(s)") if text.endswith(".apply(s)") else f"lambda s: {text}"}

    def emit(self, node: Node[AttendAttrs], args: list[str], e: Emitter) -> str:
        q, k, v = (value.type for value in node.inputs[:3])
        a = node.attrs
        named = self.named(node, args, e)
        if a.dropout:
            named["dropout"] = f"{a.dropout!r} if {e.training} else 0.0"
        ragged = k.axes[-2].ragged is not None and k.batched and not a.causal
        lengths = e.lengths(k.axes[-2]) if ragged else None
        local = a.window is not None or a.chunk is not None
        if not local and lengths is None and named.keys() <= {"scale"} and all(t.rank == 3 and t.batched for t in (q, k, v)):
            options = ({"is_causal": "True"} if a.causal else {}) | named
            options |= {} if decide_equal(q.axes[-3].size, k.axes[-3].size) else {"enable_gqa": "True"}
            return call("F.scaled_dot_product_attention", *args[:3], **options)
        named = ({"causal": "True"} if a.causal else {}) | ({"lengths": lengths} if lengths is not None else {}) | named
        form = e.support("attend_chunks" if a.chunk is not None else "attend_window" if a.window is not None else "attend")
        size = [str(a.chunk or a.window)] if local else []
        return self.with_heads(q, args, lambda texts: call(form, *texts, *size, **named))

    def with_heads(self, q: TensorType, args: list[str], make: Callable[[list[str]], str]) -> str:
        """Adds an axis for a single head around the call where the inputs have none."""
        if q.rank > 2:
            return make(args[:3])
        return method(make([method(a, "unsqueeze", "-3") for a in args[:3]]), "squeeze", "-3")

    def fitted(self, node: Node[AttendAttrs], mask: str) -> str:
        """The mask with axes to broadcast over [batch, .., h, Tq, Tk]."""
        given = value_node_type(node, "mask")
        axes = max(node.inputs[0].type.rank, 3)
        if given is None or not given.batched or given.rank == axes:
            return mask
        text = mask
        missing = axes - given.rank
        if given.rank == 2:
            text, missing = method(text, "unsqueeze", "-3"), missing - 1
        for _ in range(missing):
            text = method(text, "unsqueeze", "1")
        return text

    def step(self, node: Node[AttendAttrs], args: list[str], e: Emitter) -> str:
        q, a = node.inputs[0].type, node.attrs
        if not a.causal or not e.over_time(q.axes[-2]):
            return self.emit(node, args, e)
        named = {"window": str(a.window)} if a.window is not None else {}
        named |= {"chunk": str(a.chunk)} if a.chunk is not None else {}
        named |= self.named(node, args, e)
        given = "".join(name for name, t in zip("kv", node.inputs[1:3]) if not e.over_time(t.type.axes[-2]))
        if given:
            form = e.support("attend_step_past")
            return self.with_heads(q, args, lambda texts: call(form, *texts, e.slot, e.clock, f'"{given}"', **named))
        form = e.support("attend_step_with" if named.keys() - {"scale"} else "attend_step")
        return self.with_heads(q, args, lambda texts: call(form, *texts, e.slot, e.clock, **named))


PRIMITIVES: tuple[Primitive[Any], ...] = (Attend(),)
