"""An operation of one's own: soft thresholding with a learned threshold per feature, as used in unrolled sparse coding (LISTA).

    shrink(x) = sign(x) * max(|x| - theta, 0)

The language can say this one too (an act with a learned parameter); it is small enough to show everything a primitive tells. Run it:

    python examples/own_primitive.py
"""

from __future__ import annotations

from pathlib import Path

import archdsl
from archdsl.graph.ir import Attrs, Init, Node, TensorType, frozen
from archdsl.primitives.base import Use, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.traits import Elementwise


@frozen
class ShrinkAttrs(Attrs):
    """What a use was told; mypy finds a misspelt name. What `infer` finds out for `emit` would stand here too, as plain fields."""

    start: float = param("number", 0.1, "where the thresholds begin")


class Shrink(Elementwise[ShrinkAttrs]):
    """x [.., d] -> [.., d], each entry by itself: its base says that it reads no other position, keeps no state and draws nothing."""

    name = "shrink"
    attributes = ShrinkAttrs
    doc = "Soft thresholding with one learned threshold per feature."
    source = "Gregor & LeCun, Learning fast approximations of sparse coding, ICML 2010"

    def infer(self, use: Use[ShrinkAttrs]) -> list[TensorType]:
        """Output types; weights are declared here, so that they are counted before anything is built."""
        x = use.rank(0, at_least=1)
        if x.kind != "float":
            use.fail("AD0310", "shrink needs floats", f"this is {x}")
        use.weight("theta", (x.axes[-1].size,), Init("constant", (float(use.args.start),)))
        return [x]

    def emit(self, node: Node[ShrinkAttrs], args: list[str], e: Emitter) -> str:
        """The source text of one use; `soft_threshold` is copied from the support file into what is emitted."""
        return f"{e.support('soft_threshold')}({args[0]}, {e.weight('theta')})"


SPEC = """
arch Lista(d = 16, atoms = 64, rounds = 3) {
    in x: [T, d]
    drive = x -> encode: linear(atoms, bias=false)
    code = drive -> shrink(start=0.2)
    z = code -> layers: repeat rounds { in z; return z -> inhibit: linear(atoms, bias=false) -> { in u; return u + drive } -> shrink }
    return z -> decode: linear(d, bias=false)
}
expect causal
"""


def main() -> None:
    import torch

    archdsl.register_primitive(Shrink(), Path(__file__).with_name("own_primitive_support.py"))
    spec = archdsl.parse(SPEC)
    print(spec)
    model = spec.build()
    y = model(torch.randn(2, 5, 16))
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters built, output {tuple(y.shape)}")


if __name__ == "__main__":
    main()
