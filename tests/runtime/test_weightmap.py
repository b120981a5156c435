"""Weight maps: what is accepted, what is refused and where, and each transform against plain tensor code."""

from __future__ import annotations

import pytest
import torch

from archdsl.diagnostics import ArchError
from archdsl.runtime.transforms import Affine, FitError, Reshape, RotaryHalves, Slice, Transpose, quantity
from archdsl.runtime.weightmap import compile_pattern, fill, load_weight_map, parse_weight_map, shipped_maps


def problems(text: str):
    with pytest.raises(ArchError) as caught:
        parse_weight_map(text)
    assert all(d.code == "AD0804" for d in caught.value.diagnostics)
    return caught.value.diagnostics


@pytest.mark.parametrize(
    ("text", "title", "at"),
    [
        ("gguf: {weights: {a: b}}", "`architecture` is missing", "{weights: {a: b}}"),
        ("gguf: {architecture: l, weigths: {}, weights: {}}", "`weigths` means nothing here", "weigths"),
        ("gguf: {architecture: l, weights: {a: 3}}", "`a` has a value of the wrong kind", "3"),
        ("gguf: {architecture: l, weights: {a: {from: x, apply: [{splt: {}}]}}}", "this transform is not known", "{splt: {}}"),
        (
            "gguf: {architecture: l, weights: {a: {from: x, apply: [{split: {part: 1}}]}}}",
            "give either `parts` or `sizes`",
            "{split: {part: 1}}",
        ),
        ("gguf: {architecture: l, weights: {a: 'b.{i}'}}", "a source name has an unknown hole", "'b.{i}'"),
        ("gguf: {architecture: l, config: {k: [1]}, weights: {}}", "`k` has a value of the wrong kind", "[1]"),
        ("a: &x 1\nb: *x", "aliases are not allowed here", "*x"),
        ("a: 1\na: 2", "`a` is given twice", "a"),
        ("gguf: !!python/tuple [1]", "the tag `tag:yaml.org,2002:python/tuple` is not allowed", "!!python/tuple [1]"),
        ("[1, 2]", "a weight map is a YAML mapping", "[1, 2]"),
    ],
)
def test_mistakes_are_told_with_their_place(text, title, at):
    first = problems(text)[0]
    assert first.title == title
    assert first.span is not None
    assert first.span.text == at


def test_misspelt_fields_get_a_suggestion():
    assert "`weights`" in problems("gguf: {architecture: l, weigths: {}, weights: {}}")[0].hint


def test_several_mistakes_in_one_run():
    assert len(problems("gguf: {architecture: l, x: 1, y: 2, weights: {a: 3}}")) == 3


@pytest.mark.parametrize("text", ["a: [", "\x00", "{" * 5000, "- " * 3000, "? ? a", "a: b: c", "%YAML 9"])
def test_broken_yaml_is_a_diagnostic(text):
    problems(text)


def test_large_files_are_not_read(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_text("a: " + "x" * 300_000)
    with pytest.raises(ArchError, match="AD0804"):
        load_weight_map(path)


def test_every_shipped_map_is_valid():
    assert shipped_maps()
    for path in shipped_maps():
        load_weight_map(path)


def test_patterns_stand_for_numbers_only_and_equal_letters_agree():
    pattern = compile_pattern("layers.{i}.f.{j}.w")
    assert pattern.fullmatch("layers.12.f.3.w").groupdict() == {"i": "12", "j": "3"}
    assert not pattern.fullmatch("layers.x.f.3.w")
    assert not pattern.fullmatch("layersX12.f.3.w")
    assert compile_pattern("{i}.{i}").fullmatch("4.4")
    assert not compile_pattern("{i}.{i}").fullmatch("4.5")
    assert fill("blk.{i+1}.w{j}", {"i": 2, "j": 7}) == "blk.3.w7"


@pytest.mark.parametrize(("text", "value"), [(3, 3), ("d", 12), ("d / heads", 3), ("2*d*heads", 96), (" d ", 12)])
def test_quantities(text, value):
    assert quantity(text, {"d": 12, "heads": 4}) == value


@pytest.mark.parametrize("text", ["e", "d heads", "d /", "* d", "d / 5", "d + 1", "d / 0", "", "d.real", "__import__('os')", "d**9"])
def test_other_quantities_are_refused(text):
    with pytest.raises(FitError):
        quantity(text, {"d": 12, "heads": 4})


def test_rotary_halves_undoes_the_interleaving():
    heads, half, d = 3, 4, 5
    ours = torch.randn(heads * 2 * half, d)
    # interleave by hand: row 2j of a head is its row j, row 2j + 1 its row j + half
    theirs = torch.empty_like(ours)
    for h in range(heads):
        for j in range(half):
            theirs[h * 2 * half + 2 * j] = ours[h * 2 * half + j]
            theirs[h * 2 * half + 2 * j + 1] = ours[h * 2 * half + half + j]
    assert torch.equal(RotaryHalves(kind="rotary_halves", heads="n").apply(theirs, {"n": heads}), ours)


def test_other_transforms():
    x = torch.arange(24.0).reshape(4, 6)
    assert torch.equal(Transpose(kind="transpose").apply(x, {}), x.T)
    assert torch.equal(Slice(kind="split", axis=1, parts=3, part=1).apply(x, {}), x[:, 2:4])
    assert torch.equal(Slice(kind="split", axis=1, sizes=["a", 2], part=1).apply(x, {"a": 4}), x[:, 4:])
    assert torch.equal(Reshape(kind="reshape", shape=["a", 3]).apply(x, {"a": 8}), x.reshape(8, 3))
    assert torch.equal(Affine(kind="affine", shift=1.0).apply(x, {}), x + 1)
    for bad in (Slice(kind="split", parts=3, part=0), Slice(kind="split", sizes=[1, 1], part=0), Slice(kind="split", parts=2, part=2)):
        with pytest.raises(FitError):
            bad.apply(x, {})
