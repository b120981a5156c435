"""The formatter: a fixed point, the same tree, every comment kept, and the form it gives."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from archdsl.diagnostics import ArchError, Source, Span
from archdsl.language import format_text, parse, parse_expression, same_tree, unparse
from archdsl.language import syntax as s
from archdsl.language.pretty import WIDTH
from tests.language.generate_specs import Spec
from tests.language.helpers import EXAMPLES, expression, tree


def fmt(text: str) -> str:
    return format_text(Source("t.arch", text))


def check(text: str) -> None:
    once = fmt(text)
    assert fmt(once) == once
    before = tree(text)
    assert same_tree(before, tree(once))
    assert sorted(re.findall(r"# note \d+", once)) == sorted(re.findall(r"# note \d+", text))
    assert all(line == line.rstrip() for line in once.splitlines())
    printed = unparse(before)
    assert same_tree(before, tree(printed))
    assert unparse(tree(printed)) == printed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_examples(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    check(text)
    formatted = fmt(text)
    assert [note for note in re.findall(r"#[^\n]*\S", text) if note not in formatted] == []
    without_docs = re.sub(r'''""".*?"""''', "", formatted, flags=re.DOTALL)
    code = [re.sub(r"\s*#.*", "", line) for line in without_docs.splitlines()]
    assert [line for line in code if len(line) > WIDTH and '"' not in line] == []


@pytest.mark.parametrize("start", range(0, 500, 50))
def test_random_files(start: int) -> None:
    for seed in range(start, start + 50):
        check(Spec(seed).text)


FORMS = {
    "block A(n=1,m : int){\n in x:[d]\n return x+f( n )*2\n}": "block A(n = 1, m: int) {\n    in x: [d]\n    return x + f(n) * 2\n}\n",
    "block R(f:module){in x:[..] return x+f(x)}": "block R(f: module) { in x: [..] return x + f(x) }\n",
    "block R {in x,h;return x+h}": "block R { in x, h; return x + h }\n",
    "block A { f -> g }": "block A = f -> g\n",
    "n = ((1 + 2)) * (3 * 4) - (5)": "n = (1 + 2) * (3 * 4) - 5\n",
    "n = (a -> b) -> (c | d) -> (if a then b else c)": "n = (a -> b) -> c | d -> (if a then b else c)\n",
    "n = 100_000+1e-3": "n = 100_000 + 1e-3\n",
    "n = - 1 ** - 2": "n = -1 ** -2\n",
    "n=1\n\n\n\nm=2\nk=3": "n = 1\n\nm = 2\nk = 3\n",
    "n = 1 # why\n# own\nm = 2": "n = 1  # why\n# own\nm = 2\n",
    "scan s {\n in q: [n];in k: [n]\n state S:[n]=0\n yield q\n}": (
        "scan s {\n    in q: [n]; in k: [n]\n    state S: [n] = 0\n    yield q\n}\n"
    ),
    "n = x\n -> f -> g\n -> h": "n = x\n    -> f -> g\n    -> h\n",
    "act f(x)=x backward 1": "act f(x) = x backward 1\n",
    "act f(x)=x\nbackward 1": "act f(x) = x\n    backward 1\n",
    "act e(a=1)(x;b:[axis]=2,c=3)=x": "act e(a = 1)(x; b: [axis] = 2, c = 3) = x\n",
    "block A { # head\n in x: [d]\n\n # why\n return x # that\n # end\n}": (
        "block A {  # head\n    in x: [d]\n\n    # why\n    return x  # that\n    # end\n}\n"
    ),
    "n = f(a, # one\n b)": "n = f(\n    a,  # one\n    b\n)\n",
    "n = if a then b\nelse if c then d\nelse e": "n = if a then b\n    else if c then d\n    else e\n",
    '"""Doc."""\nblock A {"""Inner."""\nf}': '"""Doc."""\n"""Inner."""\nblock A = f\n',
    '"""\n    Doc.\n      More.\n"""': '"""\nDoc.\n  More.\n"""\n',
    "expect a<1 with b=2": "expect a < 1 with b=2\n",
    "block A { y = loop i in 0..3 until halt( ) step 1/3 { f } ; return y }": (
        "block A { y = loop i in 0..3 until halt() step 1 / 3 { f }; return y }\n"
    ),
    "": "",
    "# only": "# only\n",
}


@pytest.mark.parametrize("text", FORMS)
def test_form(text: str) -> None:
    assert fmt(text) == FORMS[text]
    check(text)


def test_long_lines_are_broken() -> None:
    stages = " -> ".join(f"layer_{i}(width=64)" for i in range(8))
    assert fmt(f"block A = {stages}") == "block A = " + "\n    -> ".join(stages.split(" -> ")) + "\n"
    arguments = ", ".join(f"argument_{i}=1" for i in range(10))
    broken = "n = f(\n    " + ",\n    ".join(arguments.split(", ")) + "\n)\n"
    assert fmt(f"n = f({arguments})") == broken


def test_does_not_format_what_does_not_parse() -> None:
    with pytest.raises(ArchError):
        fmt("block A = f(")


def test_built_trees_print() -> None:
    """A program's nodes have no useful spans, and numbers no spelling."""
    at = Span(Source("built", ""), 0, 0)
    name, number = (lambda n: s.Name(at, n)), (lambda v: s.Number(at, v))
    tree = s.Binary(at, "*", s.Binary(at, "+", name("a"), number(-2)), s.Unary(at, "-", number(100_000)))
    assert unparse(tree) == "(a + -2) * -100_000"
    assert unparse(s.Binary(at, "**", number(-2), number(0.5))) == "(-2) ** 0.5"
    body = s.Body(at, [s.Input(at, "x", at, None, False, None), s.Return(at, [name("x")])])
    assert unparse(s.Lambda(at, body)) == "{ in x; return x }"
    assert unparse(s.Repeat(at, None, s.Lambda(at, s.Body(at, [], name("n"))), body)) == "repeat ({ n }) { in x; return x }"
    block = s.BlockDecl(at, "B", at, [s.Parameter(at, "n", None, None, number(3))], None, body, False, doc="What it does.")
    text = unparse(s.File(at, None, 1, [s.Import(at, "std/x.arch", at, None)], [block, s.Expect(at, name("causal"), [])], []))
    assert text == ('language 1\nimport "std/x.arch"\n\n"""What it does."""\nblock B(n = 3) { in x; return x }\nexpect causal\n')
    alone = s.File(at, None, None, [], [block], [])
    assert same_tree(parse(Source("t", unparse(alone))), alone)


AT = Span(Source("built", ""), 0, 0)
READS_DIFFERENTLY = [
    s.If(AT, s.Name(AT, "a"), s.Train(AT, s.Body(AT, [], s.Name(AT, "b")), None), s.Name(AT, "c")),
    s.Loop(AT, None, s.Name(AT, "train"), None, None, s.Body(AT, [], s.Name(AT, "f"))),
    s.Loop(AT, None, s.Call(AT, s.Name(AT, "skip"), []), None, None, s.Body(AT, [], s.Name(AT, "f"))),
    s.Call(AT, s.Name(AT, "repeat"), [s.Argument(AT, None, s.Name(AT, "x"))]),
    s.Lambda(AT, s.Body(AT, [], s.Binary(AT, "-", s.Name(AT, "where"), s.Name(AT, "x")))),
    s.Pipe(AT, [s.Name(AT, "a"), s.Pipe(AT, [s.Name(AT, "b"), s.Name(AT, "c")])]),
    s.Comprehension(AT, s.Name(AT, "a"), "i", s.Lambda(AT, s.Body(AT, [], s.Name(AT, "b"))), None),
    s.Binary(AT, "**", s.Binary(AT, "**", s.Name(AT, "a"), s.Name(AT, "b")), s.Name(AT, "c")),
    s.Binary(AT, "-", s.Name(AT, "a"), s.Binary(AT, "-", s.Name(AT, "b"), s.Name(AT, "c"))),
    s.Binary(AT, "<", s.Binary(AT, "<", s.Name(AT, "a"), s.Name(AT, "b")), s.Name(AT, "c")),
]


@pytest.mark.parametrize("node", READS_DIFFERENTLY, ids=lambda n: type(n).__name__)
def test_parentheses_where_the_tree_would_read_differently(node: s.Expr) -> None:
    assert same_tree(parse_expression(Source("t", unparse(node))), node)


def test_same_tree_tells_trees_apart() -> None:
    assert same_tree(expression("1_000 + x"), expression("1000+x"))
    for one, two in [("1", "1.0"), ("a", "a'"), ("a + b", "a - b"), ("f(a)", "f(a=a)"), ("[a]", "(a,)"), ("0..1", "0..=1"), ("1", "true")]:
        assert not same_tree(expression(one), expression(two))
