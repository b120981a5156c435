"""Files, declarations and statements, and how lines separate them."""

from __future__ import annotations

import pytest

from archdsl.diagnostics import Source
from archdsl.language import parse, same_tree
from archdsl.language import syntax as s
from tests.language.helpers import EXAMPLES, codes, sketch, tree


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_examples_parse(path: object) -> None:
    from pathlib import Path

    assert isinstance(path, Path)
    assert parse(Source(path.name, path.read_text(encoding="utf-8"))).declarations


def test_the_head_of_a_file() -> None:
    imports = 'import "std/x.arch"\nimport "y.arch" as y\npin "std/x.arch" "sha256:ab"\n'
    file = tree(f'"""A file."""\nlanguage 1\n{imports}block A = f\n')
    assert (file.doc, file.version, file.pins) == ("A file.", 1, [("std/x.arch", "sha256:ab")])
    found = [(i.path, i.alias, i.path_span.text) for i in file.imports]
    assert found == [("std/x.arch", None, '"std/x.arch"'), ("y.arch", "y", '"y.arch"')]


def test_doc_strings() -> None:
    text = '"""File."""\n"""Block A."""\nblock A = f\nscan B {\n    """Two\n\n      lines.\n    """\n    in x: []\n    yield x\n}\n'
    text += '"""Act."""\nact c(x) = x'
    file = tree(text)
    assert file.doc == "File."
    assert [d.doc for d in file.declarations] == ["Block A.", "Two\n\nlines.", "Act."]  # type: ignore[union-attr]
    assert codes('"""File."""\n"""One."""\n"""Two."""\nblock A = f') == ["AD0138"]
    assert codes('"""File."""\n"""Constant."""\nn = 3') == ["AD0138"]
    assert codes('"""File."""\n"""Outside."""\nblock A {\n"""Inside."""\nf }') == ["AD0138"]
    assert codes('block A = loop 3 { """Not here.""" f }') == ["AD0138"]


def test_expectations_know_their_arch() -> None:
    file = tree("expect x\narch A = f\nexpect params == 3 with d=64, depth=2\nblock B = f\nexpect causal\narch C = g\nexpect causal")
    found = [(d.arch, sketch(d.overrides)) for d in file.declarations if isinstance(d, s.Expect)]
    assert found == [(None, []), ("A", [["d", "=", 64], ["depth", "=", 2]]), ("A", []), ("C", [])]


def test_parameters() -> None:
    file = tree("arch A(a, b = a, f: module, d in {64, 128} = 128, n in 2..=12 = 6, m: int in xs = 1, g: module in {P, Q} = P,) = f")
    block = file.declarations[0]
    assert isinstance(block, s.BlockDecl)
    assert block.is_arch
    found = [(p.name, p.kind, sketch(p.domain), sketch(p.default)) for p in block.parameters]
    assert found == [
        ("a", None, None, None),
        ("b", None, None, "a"),
        ("f", "module", None, None),
        ("d", None, ["SetExpr", 64, 128], 128),
        ("n", None, ["Range", 2, 12, True], 6),
        ("m", "int", "xs", 1),
        ("g", "module", ["SetExpr", "P", "Q"], "P"),
    ]
    assert [p.span.text for p in block.parameters][3] == "d in {64, 128} = 128"


def test_point_free_block() -> None:
    block = tree("block L(h) on int[.., d] = f -> g").declarations[0]
    assert isinstance(block, s.BlockDecl)
    assert block.on is not None
    assert (block.on.kind, sketch(block.on.dims)) == ("int", ["Ellipsis_", "d"])
    assert sketch(block.body.expression) == ["->", "f", "g"]


def test_activations() -> None:
    text = "act elu(alpha = 1.0)(x) = x\nact swish(x, y; beta = 1.0, a: [axis] = 0.25) = x\n"
    text += "act step(x) = if x > 0 then 1 else 0\n    backward 1 / x"
    elu, swish, step = tree(text).declarations
    assert isinstance(elu, s.ActDecl)
    assert isinstance(swish, s.ActDecl)
    assert isinstance(step, s.ActDecl)
    assert ([p.name for p in elu.parameters], elu.inputs) == (["alpha"], ["x"])
    assert (swish.inputs, [(p.name, sketch(p.default)) for p in swish.learned]) == (["x", "y"], [("beta", 1.0), ("a", 0.25)])
    assert swish.learned[1].shape is not None
    assert sketch(step.backward) == [1, "/", "x"]


def test_statements() -> None:
    text = """
    scan everything(n) {
        in x, h; in y: int[heads: T, d] over H lengths where d > 3 and n > 1
        in m: [..] = none
        state S: [n, m] = 0; state h: [n] ~ zeros; state u: complex[]
        param R: [heads: n, n] ~ normal(0.02)
        where n % 2 == 0
        a, S' = f(x)
        aux loss = mean(x)
        tap inner = x
        yield a, S'
    }"""
    scan = tree(text).declarations[0]
    assert isinstance(scan, s.ScanDecl)
    body = scan.body.statements
    kinds = [type(i).__name__ for i in body]
    assert kinds == ["Input"] * 4 + ["State"] * 3 + ["ParamDecl", "Where", "Bind", "Aux", "Tap", "Yield"]
    y, m, first, second = body[2], body[3], body[4], body[5]
    assert isinstance(y, s.Input)
    assert y.shape is not None
    assert (y.lengths, y.over, sketch(y.shape.groups), sketch(y.shape.dims)) == (True, "H", ["heads"], ["T", "d"])
    assert sketch(y.where) == [["d", ">", 3], "and", ["n", ">", 1]]
    assert isinstance(m, s.Input)
    assert isinstance(m.default, s.NoneLit)
    assert isinstance(first, s.State)
    assert isinstance(second, s.State)
    assert (first.learned, second.learned) == (False, True)
    bind = body[9]
    assert isinstance(bind, s.Bind)
    assert [(t.id, t.primed) for t in bind.targets] == [("a", False), ("S", True)]


LINES = {
    "block A { in x: [..] return x + f(x) }": "block A {\n in x: [..]\n return x + f(x)\n}",
    "block A { in x: []; in y: [] state s: [] = 0 yield x }": "block A {\n in x: []\n in y: []\n state s: [] = 0\n yield x\n}",
    "block A { y = loop i in 0..3 { f }; return y }": "block A\n{\n  y = loop i in 0..3 {\n f\n }\n return y\n}",
    "n = 1 + 2": "n =\n 1\n +\n 2",
    "n = 1 - 2": "n = 1\n - 2",
    "block A = f -> g | h": "block A = f ->\n g\n | h",
    "block A = f(a, (b), [c])": "block A = f(\n a,\n (\n b\n ),\n [\n c\n ]\n)",
    "block A = f({ in x; y = x; return y })": "block A = f({\n in x\n y = x\n return y\n})",
    "block A(n) on [.., d] = if n then a else b": "block A(\n n\n)\n on [.., d] = if n\n then a\n else b",
    "expect a and b with c=1, d=2": "expect a\n and b\n with c=1,\n d=2",
    "act f(x) = x backward 1": "act f(x) = x\nbackward 1",
    "block A = loop 3 until x { f }": "block A = loop 3\n until x\n { f }",
    "a = 1; b = 2": ";;a = 1;\n;\n\nb = 2;",
    "block A { x = 1; return x }": "block A {; x = 1;; return x; }",
    "block A { step = 1; on = step; where n > on; return until }": "block A {\n step = 1\n on = step\n where n > on\n return until\n}",
    "n = 12": "\ufeffn = 12\r\n",
    "arch A = f expect causal": "arch A = f\nexpect causal",
}


@pytest.mark.parametrize("short", LINES)
def test_line_ends(short: str) -> None:
    assert same_tree(tree(short), tree(LINES[short]))


def test_contextual_words_are_names_elsewhere() -> None:
    text = """
    block block(block, arch, scan = 1, act = scan, state: module, in_ = 1, step, until, on, over, where, with, backward, lengths) {
        in state: [step], skip, route
        param, aux, tap = split(state, expect, language, pin, as, for)
        repeat = loop + train
        reversible = x.in.if.repeat[0](import)
        where where > 3
        return where(step, on)
    }
    act act(scan) = scan
    scan scan { in train: [d]; yield train }
    expect = 3
    expect expect == expect
    """
    block, act, scan, constant, expect = tree(text).declarations
    assert isinstance(block, s.BlockDecl)
    assert isinstance(constant, s.Constant)
    assert isinstance(expect, s.Expect)
    assert (block.name, act.name, scan.name, constant.name) == ("block", "act", "scan", "expect")  # type: ignore[union-attr]
    assert [type(i).__name__ for i in block.body.statements] == ["Input"] * 3 + ["Bind"] * 3 + ["Where", "Return"]


def test_where_the_function_and_where_the_word() -> None:
    first = tree("block A { where(c, a, b) }").declarations[0]
    second = tree("block A { where (n > 1) and m > 2; return x }").declarations[0]
    assert isinstance(first, s.BlockDecl)
    assert isinstance(second, s.BlockDecl)
    assert isinstance(first.body.expression, s.Call)
    assert isinstance(second.body.statements[0], s.Where)


def test_comments_are_kept_with_their_places() -> None:
    file = tree("# first\nn = 3  # behind\n   # own")
    assert [(c.text, c.own_line) for c in file.comments] == [("# first", True), ("# behind", False), ("# own", True)]
    assert [c.span.text for c in file.comments] == ["# first", "# behind", "# own"]


def test_an_empty_file() -> None:
    for text in ("", "\n\n", "# only a comment\n", ";"):
        assert tree(text).declarations == []


def test_doc_strings_are_clean() -> None:
    file = tree('"""\n\tTabs and \t \r\n\r\n\t  inner.  \n"""\nblock A = f')
    assert file.doc == "Tabs and\n\n  inner."
    assert codes('"""a\x00b"""\nblock A = f') == ["AD0107"]
