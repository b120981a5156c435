"""The emitted text: complete, readable, the same each time, safe, and enough without archdsl."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from archdsl import api
from archdsl.compiler import build, compile_graph, emit, guard
from archdsl.compiler.names import identifier
from tests.compiler.specs import SPECS, graph, inputs

ROOT = Path(__file__).parents[2]
RUN = """
import sys, torch
sys.modules["archdsl"] = None  # as where it is not installed: an import of it fails
for folder in sys.argv[1:]:
    namespace = {}
    exec(compile(open(folder + "/model.py").read(), folder, "exec"), namespace)
    model = namespace["create"](dtype=torch.float64, seed=7).eval()
    torch.save(model(**torch.load(folder + "/in.pt", weights_only=True)), folder + "/out.pt")
"""


def test_the_file_runs_with_torch_alone(tmp_path: Path) -> None:
    graphs = {name: graph(name) for name in ("decoder", "scans", "routes")}
    for name, of in graphs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.py").write_text(emit(of), encoding="utf-8")
        torch.save(inputs(of), tmp_path / name / "in.pt")
    folders = [str(tmp_path / name) for name in graphs]
    subprocess.run([sys.executable, "-I", "-c", RUN, *folders], check=True, cwd=tmp_path, timeout=120)
    for name, of in graphs.items():
        there = torch.load(tmp_path / name / "out.pt", weights_only=True)
        here = build(of, dtype=torch.float64, seed=7).eval()(**inputs(of))
        torch.testing.assert_close(there, here, rtol=1e-12, atol=1e-14)  # here scans run on kernels, there as loops


def test_the_text_is_the_same_in_every_process() -> None:
    code = "from tests.compiler.specs import graph\nfrom archdsl.compiler import emit\nimport sys\nsys.stdout.write(emit(graph('routes')))"
    texts = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        texts.add(done.stdout)
    assert len(texts) == 1
    assert emit(graph("routes")) in texts


@pytest.mark.parametrize("name", SPECS)
def test_the_model_part_is_laid_out(name: str) -> None:
    text = emit(graph(name))
    part = text[text.index("# ---- model ----") :]
    assert all(len(line) <= 140 for line in part.splitlines())
    assert not re.search(r"[ \t]+$", text, re.M)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "140", "-"], input=part, capture_output=True, text=True
    )
    assert done.stdout == part


def test_nothing_unused_is_carried_along() -> None:
    text = emit(graph("arch Plain(d = 4) { in x: [d]; return x -> linear(d) }"))
    names = {n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    assert "Plain" in names
    assert not names & {"attend", "Clock", "rotary", "dispatch", "checkpoint"}


def test_inner_classes_come_first_and_equal_regions_share_one() -> None:
    text = emit(graph("decoder"))
    classes = [n.name for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]
    assert classes[-1] == "Decoder"
    assert classes.count("Attention") == 1
    assert classes.index("Attention") < classes.index("DecoderLayers") < classes.index("Decoder")
    assert "nn.ModuleList(DecoderLayers() for _ in range(3))" in text


def test_readable_forward() -> None:
    text = emit(graph("decoder"))
    attention = text[text.index("class Attention") :]
    forward = attention[attention.index("def forward") : attention.index("def step")]
    assert "q = self.q_proj(x)" in forward
    assert "return self.o_proj(" in forward


def test_inspect_and_tracebacks_see_the_source() -> None:
    root = compile_graph(graph("decoder"))
    assert "self.table = nn.Embedding(11, 16)" in inspect.getsource(root)
    with pytest.raises(IndexError) as caught:
        build(graph("decoder"))(torch.full((1, 3), 99))
    lines = [str(entry.statement) for entry in caught.traceback]
    assert any("self.table(tokens)" in line for line in lines)


def test_hostile_words_stay_words() -> None:
    spec = "arch Evil(d = 4) { in x: [d]; return x -> linear(d) }"
    words = '"""\\nimport os\\n\'\'\' \\\\ """; __import__("os").system("true") #'
    of = api.parse(spec).graph
    of.doc = words + '\n"""\nimport os\n'
    of.root.params["note"] = words
    text = emit(of)
    tree = ast.parse(text)
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Import) and n.names[0].name == "os"]
    assert isinstance(tree.body[0], ast.Expr)
    build(of)


@pytest.mark.parametrize("bad", ["a b", "a;b", "1x", "a.b", "", "__class__", "é", "a\n"])
def test_only_plain_identifiers_become_names(bad: str) -> None:
    with pytest.raises(ValueError, match="not an identifier"):
        identifier(bad)


@pytest.mark.parametrize(
    "text",
    [
        "x = __import__('os')",
        "import os",
        "def f(x):\n    return x.__class__",
        "def f(x):\n    return open(x)",
        "def f(x):\n    return torch.load(x)",
        "eval('1')",
        "def f(eval):\n    import os",
    ],
)
def test_the_guard_refuses_what_no_model_needs(text: str) -> None:
    with pytest.raises(ValueError, match="generated source"):
        guard.check(text, ())


def test_the_guard_knows_the_support_that_stands_beside_the_text() -> None:
    text = "def f(x):\n    return rotary(x)"
    guard.check(text, ("rotary",))
    with pytest.raises(ValueError, match="names 'rotary'"):
        guard.check(text, ("attend",))


def test_names_that_a_module_needs_keep_their_weight_path() -> None:
    of = graph("arch Names(d = 4) { in x: [d]; return x -> train: linear(d) -> type: linear(d) -> state: linear(d) -> forward: linear(d) }")
    made = build(of).eval()
    assert {n for n, _ in made.named_parameters()} == {
        f"{m}.{w}" for m in ("train", "type", "state", "forward") for w in ("weight", "bias")
    }
    assert made(torch.randn(2, 4)).shape == (2, 4)
    made.train()
    made.state_dict()
