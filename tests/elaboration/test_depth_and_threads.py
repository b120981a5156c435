"""Elaboration changes nothing that others see: deep specs under the interpreter's own recursion limit, and several threads on one file."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.elaboration.elaborate import elaborate
from archdsl.language.loader import Loader
from archdsl.stack import with_room

T = TypeVar("T")

RECURSIVE = """
block Down(n) = if n == 0 then relu else (linear(8) -> Down(n - 1))
arch A { in x: [8]; return x -> Down(%d) }
"""
HEAVY = f"""
block Down(n) {{ in x: [8]; return {"- " * 100}(if n == 0 then x else Down(n - 1)(x)) }}
arch A {{ in x: [8]; return x -> Down(%d) }}
"""
PARTS = f"""
arch Base {{ in x: [8]; return x {"-> linear(8) " * 600} -> layers: repeat 1 {{ linear(8) }} }}
arch A {{ in x: [8]; base = pretrained(Base, "none"); return x -> base.before(layers) -> base.layers }}
"""
HANDED = """
block Down(n, inner) = if n == 0 then linear(8) else Down(n - 1, { inner -> relu })
arch A { in x: [8]; return x -> Down(92, relu) }
"""
ROW = "".join(f"c{i} = c{i + 1} + 0\n" for i in range(400))
PIPES = "".join(f"m{i} = m{i + 1} -> linear(8)\n" for i in range(400))
DEEP = {
    "1,000 different layers": (
        "arch A { in x: [8]; return x -> repeat i in 0..1000 { linear(8 + i) -> linear(8) } }",
        sum((8 + i) * 9 + 8 * (9 + i) for i in range(1000)),
    ),
    "1,000 stages": (f"arch A {{ in x: [8]; return x {'-> linear(8) ' * 999} }}", 999 * 72),
    "64 brackets": (f"arch A {{ in x: [8]; return x -> {'(' * 60}linear(8){')' * 60} }}", 72),
    "64 bodies": (f"arch A {{ in x: [8]; return x -> {'{ linear(8) -> ' * 62}linear(8){' }' * 62} }}", 63 * 72),
    "150 operators": (f"arch A {{ in x: [8]; return linear(8)(x) {'+ x ' * 150} }}", 72),
    "600 stages of a pretrained model": (PARTS, 600 * 72 + 72),
    "a row of 400 constants": (f"{ROW}c400 = 8\narch A {{ in x: [8]; return x -> linear(c0) }}", 72),
    "a row of 400 pipes": (f"{PIPES}m400 = relu\nblock Twice(f) = f -> f\narch A {{ in x: [8]; return x -> Twice(m0) }}", 400 * 72),
    "94 levels": (RECURSIVE % 93, 93 * 72),
    "94 levels of a module handed down": (HANDED, 72),
    "94 levels of high expressions": (HEAVY % 93, 0),
}


def below(calls: int, run: Callable[[], T]) -> T:
    """The result of a function called from this deep in the stack."""
    return run() if calls == 0 else below(calls - 1, run)


def in_thread(run: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
@pytest.mark.parametrize(
    "where", [lambda run: run(), lambda run: below(200, run), in_thread], ids=["here", "200 calls deep", "in a thread"]
)
def test_deep_specs_need_no_higher_limit(text: tuple[str, int], where: Callable[[Callable[[], archdsl.Spec]], archdsl.Spec]) -> None:
    limit = sys.getrecursionlimit()
    assert limit == 1000
    assert where(lambda: archdsl.parse(text[0])).parameters == text[1]
    assert sys.getrecursionlimit() == limit


def test_a_stack_that_is_nearly_full_does_not_matter() -> None:
    loader = Loader()
    namespace = loader.text(RECURSIVE % 93)
    done = below(sys.getrecursionlimit() - 150, lambda: elaborate(namespace, loader))
    assert done.graph.root.instances


def test_an_act_of_acts_is_lowered_wherever_the_stack_stands() -> None:
    acts = "".join(f"act a{i}(x) = sin(a{i + 1}(x))\n" for i in range(48)) + "act a48(x) = x\n"
    high = f"{{ in x: [8]; return {'- ' * 150}a0(x) }}"
    for levels in range(0, 30, 2):
        nested = f"{'{ linear(8) -> ' * levels}High{' }' * levels}"
        loader = Loader()
        namespace = loader.text(f"{acts}block High {high}\narch A {{ in x: [8]; return x -> {nested} }}")
        assert elaborate(namespace, loader).graph.root.nodes


def test_endless_recursion_is_told_as_such() -> None:
    for run in (lambda f: f(), lambda f: below(200, f)):
        with pytest.raises(ArchError) as caught:
            run(lambda: archdsl.parse(RECURSIVE % 1_000_000))
        assert [d.code for d in caught.value.diagnostics] == ["AD0401"]


def test_room_is_made_only_where_it_is_short() -> None:
    me = threading.get_ident()
    assert with_room(100, threading.get_ident) == me
    assert with_room(sys.getrecursionlimit(), threading.get_ident) != me
    with pytest.raises(ZeroDivisionError):
        with_room(sys.getrecursionlimit(), lambda: 1 // 0)


def test_the_collector_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "disable", lambda: pytest.fail("switched off for all threads"))
    archdsl.load("smollm2")


# ---- threads --------------------------------------------------------------------------------------------------------------------

CONSTANTS = """
base = 2 * 4
width = base * base
mixer = linear(width) | (linear(base) -> linear(width))
wide = { linear(4 * width) -> mixer }
block Layer(kind) = if kind == 0 then mixer else wide
arch A(kind = 0, n = 4) { in x: [64]; return x -> repeat n { Layer(kind) -> mixer } }
"""


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns a hundred times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_eight_threads_on_one_file_find_what_one_finds(hasty: None) -> None:
    settings = [{"kind": kind, "n": n} for kind in (0, 1) for n in range(1, 6)] * 8
    alone = archdsl.parse(CONSTANTS)
    wanted = [alone.at(**s).structure_hash for s in settings]
    for _ in range(3):
        spec = archdsl.parse(CONSTANTS)  # a fresh file: its constants are yet to be found
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda s, spec=spec: spec.at(**s).structure_hash, settings))
        assert found == wanted


def test_a_constant_through_itself_is_still_told() -> None:
    loader = Loader()
    namespace = loader.text("a = b + 1\nb = a + 1\narch A { in x: [8]; return x -> linear(a) }")
    for _ in range(2):
        with pytest.raises(ArchError) as caught:
            elaborate(namespace, loader)
        assert [d.code for d in caught.value.diagnostics] == ["AD0402"]


def test_a_constant_holds_no_value() -> None:
    """A value belongs to one body of one graph: kept with the file, it would be missing from the next graph."""
    with pytest.raises(ArchError) as caught:
        archdsl.parse("w = param([8])\narch A { in x: [8]; return x * w }")
    assert [d.code for d in caught.value.diagnostics] == ["AD0240"]
