"""Attention."""

from __future__ import annotations

from collections.abc import Callable

from archdsl.graph.ir import Init, Node, TensorType
from archdsl.graph.sizes import Size, decide_equal
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Param, Primitive, Slot, Use, elements
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, given_value, number, option, show, switch, value_node_type, weight
from archdsl.primitives.text import call, method

SCORES = ("softmax", "relu", "relu2", "sigmoid", "exp", "none")


class Attend(Primitive):
    """q [.., h, Tq, c], k [.., hk, Tk, c], v [.., hk, Tk, cv] -> [.., h, Tq, cv]; h is a multiple of hk (grouped queries)."""

    name = "attend"
    inputs = ("q", "k", "v")
    params = (
        Param("causal", "bool", False, "each position sees itself and earlier ones only"),
        Param("window", "size", None, "how many positions are seen: the last ones if causal, else those nearer than this on either side"),
        Param("scale", "number", None, "factor of the scores; 1/sqrt(c) if not said"),
        Param("mask", "value", None, "bool (true may be seen) or numbers added to the scores: [Tq, Tk] or [h, Tq, Tk]"),
        Param("softcap", "number", None, "scores become cap * tanh(score / cap)"),
        Param("bias", "str", "none", '"alibi": minus slope times distance, one slope per head'),
        Param("score", "str", "softmax", "how scores become weights: softmax, relu, relu2, sigmoid, exp, none"),
        Param("normalise", "str", "none", 'scores other than softmax: "length" divides by the keys seen, "sum" by the sum of the weights'),
        Param("sinks", "any", False, "one learned logit per head that takes weight and gives nothing (true, or how it begins)"),
        Param("dropout", "number", 0.0, "share of the weights dropped in training"),
    )
    doc = "Scaled dot-product attention: grouped queries, windows, ALiBi, soft capping, sinks, other scores. Decodes with kept keys."
    source = "Vaswani et al., Attention is all you need, 2017"

    def infer(self, use: Use) -> list[TensorType]:
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
        if use.args["causal"]:
            use.same(q.axes[-2].size, k.axes[-2].size, "positions of q and k (causal attention)")
        self._options(use)
        mask = use.args["mask"]
        if mask is not None:
            self._mask(use, mask, q, k)
        use.attrs["sinks"] = switch(use, "sinks")
        if use.attrs["sinks"]:
            weight(use, "sinks", (q.axes[-3].size if q.rank > 2 else 1,), given_init(use, "sinks", Init("zeros")))
        batched = q.batched or k.batched or v.batched or (isinstance(mask, TensorType) and mask.batched)
        return [TensorType((*q.axes[:-1], v.axes[-1]), q.kind, batched)]

    def _options(self, use: Use) -> None:
        option(use, "bias", ("none", "alibi"))
        option(use, "score", SCORES)
        option(use, "normalise", ("none", "length", "sum"))
        number(use, "softcap", 0, above=True)
        number(use, "dropout", 0, 1, below=True)
        window, heads = use.args["window"], use.types[0].sizes[-3] if use.types[0].rank > 2 else 1
        if window is not None and not isinstance(window, int):
            use.fail("AD0261", "`window` of attend must be a known whole number", f"it is {show(window)}")
        if use.args["bias"] == "alibi" and not isinstance(heads, int):
            use.fail("AD0305", "ALiBi has one slope per head: their number must be known", f"it is {heads}")
        if use.args["score"] == "softmax" and use.args["normalise"] != "none":
            use.fail("AD0260", "softmax weights sum to one already", "`normalise` has no place here", hint="Leave it out.")
        if use.args["score"] != "softmax" and use.args["sinks"] is not False:
            use.fail("AD0260", "sinks belong to softmax attention", f"the score here is {use.args['score']}")

    def _mask(self, use: Use, mask: object, q: TensorType, k: TensorType) -> None:
        if not isinstance(mask, TensorType) or mask.kind not in ("bool", "float"):
            use.fail("AD0314", "`mask` of attend must be a value of bools or numbers", f"it is {show(mask)}")
        if not 2 <= mask.rank <= max(q.rank, 3):
            use.fail("AD0303", "`mask` of attend must be [Tq, Tk] or [h, Tq, Tk]", f"it is {mask}")
        wanted = (*(q.axes[:-2]), q.axes[-2], k.axes[-2])
        for i in range(-mask.rank, 0):
            if mask.axes[i].size != 1 and -i <= len(wanted):
                use.same(mask.axes[i].size, wanted[i].size, "the mask and the scores")

    def flops(self, node: Node) -> Size:
        q, keys = node.inputs[0].type, node.inputs[1].type.axes[-2].size
        return (elements(q) + elements(node.outputs[0].type)) * keys * 2

    def slots(self, node: Node) -> list[Slot]:
        if not node.attrs["causal"]:
            return []
        window, grows = node.attrs["window"], node.attrs["window"] is None
        found = []
        for name, value in zip(("k", "v"), node.inputs[1:3]):
            *lead, time, features = value.type.sizes
            found.append(Slot(name, (*lead, time if grows else window, features), grows=grows))
        return found

    def time(self, node: Node, index: int, axis: int) -> str | None:
        if axis == -1:
            return "sums over the axis" if index < 2 else "takes a mask over every key" if index > 2 else None
        if axis == -2 and index in (1, 2) and not node.attrs["causal"]:
            return "attends to every position"
        return None

    # ---- emission ----

    def named(self, node: Node, e: Emitter) -> dict[str, str]:
        """The options that differ from the usual, as keyword arguments."""
        a = node.attrs
        usual = {"window": None, "scale": None, "softcap": None, "score": "softmax", "normalise": "none"}
        named = {name: f'"{a[name]}"' if isinstance(a[name], str) else repr(a[name]) for name, value in usual.items() if a[name] != value}
        named |= {"alibi": "True"} if a["bias"] == "alibi" else {}
        return named | ({"sinks": e.weight("sinks")} if a["sinks"] else {})

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        q, k, v = (value.type for value in node.inputs[:3])
        named = {"causal": "True"} if node.attrs["causal"] else {}
        lengths = e.lengths(k.axes[-2]) if k.axes[-2].ragged is not None and k.batched and not node.attrs["causal"] else None
        named |= {"lengths": lengths} if lengths is not None else {}
        mask = given_value(node, args, "mask")
        if mask is not None:
            named["mask"] = self.fitted(node, mask)
        if node.attrs["dropout"]:
            named["dropout"] = f"{node.attrs['dropout']!r} if {e.training} else 0.0"
        named |= self.named(node, e)
        simple = not (named.keys() - {"causal", "scale"})
        if simple and q.rank == k.rank == v.rank == 3 and q.batched and k.batched and v.batched:
            grouped = {} if decide_equal(q.axes[-3].size, k.axes[-3].size) else {"enable_gqa": "True"}
            options = ({"is_causal": "True"} if node.attrs["causal"] else {}) | {n: t for n, t in named.items() if n == "scale"} | grouped
            return call("F.scaled_dot_product_attention", *args[:3], **options)
        return self.with_heads(q, args, lambda texts: call(e.support("attend"), *texts, **named))

    def with_heads(self, q: TensorType, args: list[str], make: Callable[[list[str]], str]) -> str:
        """Adds an axis for a single head around the call where the inputs have none."""
        if q.rank > 2:
            return make(args[:3])
        return method(make([method(a, "unsqueeze", "-3") for a in args[:3]]), "squeeze", "-3")

    def fitted(self, node: Node, mask: str) -> str:
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

    def step(self, node: Node, args: list[str], e: Emitter) -> str:
        q, k = node.inputs[0].type, node.inputs[1].type
        if not node.attrs["causal"] or not e.over_time(k.axes[-2]):
            return self.emit(node, args, e)
        mask = given_value(node, args, "mask")
        named = ({"mask": self.fitted(node, mask)} if mask is not None else {}) | self.named(node, e)
        form = "attend_step_with" if named.keys() - {"scale"} else "attend_step"
        return self.with_heads(q, args, lambda texts: call(e.support(form), *texts, e.slot, e.clock, **named))


PRIMITIVES: tuple[Primitive, ...] = (Attend(),)
