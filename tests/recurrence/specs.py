"""Steps of scans, by name from the library or from a text."""

from __future__ import annotations

import archdsl
from archdsl.graph.ir import Region
from archdsl.primitives import TABLE
from archdsl.recurrence.convert import convert
from archdsl.recurrence.step import Step

STANDARD = {
    "linear_attention": "q: [T, 8]; k: [T, 8]; v: [T, 4]",
    "normalised_linear_attention": "q: [T, 8]; k: [T, 8]; v: [T, 4]",
    "retention": "q: [T, 8]; k: [T, 8]; v: [T, 4]; g: [T]",
    "ssd": "x: [T, 4]; dt: [T]; g: [T]; B: [T, 8]; C: [T, 8]",
    "gated_linear": "q: [T, 8]; k: [T, 8]; v: [T, 4]; g: [T, 8]",
    "hgrn2": "q: [T, 8]; f: [T, 8]; v: [T, 4]",
    "wkv6(2)": "r: [2, T, 8]; k: [2, T, 8]; v: [2, T, 4]; w: [2, T, 8]",
    "delta_rule": "q: [T, 8]; k: [T, 8]; v: [T, 4]; beta: [T]",
    "gated_delta_rule": "q: [T, 8]; k: [T, 8]; v: [T, 4]; beta: [T]; g: [T]",
    "channel_gated_delta_rule": "q: [T, 8]; k: [T, 8]; v: [T, 4]; beta: [T]; g: [T, 8]",
    "wkv7": "r: [T, 8]; w: [T, 8]; k: [T, 8]; v: [T, 4]; a: [T, 8]; b: [T, 8]",
    "mlstm": "q: [T, 8]; k: [T, 8]; v: [T, 4]; i: [T]; f: [T]",
    "selective(3)": "u: [T, 5]; dt: [T, 5]; B: [T, 3]; C: [T, 3]",
    "lssl(4)": "u: [T, 5]",
    "rg_lru": "x: [T, 5]; r: [T, 5]; i: [T, 5]",
    "mega_ema(4)": "x: [T, 5]",
    "ema": "x: [T, 5]",
    "min_gru(6)": "x: [T, 5]",
    "min_lstm(6)": "x: [T, 5]",
    "qrnn_pool": "z: [T, 5]; f: [T, 5]; o: [T, 5]",
    "softmax_stream": "s: [T]; v: [T, 5]",
    "aaren": "s: [T]; v: [T, 5]",
    "wkv4": "k: [T, 5]; v: [T, 5]",
    "max_plus": "a: [T, 5]; b: [T, 5]",
    "elman(6)": "x: [T, 5]",
    "jordan(6, 4)": "x: [T, 5]",
    "lstm_1997(6)": "x: [T, 5]",
    "lstm(6)": "x: [T, 5]",
    "lstm_peephole(6)": "x: [T, 5]",
    "gru(6)": "x: [T, 5]",
    "gru_reset_before(6)": "x: [T, 5]",
    "mgu(6)": "x: [T, 5]",
    "indrnn(6)": "x: [T, 5]",
    "sru": "x: [T, 5]",
    "elstm(6)": "x: [T, 5]",
    "para_gru(6)": "x: [T, 5]",
    "para_lstm(6)": "x: [T, 5]",
}


def spec_of(text: str, call: str, inputs: str) -> archdsl.api.Spec:
    names = ", ".join(part.split(":")[0].strip() for part in inputs.split(";"))
    declared = "; ".join(f"in {part.strip()}" for part in inputs.split(";"))
    return archdsl.parse(f"{text}\narch A {{ {declared}; return {call}({names}) }}")


def region_of(text: str, call: str, inputs: str) -> Region:
    """The region of a scan used once."""
    graph = spec_of(text, call, inputs).graph
    node = next(n for n in graph.root.nodes if n.op == "scan")
    assert node.instance is not None
    assert node.instance.region is not None
    return node.instance.region


def step_of(text: str, call: str, inputs: str) -> Step:
    return convert(region_of(text, call, inputs), TABLE).step


def standard(call: str) -> Step:
    """The step of a scan of the library."""
    return step_of('import "std/scans.arch"', call, STANDARD[call])


def one(body: str, inputs: str = "x: [T, 5]", state: str = "h: [d] = 0") -> Step:
    """The step of a scan whose inputs have the axes of `inputs` after time by name: x: [d], q: [n], v: [m], and scalars."""
    axes = {"x": "[d]", "g": "[d]", "c": "[d]", "q": "[n]", "k": "[n]", "p": "[n]", "w": "[n]", "v": "[m]", "b": "[]", "s": "[]"}
    names = [part.split(":")[0].strip() for part in inputs.split(";")]
    declared = "; ".join(f"in {n}: {axes[n]}" for n in names)
    states = "; ".join(f"state {s}" for s in state.split("; "))
    return step_of(f"scan t {{ {declared}; {states}; {body} }}", "t", inputs)
