"""Eight threads, switched far more often than usual, find what one finds: nothing that a call uses is half made, or another call's."""

from __future__ import annotations

import importlib.metadata
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import archdsl
from archdsl.analysis import views
from archdsl.compiler.building import load_source
from archdsl.diagnostics import ArchError, Source
from archdsl.diagnostics.render import render_all
from archdsl.graph.expressions import Expr, call, var
from archdsl.language.loader import Loader
from archdsl.primitives import TABLE, custom
from archdsl.primitives.detach import Detach
from archdsl.runtime.tokenizer import BPETokenizer
from archdsl.search.space import open_space

THREADS = 8
Job = Callable[[], Any]

CHOSEN = """
base = 2 * 4
width = base * base
curve = silu | gelu
act bent(slope = 0.5)(x; bias = 0.0) = if x < 0 then slope * x else tanh(x) + bias
scan decayed { in x: [d]; state h: [d] = 0; h' = 0.5 * h + x; yield tanh(h') }
block Layer(wide) = if wide then (linear(2 * width) -> curve -> linear(width)) else (bent(slope = 0.25) -> linear(width))
arch A(n = 2, wide = true, d in {32, 64} = 64) {
    in x: [T, d]
    return x -> linear(width) -> decayed -> repeat n { rmsnorm -> Layer(wide) } -> linear(d)
}
expect causal
"""
SPACE = "arch A { in x: [8]; return x -> repeat 3 { linear(8) | (linear(16) -> relu -> linear(8)) } -> (tanh | relu) }\n"
WRONG = (
    "arch A(d = 8) {\n    in x: [T, d]\n    y = linear(d + 1)(x)\n    return x + y\n}\n",
    "arch A {\n    in x: [8]\n    return x -> sofmax -> linaer(8)\n}\n",
    "a = b + 1\nb = a + 1\narch A { in x: [8]; return x -> linear(a) }\n",
    "act f(x) = x +\narch A { in x: [8]; return x -> f }\n",
    'import "std/nowhere.arch"\narch A { in x: [8]; return x }\n',
)
SETTINGS: list[dict[str, Any]] = [{"n": n, "wide": wide, "d": d} for n in (1, 2) for wide in (True, False) for d in (32, 64)]
SHIPPED: list[tuple[str, dict[str, Any]]] = [("smollm2", {"depth": 2}), ("gla", {}), ("hybrid", {}), ("gpt2", {"depth": 2}), ("mamba", {})]


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    """Threads that take turns five hundred times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def at_once(jobs: list[Job]) -> list[Any]:
    """What each job gives, all begun together on eight threads."""
    start = threading.Barrier(THREADS)
    found: dict[int, Any] = {}

    def work(first: int) -> None:
        start.wait()
        for i in range(first, len(jobs), THREADS):
            found[i] = jobs[i]()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    return [found[i] for i in range(len(jobs))]


def shuffled(jobs: list[Job], times: int) -> tuple[list[Job], list[Any]]:
    """Jobs several times over in an order of their own, and what each gives when no other runs."""
    alone = [job() for job in jobs]
    order = list(range(len(jobs))) * times
    random.shuffle(order)
    return [jobs[i] for i in order], [alone[i] for i in order]


def told(text: str) -> str:
    """What is said of a text that is wrong."""
    with pytest.raises(ArchError) as caught:
        archdsl.parse(text)
    return render_all(caught.value.diagnostics)


def described(spec: archdsl.Spec) -> dict[str, Any]:
    """What is known of a spec before it is built."""
    return {
        "hashes": (spec.structure_hash, spec.interface_hash),
        "costs": (spec.parameters, spec.flops(T=16), spec.state_bytes(T=16), spec.activation_bytes(T=16)),
        "decisions": [(path, d.chosen) for path, d in spec.decisions],
        "warnings": render_all(spec.warnings),
        "promises": (spec.contracts, spec.causality.causal, [str(a) for a in spec.assumptions]),
        "words": views.explain(spec, None, {"T": 16}),
        "source": spec.emit(),
    }


def computed(spec: archdsl.Spec) -> list[float]:
    """Sums over a built model's weights, over what it gives, and over the gradients."""
    import torch

    model = spec.build(seed=3)
    y = model(torch.linspace(-1, 1, 10 * spec.arguments["d"]).view(2, 5, -1))
    y.square().sum().backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return [float(t.detach().double().sum()) for t in (y, *model.parameters(), *grads)]


def searched() -> list[Any]:
    """A space's size, a few of its points, and the model of each."""
    space = open_space(SPACE)
    points = [space.sample(random.Random(i)) for i in range(3)]
    return [space.count(), points, [space.candidate(p).key for p in points], space.candidate(points[0]).text()]


# ---- whole calls -------------------------------------------------------------------------------------------------------------------------


def test_one_spec_at_many_settings() -> None:
    alone = [described(archdsl.parse(CHOSEN).at(**s)) for s in SETTINGS]
    spec = archdsl.parse(CHOSEN)  # whose constants nobody has looked at yet
    order = random.choices(range(len(SETTINGS)), k=3 * len(SETTINGS))
    assert at_once([lambda i=i: described(spec.at(**SETTINGS[i])) for i in order]) == [alone[i] for i in order]  # type: ignore[misc]


def test_many_specs_loaded_checked_explained_searched() -> None:
    jobs: list[Job] = [lambda n=n, s=s: described(archdsl.load(n, **s)) for n, s in SHIPPED]  # type: ignore[misc]
    jobs += [lambda text=text: told(text) for text in WRONG]  # type: ignore[misc]
    jobs += [lambda: described(archdsl.parse(CHOSEN)), searched]
    jobs, alone = shuffled(jobs, 3)
    assert at_once(jobs) == alone


def test_models_built_and_run() -> None:
    spec = archdsl.parse(CHOSEN)
    jobs, alone = shuffled([lambda s=s: computed(spec.at(**s)) for s in SETTINGS[::2]], 3)  # type: ignore[misc]
    assert at_once(jobs) == alone


# ---- what they share ---------------------------------------------------------------------------------------------------------------------


def test_equal_expressions_are_one_node() -> None:
    def formula(start: int) -> Expr:
        value: Expr = var(f"x{start}")
        for i in range(40):
            value = call("tanh", value * (start + i) + var(f"y{i}"))
        return value

    for start in range(40):
        first, *others = at_once([lambda start=start: formula(start)] * THREADS)  # type: ignore[misc]
        assert all(other is first for other in others)


def test_a_loader_that_several_ask_reads_each_file_once(tmp_path: Path) -> None:
    for i in range(20):
        before = f'import "part{i - 1}.arch"\n' if i else ""
        (tmp_path / f"part{i}.arch").write_text(f"{before}block B{i} = linear({i + 1})\n")
    for _ in range(5):
        loader = Loader(tmp_path)
        found = at_once([loader.prelude, lambda loader=loader: loader.load(tmp_path / "part19.arch")] * THREADS)
        assert len(set(found[::2])) == len(set(found[1::2])) == 1
        assert len(loader.sources) == 21


def test_lines_of_a_source() -> None:
    text = "\n".join("x" * (i % 7) for i in range(20_000))
    for _ in range(10):
        source = Source("spec", text)
        assert at_once([lambda source=source: source.position(len(text))] * THREADS) == [(20_000, 1 + 19_999 % 7)] * THREADS


def test_one_module_of_one_source() -> None:
    text = archdsl.parse(CHOSEN).emit()
    for i in range(5):
        modules = at_once([lambda i=i: load_source(f"{text}\n# {i}\n", "A")] * THREADS)  # type: ignore[misc]
        assert len(set(map(id, modules))) == 1
        assert sys.modules[modules[0].__name__] is modules[0]


def test_a_plugin_registers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []

    def register() -> None:
        loads.append(threading.get_ident())
        for i in range(50):
            made = Detach()
            made.name = f"threads_{i}"  # type: ignore[misc]
            custom.register_primitive(made)

    point = SimpleNamespace(name="threads", load=lambda: register)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    monkeypatch.setattr(custom, "_plugins", set())
    try:
        found = at_once([lambda: (custom.load_plugins("threads"), TABLE["threads_49"])] * THREADS)
        assert len(loads) == 1
        assert sorted(len(names) for names, _ in found) == [0] * (THREADS - 1) + [50]
    finally:
        for i in range(50):
            custom.unregister_primitive(f"threads_{i}")


class Slow:
    """A tokenizer of the `tokenizers` package as far as it is asked here: how it takes control tokens is a setting of the whole."""

    encode_special_tokens = False

    def get_vocab_size(self, with_added_tokens: bool) -> int:
        return 2

    def encode(self, text: str, add_special_tokens: bool) -> SimpleNamespace:
        time.sleep(1e-4)
        return SimpleNamespace(ids=[int(self.encode_special_tokens)])


def test_control_tokens_and_plain_text_at_once() -> None:
    tokenizer = BPETokenizer(Slow(), bos=None, eos=(), special={})
    plain = [bool(i % 3) for i in range(80)]
    found = at_once([lambda p=p: tokenizer.encode("", special=not p) for p in plain])  # type: ignore[misc]
    assert found == [[int(p)] for p in plain]


# ---- what must not come back -------------------------------------------------------------------------------------------------------------


def test_trees_of_python_are_made_in_one_place() -> None:
    """Where they are made one at a time; see `archdsl.primitives.text`."""
    package = Path(archdsl.__file__).parent
    found = [
        p.relative_to(package).as_posix() for p in package.rglob("*.py") if re.search(r"\bast\.parse\(", p.read_text(encoding="utf-8"))
    ]
    assert found == ["primitives/text.py"]
