"""Nothing that a pass relies on is assumed of a primitive: it is said, or refused; and with ARCHDSL_VERIFY=1 what is said is tried."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import archdsl
from archdsl.analysis.views import explain
from archdsl.analysis.views.picture import picture
from archdsl.compiler.plan import Plan
from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Node, TensorType
from archdsl.primitives import TABLE, custom
from archdsl.primitives.base import TOLD, Primitive, Slot, Use
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.reach import EARLIER, SAME, UNDECLARED, Reach, everything, window
from archdsl.primitives.traits import Elementwise, Uncounted

SPEC = "arch A {{ in x: [T, 4]; return x -> linear(4) -> own -> linear(4) }}{}"


class Bare(Primitive):
    """Says what it gives, and nothing of what passes rely on."""

    name = "own"
    text = "2 * ({x})"

    def infer(self, use: Use) -> list[TensorType]:
        return [use.types[0]]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return self.text.format(x=args[0])


class Whole(Bare, Elementwise):
    """Says everything."""


def own(base: type, **fields: Any) -> Primitive:
    return type("Own", (Bare, base), fields)()


def reading(reach: Reach, **fields: Any) -> Primitive:
    """Says this of its axis before the last."""
    return own(Uncounted, time=lambda self, node, index, axis: reach if axis == -2 else SAME, **fields)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    custom.unregister_primitive("own")


def refusal(thing: Any, *args: Any) -> Diagnostic:
    with pytest.raises(ArchError) as caught:
        thing(*args)
    return caught.value.diagnostics[0]


# ---- what is not said ----


@pytest.mark.parametrize("method", TOLD)
def test_each_thing_that_is_not_said_is_refused(method: str) -> None:
    made = own(Elementwise, **{method: getattr(Primitive, method)})
    before = dict(TABLE)
    said = refusal(archdsl.register_primitive, made)
    assert (said.code, said.title) == ("AD0922", f"`own` does not say `{method}`")
    assert TOLD[method] in said.note
    assert before == TABLE


def test_all_that_is_missing_is_said_at_once() -> None:
    said = refusal(archdsl.register_primitive, Bare())
    assert said.title == "`own` does not say `time`, `flops`, `saved`, `slots`, `random`"
    assert "Elementwise" in said.hint


def test_what_can_be_solved_says_how() -> None:
    made = own(Elementwise, solvable=lambda self, node, unknown: True)
    assert "and not how" in refusal(archdsl.register_primitive, made).title


@pytest.mark.parametrize("name", sorted(TABLE))
def test_built_in_primitives_say_everything(name: str) -> None:
    custom._check_told(TABLE[name])


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("time", lambda spec: spec.causality),
        ("flops", lambda spec: spec.flops()),
        ("saved", lambda spec: spec.activation_bytes()),
        ("slots", lambda spec: spec.state_bytes()),
    ],
)
def test_a_way_round_registration_is_refused_where_it_is_asked(method: str, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE, "own", own(Elementwise, **{method: getattr(Primitive, method)}))
    spec = archdsl.parse(SPEC.format(""))
    said = refusal(ask, spec)
    assert (said.code, said.title) == ("AD0922", f"`own` does not say `{method}`")


def test_a_time_of_the_old_kind_is_no_answer() -> None:
    archdsl.register_primitive(own(Uncounted, time=lambda self, node, index, axis: None))
    said = refusal(archdsl.parse, SPEC.format(" expect causal"))
    assert (said.code, said.title) == ("AD0922", "`time` of `own` gives None, which is no Reach")
    assert said.span is not None
    assert said.span.text == "own"


FLIPS = {
    "flip": "{x}.flip(-2)",
    "roll": "{x}.roll(1, -2)",
    "mean": "{x} - {x}.mean(-2, keepdim=True)",
    "sort": "{x}.sort(-2).values",
    "sum from the end": "{x}.flip(-2).cumsum(-2).flip(-2)",
}


@pytest.mark.parametrize("way", FLIPS)
def test_what_turns_time_and_forgets_to_say_so(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "does not say `time`" in refusal(archdsl.register_primitive, own(Uncounted, text=FLIPS[way])).title
    archdsl.register_primitive(own(Elementwise, text=FLIPS[way]))  # says that each position reads its own only
    assert archdsl.parse(SPEC.format(" expect causal")).causality.decodable
    monkeypatch.setenv("ARCHDSL_VERIFY", "1")
    said = refusal(archdsl.parse, SPEC.format(" expect causal"))
    assert (said.code, said.title) == ("AD0924", "`own` does not do what it says")
    assert "moves position" in said.label
    archdsl.register_primitive(reading(everything("turns time"), text=FLIPS[way]))
    assert not archdsl.parse(SPEC.format("")).causality.causal
    said = refusal(archdsl.parse, SPEC.format(" expect causal"))
    assert (said.code, said.label) == ("AD0701", "`own` turns time")


# ---- what is called undeclared ----


@pytest.mark.parametrize("contract", [" expect causal", " expect not causal"])
def test_neither_causal_nor_not(contract: str) -> None:
    archdsl.register_primitive(reading(UNDECLARED))
    said = refusal(archdsl.parse, SPEC.format(contract))
    assert (said.code, said.title) == ("AD0703", "whether this model is causal is not known")
    assert said.label == "`own` does not say which positions it reads"


def test_undeclared_is_not_decoded_and_explained() -> None:
    archdsl.register_primitive(reading(UNDECLARED))
    spec = archdsl.parse(SPEC.format(""))
    assert not spec.causality.decodable
    assert spec.causality.reason == "`own` does not say which positions it reads"
    assert "Whether it is causal along T is not known." in explain(spec)
    assert "def step" not in spec.emit()


def test_look_ahead_beside_it_decides() -> None:
    archdsl.register_primitive(reading(UNDECLARED))
    text = "arch A { in x: [T, 4]; return x -> own -> flip(axis=0) }"
    assert [d.code for d in archdsl.parse(text).causality.diagnostics(archdsl.parse(text).graph)] == ["AD0703", "AD0701"]
    archdsl.parse(text + " expect not causal")


# ---- what reads earlier positions ----


def test_without_a_step_form_it_is_causal_and_not_decoded() -> None:
    archdsl.register_primitive(reading(EARLIER, text="{x}.cumsum(-2)"))
    spec = archdsl.parse(SPEC.format(" expect causal"))
    assert spec.causality.causal
    assert not spec.causality.decodable
    assert spec.causality.reason == "`own` reads earlier positions and has no step form"
    assert "can't be decoded step by step: `own` reads earlier positions and has no step form." in explain(spec)
    assert "def step" not in spec.emit()


def test_it_does_not_hide_in_the_body_of_a_skip() -> None:
    """Positions that go through are packed together, which only a body that looks at each alone allows."""
    text = "block Body {{ in x: [T, 4]; return x -> linear(4) -> {} }} arch A {{ in x: [T, 4]; return x -> skip(linear(1), capacity=1/2) {{ Body }} }}"

    def alone(op: str) -> bool:
        graph = archdsl.parse(text.format(op)).graph
        return Plan(graph).row_wise(next(region for _, region in graph.walk() if region.name == "Body"))

    archdsl.register_primitive(reading(EARLIER))
    assert [alone("exp"), alone("own"), alone("cumsum")] == [True, False, False]
    archdsl.register_primitive(Whole())
    assert alone("own")


class Total(Bare, Uncounted):
    """A running sum with its step form."""

    text = "{x}.cumsum(-2)"

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return EARLIER if axis == -2 else SAME

    def slots(self, node: Node) -> list[Slot]:
        return [Slot("total", (1, node.inputs[0].type.sizes[-1]))]

    def step(self, node: Node, args: list[str], e: Emitter) -> str:
        if not e.over_time(node.inputs[0].type.axes[-2]):
            return self.emit(node, args, e)
        return f"{e.support('cumsum_step')}({args[0]}, -2, {e.slot}, {e.clock})"


def test_with_a_step_form_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHDSL_VERIFY", "1")
    archdsl.register_primitive(Total())
    spec = archdsl.parse(SPEC.format(" expect causal expect state_bytes == 16"))
    assert spec.causality.decodable


# ---- what is said and not so ----

LIES: dict[str, tuple[Any, str]] = {
    "earlier positions": (own(Elementwise, text="{x}.cumsum(-2)"), "moves position"),
    "a window too short": (reading(window(1), text="{x} + {x}.roll(2, -2).cumprod(-2)"), "moves position"),
    "which position it is": (own(Elementwise, text="{x} + torch.arange({x}.shape[-2])[:, None]"), "something else than the whole"),
    "a state that is not named": (type("Own", (Total,), {"slots": lambda self, node: []})(), "keeps `total`, which `slots` does not name"),
    "features for time": (own(Elementwise, text="{x} - {x}.mean(-1, keepdim=True)"), "along its axis 1 moves position"),
}


@pytest.mark.parametrize("what", LIES)
def test_what_is_not_so_is_found(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = LIES[what]
    archdsl.register_primitive(made)
    archdsl.parse(SPEC.format(" expect causal"))
    monkeypatch.setenv("ARCHDSL_VERIFY", "1")
    found = refusal(archdsl.parse, SPEC.format(" expect causal"))
    assert found.code == "AD0924"
    assert said in found.label


def test_what_cannot_be_run_alone_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHDSL_VERIFY", "1")
    archdsl.register_primitive(own(Elementwise, text="{x}.view(7, -1)"))
    archdsl.parse(SPEC.format(""))


# ---- what it may say ----


def test_its_colour_and_the_name_of_its_results() -> None:
    long = "({x})" + ".mul(2).div(2)" * 8  # too long to stand inside another expression
    archdsl.register_primitive(own(Elementwise, category="norm", short="doubled", text=long))
    spec = archdsl.parse(SPEC.format(""))
    assert {box.category for box in picture(spec.graph).walk() if box.title == "own"} == {"norm"}
    assert re.search(r"\bdoubled = ", spec.emit())
    archdsl.register_primitive(own(Elementwise, text=long))
    assert {box.category for box in picture(spec.graph).walk() if box.title == "own"} == {"plain"}
    assert re.search(r"\bown = ", spec.emit())
