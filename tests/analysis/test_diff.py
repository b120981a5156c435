"""Differences by meaning: what is told, where, and what is not."""

from __future__ import annotations

import json

import archdsl
from archdsl.analysis.diff import Diff, diff

SMALL = """import "std/transformer.arch"
arch M(d = 32, depth = 4, base = 10_000, hidden = 64) {
    in tokens: int[T] lengths
    table = embedding(100, d)
    return table(tokens)
        -> layers: repeat depth { residual(rmsnorm -> Attention(4, rope=base)) -> residual(rmsnorm -> SwiGLU(hidden)) }
        -> rmsnorm -> unembed(table)
}
expect causal
"""


def change(*replacements: tuple[str, str], **overrides: object) -> Diff:
    text = SMALL
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return diff(archdsl.parse(SMALL), archdsl.parse(text, **overrides))


def told(found: Diff) -> list[tuple[str, str]]:
    return [(c.kind, c.line()) for c in found.changes]


def test_nothing_differs() -> None:
    found = change(("tokens", "ids"))
    assert found.empty
    assert not found
    assert found.same_interface
    assert found.text() == "M: same structure, same weight names."


def test_an_attribute_folded_over_rounds() -> None:
    found = change(base=100_000)
    assert found.parameters == [("base", 10_000, 100_000)]
    assert len(found.changes) == 1
    (only,) = found.changes
    assert only.text == "rotary base: 10000 -> 100000"
    assert only.paths == ("layers.*.residual.f.Attention.rotary", "layers.*.residual.f.Attention.rotary_2")
    assert not found.weights


def test_width() -> None:
    found = change(d=64)
    lines = [line for _, line in told(found)]
    assert "table: embedding d: 32 -> 64" in lines
    assert not any("begins" in line for line in lines)  # bounds that follow the shape are no news
    by_path = {w.path: w for w in found.weights}
    assert by_path["layers.*.residual.f.Attention.q_proj.weight"].before == (32, 32)
    assert by_path["layers.*.residual.f.Attention.q_proj.weight"].after == (64, 64)
    assert by_path["layers.*.residual.f.Attention.q_proj.weight"].count == 4
    parameters = next(c for c in found.costs if c.name == "parameters")
    assert (parameters.before, parameters.after) == (archdsl.parse(SMALL).parameters, archdsl.parse(SMALL, d=64).parameters)


def test_depth_tells_the_new_rounds_only() -> None:
    found = change(depth=6)
    assert told(found) == [("changed", "layers: 4 -> 6 rounds")]
    assert {w.path.split(".")[1] + w.path.split(".")[2] for w in found.weights} == {"4", "5"} or all(
        w.path.startswith("layers.4..5.") and w.before is None and w.count == 2 for w in found.weights
    )


def test_a_residual_connection_removed() -> None:
    found = change(("residual(rmsnorm -> SwiGLU(hidden))", "rmsnorm -> SwiGLU(hidden)"))
    (only,) = found.changes
    assert only.kind == "removed"
    assert only.paths == ("layers.*.residual_2.add",)
    assert "residual connection" in only.text
    moved = dict(found.renamed)
    assert moved["layers.3.residual_2.f.SwiGLU.up_proj.weight"] == "layers.3.SwiGLU.up_proj.weight"
    assert not found.weights  # all of them would load under their new names


def test_a_block_exchanged_is_told_as_a_whole() -> None:
    found = change(("SwiGLU(hidden)", "FFN(hidden)"))
    assert sorted(told(found)) == [
        ("added", "layers.*.residual_2.f.FFN: FFN, 4,192 parameters"),
        ("removed", "layers.*.residual_2.f.SwiGLU: SwiGLU, 6,144 parameters"),
    ]


def test_operations_put_in_between_are_no_change_of_wiring() -> None:
    found = change(("-> rmsnorm -> unembed", "-> dropout(0.1) -> rmsnorm -> linear(d) -> unembed"))
    assert {kind for kind, _ in told(found)} == {"added"}
    assert len(found.changes) == 2


def test_wiring() -> None:
    text = "arch A { in x: [T, 8]; a = x -> first: linear(8); b = a -> second: linear(8); return b -> third: linear(8) }"
    found = diff(archdsl.parse(text), archdsl.parse(text.replace("return b", "return a + b").replace("a + b", "a")))
    assert ("removed", "second: linear of a, 72 parameters") in told(found)
    crossed = diff(archdsl.parse(text), archdsl.parse(text.replace("b = a ->", "b = x ->").replace("return b", "return a * b")))
    assert ("wiring", "second: linear reads x, was a") in told(crossed)


def test_an_op_exchanged_under_its_label() -> None:
    text = "arch A { in x: [T, 8]; return x -> n: rmsnorm -> linear(8) }"
    found = diff(archdsl.parse(text), archdsl.parse(text.replace("rmsnorm", "layernorm")))
    assert ("changed", "n: rmsnorm -> layernorm") in told(found)


def test_a_choice() -> None:
    text = "block F = linear(8) | (linear(4) -> linear(8))\narch A { in x: [T, 8]; return x -> layers: repeat 3 { F } }"
    spec = archdsl.parse(text)
    name = next(n for n, _ in spec.decisions if n.startswith("layers.1"))
    found = diff(spec, archdsl.parse(text, decisions={name: 1}))
    assert found.changes[0].kind == "choice"
    assert "linear(8) -> linear(4) -> linear(8)" in found.changes[0].text
    assert all(".1" in p for c in found.changes for p in c.paths)


def test_names_alone() -> None:
    found = change(("table", "words"), ("layers:", "blocks:"))
    assert found.same_structure
    assert not found.same_interface
    assert not found.changes
    assert not found.weights
    assert dict(found.renamed)["layers.0.residual.f.rmsnorm.weight"] == "blocks.0.residual.f.rmsnorm.weight"
    assert len(found.renamed) == len(archdsl.parse(SMALL).weight_shapes) - 1  # all but the last norm's
    text = found.text()
    assert "~ table -> words" in text
    assert "~ layers -> blocks" in text


def test_tied_or_not() -> None:
    found = change(("unembed(table)", "linear(100, bias=false)"))
    assert {c.kind for c in found.changes} == {"added", "removed"}
    assert [(w.path, w.before, w.after) for w in found.weights] == [("linear.weight", None, (100, 32))]


def test_contracts() -> None:
    found = change(("expect causal", "expect params < 1_000_000"))
    assert found.same_structure
    assert found.contracts == [("removed", "causal"), ("added", "params < 1_000_000")]
    assert found


def test_inputs() -> None:
    found = change(("int[T] lengths", "int[T]"))
    assert told(found)[0] == ("changed", "input tokens: int[T] with lengths -> int[T]")


def test_json_and_colour() -> None:
    found = change(("SwiGLU(hidden)", "FFN(hidden)"), d=64)
    data = json.loads(json.dumps(found.to_json()))
    assert data["same_structure"] is False
    assert {c["kind"] for c in data["changes"]} >= {"added", "removed", "changed"}
    assert "\x1b[32m" in found.text(color=True)
    assert "\x1b" not in found.text()


def test_graphs_without_specs() -> None:
    a, b = archdsl.parse(SMALL), archdsl.parse(SMALL, depth=5)
    assert told(diff(a.graph, b.graph)) == told(diff(a, b))


def test_bodies_of_loops_and_scans() -> None:
    loop = "arch A { in x: [T, 8]; return x -> loop 3 { linear(8) -> relu } }"
    found = diff(archdsl.parse(loop), archdsl.parse(loop.replace("relu", "tanh").replace("loop 3", "loop 4")))
    assert ("changed", "loop: loop count: 3 -> 4") in told(found)
    assert any(kind in ("changed", "added") and "tanh" in line for kind, line in told(found))
    scan = "scan s { in k: [n]; state S: [n] = 0; S' = 0.5 * S + k; yield S' }\narch A { in x: [T, 8]; return s(x) }"
    found = diff(archdsl.parse(scan), archdsl.parse(scan.replace("0.5", "0.25")))
    (only,) = found.changes
    assert only.paths[0].startswith("s.")
    assert "0.5" in only.text
    assert "0.25" in only.text


def test_depth_program() -> None:
    program = SMALL.replace("expect causal\n", "") + (
        'arch P { in tokens: int[T] lengths; base = pretrained(M, "none"); '
        "return tokens -> base.before(layers) -> base.layers[0..3] -> base.after(layers) }"
    )
    found = diff(archdsl.parse(SMALL), archdsl.parse(program))
    assert ("changed", "layers: 4 -> 3 rounds") in told(found)
