"""Models with scans: the same numbers by kernels, by torch forms and by the loop as written; compiled, exported, decoded, copied."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import warnings
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archdsl
from archdsl.kernels import build
from tests.recurrence.steps import difference

SPECS = {
    "heads": """
import "std/scans.arch"
arch A(heads = 2, c = 5, m = 3) {
    in x: [T, d]
    q = x -> linear(heads * c) -> rearrange("t (h c) -> h t c", h=heads)
    k = x -> linear(heads * c) -> rearrange("t (h c) -> h t c", h=heads)
    v = x -> linear(heads * m) -> rearrange("t (h c) -> h t c", h=heads)
    g = x -> linear(heads * c) -> logsigmoid -> rearrange("t (h c) -> h t c", h=heads)
    return gated_linear(q, k, v, g) -> rearrange("h t c -> t (h c)") -> linear(d)
}
expect causal
""",
    "shared keys": """
import "std/scans.arch"
arch A(heads = 3, c = 5, m = 3) {
    in x: [T, d]
    k = x -> linear(c) -> l2norm -> rearrange("t (h c) -> h t c", h=1)
    q = x -> linear(c) -> rearrange("t (h c) -> h t c", h=1)
    v = x -> linear(heads * m) -> rearrange("t (h c) -> h t c", h=heads)
    b = x -> linear(heads) -> sigmoid -> rearrange("t h -> h t")
    return delta_rule(q, k, v, b) -> rearrange("h t c -> t (h c)") -> linear(d)
}
""",
    "weight per head": """
scan cell(heads) {
    in x: [n]
    param R: [heads: n, n] ~ normal(0.3)
    state h: [n] = 0
    h' = tanh(R @ h + x)
    yield h'
}
scan fading(heads) { in x: [n]; param a: [heads: n] ~ uniform(0, 1); state h: [n] = 0; h' = a * h + x; yield h' }
arch A(heads = 2) {
    in x: [T, d]
    y = x -> linear(heads * 3) -> rearrange("t (h c) -> h t c", h=heads)
    return add(cell(heads)(y), fading(heads)(y)) -> rearrange("h t c -> t (h c)") -> linear(d)
}
""",
    "hoisted": """
import "std/scans.arch"
arch A { in x: [T, d]; return x -> min_gru(7) -> linear(d) }
""",
    "spikes": """
import "std/scans.arch"
arch A { in x: [T, d]; return x -> linear(d) -> lif }
""",
    "several": """
import "std/scans.arch"
arch A { in x: [T, d]; return add(x -> elstm(d), x -> selective_block) }
block selective_block { in x: [T, d]; dt = x -> linear(d) -> softplus; return selective(3)(x, dt, x -> linear(3), x -> linear(3)) }
""",
}  # fmt: skip
D = 6
ROUTES = ("kernel", "forms", "loop")


def has_compiler() -> bool:
    try:
        build.compiler()
    except build.NoCompiler:
        return False
    return True


@cache
def spec(name: str) -> Any:
    return archdsl.parse(SPECS[name].replace("[T, d]", f"[T, {D}]").replace("(d)", f"({D})"))


def model(name: str, route: str, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype = torch.float64) -> nn.Module:
    if route == "kernel" and not has_compiler():
        pytest.skip("no C compiler")
    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setenv("ARCHDSL_KERNELS", {"kernel": "1", "forms": "0", "loop": "loop"}[route])
        made: nn.Module = spec(name).build(dtype=dtype, seed=1)
    return made


def kernels(module: nn.Module) -> list[Any]:
    return [m.kernel for m in module.modules() if hasattr(m, "kernel")]


def given(time: int = 20, dtype: torch.dtype = torch.float64) -> Tensor:
    torch.manual_seed(time)
    return torch.randn(3, time, D, dtype=torch.float64).to(dtype)


def outcome(module: nn.Module, x: Tensor, **more: Any) -> list[Tensor]:
    """Output and the gradients of the input and of every weight."""
    x = x.clone().requires_grad_()
    y = module(x, **more)
    lengths = more.get("lengths")
    if lengths is not None:
        y = torch.where(torch.arange(x.shape[1])[:, None] < lengths[:, None, None], y, 0)
    torch.manual_seed(0)
    return [y, *torch.autograd.grad(y, [x, *module.parameters()], torch.randn(y.shape, dtype=torch.float64).to(y.dtype))]


@pytest.mark.parametrize("route", ["kernel", "forms"])
@pytest.mark.parametrize("name", SPECS)
def test_each_route_gives_the_loops_numbers(name: str, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, plain = model(name, route, monkeypatch), model(name, "loop", monkeypatch)
    assert kernels(plain)
    assert all(k is None for k in kernels(plain))
    assert all(k is not None and (k.kernel is not None) == (route == "kernel") for k in kernels(ours)) or name == "weight per head"
    for time in (1, 20, 70):
        for a, b in zip(outcome(ours, given(time)), outcome(plain, given(time))):
            assert difference(a, b) < 1e-9


@pytest.mark.parametrize("route", ["kernel", "forms"])
@pytest.mark.parametrize("name", SPECS)
def test_single_and_half_precision(name: str, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = model(name, "loop", monkeypatch)
    single = model(name, route, monkeypatch, torch.float32)
    for a, b in zip(outcome(single, given(dtype=torch.float32)), outcome(plain, given())):
        assert difference(a.double(), b) < 2e-4
    half = model(name, route, monkeypatch, torch.bfloat16)
    found = outcome(half, given(dtype=torch.bfloat16))
    assert all(f.dtype == torch.bfloat16 and f.isfinite().all() for f in found)
    if name != "spikes":  # they jump
        assert difference(found[0].double(), outcome(plain, given())[0]) < 0.1


@pytest.mark.parametrize("name", SPECS)
def test_lengths(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = spec(name)
    if "lengths" not in source.build(seed=0).forward.__code__.co_varnames:
        source = archdsl.parse(SPECS[name].replace("[T, d]", f"[T, {D}] lengths").replace("(d)", f"({D})"))
        monkeypatch.setitem(globals(), "spec", lambda _: source)
    lengths = torch.tensor([20, 7, 1])
    plain = outcome(model(name, "loop", monkeypatch), given(), lengths=lengths)
    for route in ("kernel", "forms"):
        for a, b in zip(outcome(model(name, route, monkeypatch), given(), lengths=lengths), plain):
            assert difference(a, b) < 1e-9


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", SPECS)
@torch.inference_mode()
def test_prefill_and_steps_equal_the_whole(name: str, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = model(name, route, monkeypatch), given(13)
    whole = module(x)
    out, state = module.prefill(x[:, :7])
    outs = [out]
    for start, end in ((7, 8), (8, 9), (9, 13)):
        out, state = module.step(x[:, start:end], state)
        outs.append(out)
    assert difference(torch.cat(outs, 1), whole) < 1e-10


@pytest.mark.parametrize("name", ["heads", "hoisted"])
def test_compiled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one graph, forward and backward, whatever the length."""
    module = model(name, "kernel", monkeypatch)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    for time in (20, 33):
        for a, b in zip(outcome(compiled, given(time)), outcome(module, given(time))):
            assert difference(a, b) < 1e-10


def test_forms_under_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    """They break the graph, and nothing else."""
    module = model("heads", "forms", monkeypatch)
    torch._dynamo.reset()
    for a, b in zip(outcome(torch.compile(module, backend="aot_eager"), given()), outcome(module, given())):
        assert difference(a, b) < 1e-10


@pytest.mark.slow
def test_compiled_by_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    module = model("heads", "kernel", monkeypatch, torch.float32)
    torch._dynamo.reset()
    for a, b in zip(outcome(torch.compile(module), given(dtype=torch.float32)), outcome(module, given(dtype=torch.float32))):
        assert difference(a, b) < 1e-5


@pytest.mark.parametrize("route", ROUTES)
def test_exported(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = model("heads", route, monkeypatch).eval(), given(9)
    exported = torch.export.export(module, (x,))
    assert difference(exported.module()(x), module(x)) < 1e-10
    used = any("archdsl" in str(n.target) for n in exported.graph.nodes)
    assert used == (route == "kernel")


@pytest.mark.parametrize("route", ["kernel", "forms"])
def test_copied_and_pickled(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = model("heads", route, monkeypatch)
    if route == "forms":
        monkeypatch.setenv("ARCHDSL_KERNELS", "0")
    x = given()
    want = module(x)
    assert difference(copy.deepcopy(module)(x), want) == 0
    (one,) = kernels(module)
    again = pickle.loads(pickle.dumps(one))
    assert again.text == one.text


def test_on_meta_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    module = model("heads", "kernel", monkeypatch).to("meta")
    assert module(given().to("meta")).shape == (3, 20, D)


CHILD = """
import torch, archdsl
spec = archdsl.parse({text!r})
model = spec.build(dtype=torch.float64, seed=1)
torch.manual_seed(20)
x = torch.randn(3, 20, 6, dtype=torch.float64)
print(repr(model(x).sum().item()))
"""


@pytest.mark.parametrize("settings", [{"ARCHDSL_KERNELS": "0"}, {"CC": "false"}, {"CC": "no-such-compiler"}])
def test_without_a_compiler_one_line_says_so(settings: dict[str, str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several scans, one warning; the same numbers."""
    text = SPECS["several"].replace("[T, d]", f"[T, {D}]").replace("(d)", f"({D})")
    env = os.environ | settings | {"ARCHDSL_CACHE": str(tmp_path), "PYTHONWARNINGS": "default::RuntimeWarning"}
    done = subprocess.run([sys.executable, "-c", CHILD.format(text=text)], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert "scans run without compiled kernels" in done.stderr
    wanted = model("several", "loop", monkeypatch)(given()).sum().item()
    assert abs(float(done.stdout) - wanted) < 1e-9 * abs(wanted)


def test_an_emitted_file_needs_no_archdsl(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file alone, where archdsl cannot be imported: the loop as written."""
    made = model("heads", "loop", monkeypatch)
    (tmp_path / "emitted.py").write_text(made.spec_source)
    code = (
        "import sys; sys.modules['archdsl'] = None\n"
        "import torch, emitted\nmodel = emitted.create(dtype=torch.float64, seed=1)\n"
        "torch.manual_seed(20); x = torch.randn(3, 20, 6, dtype=torch.float64)\nprint(repr(model(x).sum().item()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout) - made(given()).sum().item()) < 1e-9


@pytest.mark.parametrize("route", ROUTES)
def test_a_scan_without_a_parallel_form(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a compiler it is the loop as written."""
    text = f"scan f {{ in x: [d]; state h: [d] = 0; h' = tanh((h -> linear(d)) + x); yield h' }}\narch A {{ in x: [T, {D}]; return f(x) }}"
    monkeypatch.setitem(globals(), "spec", lambda _: archdsl.parse(text))
    module = model("nonlinear", route, monkeypatch)
    assert (kernels(module) == [None]) == (route != "kernel")
    for a, b in zip(outcome(module, given()), outcome(model("nonlinear", "loop", monkeypatch), given())):
        assert difference(a, b) < 1e-10
