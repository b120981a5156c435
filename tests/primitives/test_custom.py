"""Primitives of one's own: registered by the program, checked, emitted with their support; plugins only when asked for."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.graph.ir import Attrs, Node, TensorType, frozen
from archdsl.primitives import TABLE, custom
from archdsl.primitives.base import Param, Primitive, Use, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.traits import Elementwise

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "own_primitive.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_primitive", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look up a module's names
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    for name in ("shrink", "twice"):
        custom.unregister_primitive(name)
    custom._plugins.clear()


class Twice(Elementwise):
    name = "twice"

    def infer(self, use: Use) -> list[TensorType]:
        return [use.types[0]]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return f"2 * ({args[0]})"


SPEC = "arch A { in x: [T, 8]; return x -> twice -> linear(8) }"


def test_known_after_registering_and_not_before() -> None:
    with pytest.raises(ArchError) as caught:
        archdsl.parse(SPEC)
    assert caught.value.diagnostics[0].code == "AD0201"
    archdsl.register_primitive(Twice())
    assert archdsl.parse(SPEC).causality.causal
    custom.unregister_primitive("twice")
    assert "twice" not in TABLE
    with pytest.raises(ArchError):
        archdsl.parse(SPEC)


def test_the_example_is_right() -> None:
    torch = pytest.importorskip("torch")
    module = example()
    archdsl.register_primitive(module.Shrink(), EXAMPLE.with_name("own_primitive_support.py"))
    spec = archdsl.parse(module.SPEC)
    assert spec.parameters == 16 * 64 + 64 + 3 * (64 * 64 + 64) + 64 * 16
    model = spec.build(dtype="float64")
    x = torch.randn(2, 5, 16, dtype=torch.float64)
    weights = dict(model.named_parameters())

    def shrink(u: Any, theta: Any) -> Any:
        return torch.sign(u) * torch.clamp(u.abs() - theta, min=0)

    drive = x @ weights["encode.weight"].T
    z = shrink(drive, weights["shrink.theta"])
    assert torch.allclose(weights["shrink.theta"], torch.full((64,), 0.2, dtype=torch.float64))
    for i in range(3):
        z = shrink(z @ weights[f"layers.{i}.inhibit.weight"].T + drive, weights[f"layers.{i}.shrink.theta"])
    assert torch.allclose(model(x), z @ weights["decode.weight"].T)
    source = spec.emit()
    assert "def soft_threshold(" in source  # the emitted file stands alone
    assert "import archdsl" not in source.split("try:")[0]


def test_the_example_runs() -> None:
    pytest.importorskip("torch")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = subprocess.run([sys.executable, str(EXAMPLE)], capture_output=True, text=True, env=env, check=True)
    assert "14,592 parameters built, output (2, 5, 16)" in out.stdout


def test_its_own_diagnostics_reach_the_user() -> None:
    module = example()
    archdsl.register_primitive(module.Shrink(), EXAMPLE.with_name("own_primitive_support.py"))
    with pytest.raises(ArchError) as caught:
        archdsl.parse("arch A { in x: int[T]; return x -> shrink }")
    assert caught.value.diagnostics[0].code == "AD0310"


def make(**fields: Any) -> Primitive:
    return type("Made", (Twice,), fields)()


@frozen
class Odd(Attrs):
    k: Any = param("tensor")


@frozen
class Unset(Attrs):
    size: int


class Bare(Attrs):
    k: int = param("int")


WRONG: dict[str, tuple[Any, str]] = {
    "the class": (Twice, "is a class"),
    "another object": (object(), "is not a primitive"),
    "a built-in name": (make(name="linear"), "built-in"),
    "a structural name": (make(name="repeat"), "built-in"),
    "a word of the language": (make(name="return"), "can't be the name"),
    "no name": (make(name=""), "can't be the name"),
    "an odd name": (make(name="a b"), "can't be the name"),
    "no emit": (make(emit=Primitive.emit), "does not say `emit`"),
    "no infer": (make(infer=Primitive.infer), "does not say `infer`"),
    "an unknown kind": (make(attributes=Odd), "unknown kind"),
    "a list of parameters": (make(params=(Param("k", "int"),)), "lists its parameters"),
    "attributes that are no dataclass": (make(attributes=dict), "no class of their own"),
    "attributes without the decorator": (make(attributes=Bare), "no class of their own"),
    "an attribute without a value": (make(attributes=Unset), "neither a parameter nor has a default"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_refused(what: str) -> None:
    thing, said = WRONG[what]
    before = dict(TABLE)
    with pytest.raises(ArchError, match=said) as caught:
        archdsl.register_primitive(thing)
    assert caught.value.diagnostics[0].code == "AD0922"
    assert before == TABLE


def test_support_is_checked(tmp_path: Path) -> None:
    for text, said in (("def broken(:", "cannot be read"), ("def dropout_along(x): return x", "exists already")):
        path = tmp_path / "support.py"
        path.write_text(text)
        with pytest.raises(ArchError, match=said):
            archdsl.register_primitive(Twice(), path)
    with pytest.raises(ArchError, match="not a Python file"):
        archdsl.register_primitive(Twice(), tmp_path / "none.py")
    assert "twice" not in TABLE


def test_one_may_register_again() -> None:
    archdsl.register_primitive(Twice())
    again = archdsl.register_primitive(Twice())
    assert TABLE["twice"] is again


class _Point:
    """Stands in for an installed entry point."""

    def __init__(self, name: str, thing: Any) -> None:
        self.name, self.thing, self.loads = name, thing, 0

    def load(self) -> Any:
        self.loads += 1
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing


def test_plugins_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = _Point("good", [Twice()]), _Point("bad", ImportError("no such module"))
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [good, bad] if group == custom.GROUP else [])
    monkeypatch.delenv(custom.VARIABLE, raising=False)
    with pytest.raises(ArchError):
        archdsl.parse(SPEC)
    assert good.loads == 0  # installed, and still not loaded
    monkeypatch.setenv(custom.VARIABLE, "good")
    assert archdsl.parse(SPEC).parameters == 72
    archdsl.parse(SPEC)
    assert good.loads == 1
    assert bad.loads == 0
    for wanted, said in (("absent", "no plugin `absent`"), ("bad", "could not be loaded")):
        monkeypatch.setenv(custom.VARIABLE, wanted)
        with pytest.raises(ArchError, match=said) as caught:
            archdsl.parse(SPEC)
        assert caught.value.diagnostics[0].code == "AD0923"


def test_a_plugin_says_everything_too(monkeypatch: pytest.MonkeyPatch) -> None:
    forgets = make(time=Primitive.time)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [_Point("old", [forgets])])
    with pytest.raises(ArchError, match="does not say `time`") as caught:
        custom.load_plugins("old")
    assert caught.value.diagnostics[0].code == "AD0922"
    assert "twice" not in TABLE


def test_plugins_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def register() -> None:
        archdsl.register_primitive(Twice())

    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [_Point("function", register)])
    assert custom.load_plugins("all") == ["twice"]
    assert custom.load_plugins("all") == []
