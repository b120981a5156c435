"""Every spec file checks with its contracts, stands in canonical form, and builds exactly the weights that its formulas promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import archdsl
from archdsl.compiler import build
from archdsl.diagnostics import Source
from archdsl.language import format_text
from archdsl.language.parser import parse
from archdsl.language.syntax import Expect
from tests.specs.small import HARD, SMALL, SPECS, files, first, inputs, model, name, spec

LAID_OUT_BY_HAND = {"std/activations.arch"}  # a table of one-line formulas with its references in a column


def has_arch(path: Path) -> bool:
    return any(type(d).__name__ == "BlockDecl" and d.is_arch for d in parse(Source(str(path), path.read_text())).declarations)


LEFT_OUT = {  # weights that the first output does not depend on
    "language/bert.arch": ("pooler.",),
    "sequence/trm.arch": ("stop.",),
    "vision/revcol.arch": ("columns.0.Column.Scaled",),  # what stood before the first column is zero
    "vision/revcol_trained.arch": ("quarters.0.columns.0.Column.Scaled", *(f"quarters.{q}.Supervision." for q in range(3))),
}

CHOOSES = {"sequence/global_workspace.arch"}  # one of several in evaluation: only training learns

PUBLISHED = {"language/smollm2_depth.arch"}  # they come with published weights, so in one size: run in tests/search/depth

ARCHS = [p for p in files() if has_arch(p)]


def test_the_table_of_small_sizes_knows_every_spec() -> None:
    assert set(SMALL) == {name(p) for p in ARCHS} - PUBLISHED


@pytest.mark.parametrize("path", [*files(), *files(HARD)], ids=name)
def test_the_layout_is_canonical(path: Path) -> None:
    text = path.read_text()
    once = format_text(Source(path.name, text))
    assert format_text(Source(path.name, once)) == once
    if name(path) not in LAID_OUT_BY_HAND:
        assert once == text


@pytest.mark.parametrize("path", ARCHS, ids=name)
def test_contracts_hold_and_weights_are_as_promised(path: Path) -> None:
    """At the published size: the contracts are checked by load, and the module made without memory has the weights of the formulas."""
    spec = archdsl.load(path)
    stated = [d for d in parse(Source(str(path), path.read_text())).declarations if isinstance(d, Expect)]
    assert len(spec.contracts) == len(stated)
    assert stated
    built = build(spec.graph, device="meta")
    assert sum(p.numel() for p in built.parameters()) == spec.parameters
    assert {k: tuple(v.shape) for k, v in built.state_dict().items()} == spec.weight_shapes
    assert sum(b.numel() for b in built.buffers()) == spec.buffers


@pytest.mark.parametrize("path", files(SPECS / "std"), ids=name)
def test_library_files_import_on_their_own(path: Path) -> None:
    text = f'import "{name(path)}"\narch A {{ in x: [4]; return x -> linear(4) }}'
    assert archdsl.parse(text).parameters == 20


@pytest.mark.parametrize("key", SMALL)
def test_forward_and_backward(key: str) -> None:
    """Finite outputs, and a gradient for every parameter that is not left out on purpose."""
    made = model(key)
    made.zero_grad()
    made.train(key in CHOOSES)
    out = first(made(**inputs(spec(key))))
    made.eval()
    assert torch.isfinite(out).all()
    (out * torch.randn_like(out)).sum().backward()
    without = [n for n, p in made.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any()]
    assert [n for n in without if not n.startswith(LEFT_OUT.get(key, ()))] == []
