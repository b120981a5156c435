import math

import pytest
import torch

from archdsl.graph.functions import FUNCTIONS
from archdsl.graph.ir import Axis
from archdsl.graph.sizes import floordiv, symbol
from tests.primitives.helpers import assumed, check, matches, refused, run, value, written

torch.manual_seed(2)


def apply(function, *values, scalars=None):
    return check("pointwise", *values, function=function, scalars=scalars)


SHAPES = [
    ((4, 3), True, (4, 3), True),
    ((4, 3), True, (1, 3), True),
    ((4, 1), True, (1, 3), True),
    ((4, 3), True, (3,), False),
    ((4, 3), True, (), True),
    ((), True, (4, 3), False),
    ((), True, (4, 3), True),
    ((4, 3), True, (), False),
    ((4, 3), False, (4, 3), True),
    ((4, 3), False, (3,), False),
    ((), True, (), True),
]


@pytest.mark.parametrize("lead", [(), (2,), (4,), (2, 3)])
@pytest.mark.parametrize(("a", "left", "b", "right"), SHAPES)
def test_shapes_combine_under_a_batch(a, left, b, right, lead):
    """Every entry of the batch is combined on its own, also where a batch of scalars meets an equally long axis."""
    for swap in (False, True):
        first, second = ((b, right), (a, left)) if swap else ((a, left), (b, right))
        node = apply("sub", value(*first[0], batched=first[1]), value(*second[0], batched=second[1]))
        x = torch.randn((*(lead if first[1] else ()), *first[0]), dtype=torch.float64)
        y = torch.randn((*(lead if second[1] else ()), *second[0]), dtype=torch.float64)
        result = run(node, x, y)
        matches(node, result, len(lead))
        if not (left or right):
            assert torch.equal(result, x - y)
            continue
        flat_x = x.reshape(-1, *first[0]) if first[1] else x.expand(math.prod(lead), *first[0])
        flat_y = y.reshape(-1, *second[0]) if second[1] else y.expand(math.prod(lead), *second[0])
        expected = torch.stack([p - q for p, q in zip(flat_x, flat_y)])
        assert torch.equal(result.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((4, 3), (4, 2), "axis 1 is 3 on one side and 2"),
        (("T", 3), ("S", 3), "axis 0 is T on one side and S"),
        ((4, 3), (3,), "2 axes on one side, 1"),
        ((4, 3), (4,), 'rearrange("a -> a 1")'),
        ((3, 4, 5), (4, 5), 'rearrange("a b -> 1 a b")'),
    ],
)
def test_shapes_that_do_not_combine(a, b, words):
    found = refused("pointwise", value(*a), value(*b), function="add")
    assert found.code == "AD0310"
    assert str(value(*a).type) in found.title
    assert str(value(*b).type) in found.title
    assert words in " ".join((found.label, found.hint))


def test_open_equation_is_assumed():
    apply("add", value("T", 3), value(2 * floordiv(symbol("T"), 2), 3))
    assert assumed() == ["T == 2*floor(T/2)"]


def test_identity_comes_from_the_side_that_is_not_stretched():
    t, d, other = Axis(symbol("T")), Axis(3), Axis(3)
    node = apply("mul", value(1, other, batched=False), value(t, d))
    assert [a.identity for a in node.outputs[0].type.axes] == [t.identity, d.identity]
    node = apply("mul", value(other, batched=False), value(t, d))
    assert node.outputs[0].type.axes == (t, d)


@pytest.mark.parametrize(
    ("function", "kinds", "scalars", "expected"),
    [
        ("add", ["int", "float"], {}, "float"),
        ("add", ["int"], {1: 1}, "int"),
        ("add", ["int"], {1: 0.5}, "float"),
        ("div", ["int", "int"], {}, "float"),
        ("floordiv", ["int"], {1: 2}, "int"),
        ("floordiv", ["float"], {1: 2}, "float"),
        ("gt", ["float"], {1: 0}, "bool"),
        ("and_", ["bool", "bool"], {}, "bool"),
        ("sub", ["bool"], {0: 1}, "int"),
        ("add", ["bool", "bool"], {}, "int"),
        ("mul", ["bool", "bool"], {}, "int"),
        ("mul", ["bool", "float"], {}, "float"),
        ("exp", ["int"], {}, "float"),
        ("exp", ["bool"], {}, "float"),
        ("exp", ["complex"], {}, "complex"),
        ("abs", ["complex"], {}, "float"),
        ("abs", ["int"], {}, "int"),
        ("real", ["complex"], {}, "float"),
        ("complex", ["float", "float"], {}, "complex"),
        ("complex", ["float"], {0: 0.0}, "complex"),
        ("complex", ["float"], {1: 2.0}, "complex"),
        ("add", ["complex", "float"], {}, "complex"),
        ("where", ["bool", "int", "float"], {}, "float"),
        ("where", ["bool"], {1: 1, 2: 0}, "int"),
        ("where", ["bool"], {1: 1.0, 2: 0.0}, "float"),
        ("max", ["float"], {1: 0}, "float"),
        ("max", ["float", "float"], {}, "float"),
        ("min", ["int"], {0: 3}, "int"),
        ("mod", ["int"], {1: 3}, "int"),
        ("mod", ["int"], {0: 7}, "int"),
        ("pow", ["float"], {0: 2}, "float"),
        ("pow", ["float"], {1: -1}, "float"),
        ("pow", ["int"], {1: 2}, "int"),
        ("pow", ["int"], {1: -2}, "float"),
        ("pow", ["int"], {0: 2}, "float"),
        ("pow", ["int", "int"], {}, "float"),
        ("neg", ["bool"], {}, "int"),
        ("not_", ["bool"], {}, "bool"),
        ("or_", ["bool"], {1: True}, "bool"),
    ],
)
def test_kinds(function, kinds, scalars, expected):
    make = {
        "float": lambda: torch.rand(2, 4, dtype=torch.float64) + 0.5,
        "int": lambda: torch.randint(1, 9, (2, 4)),
        "bool": lambda: torch.tensor([[True, False, True, True], [False, False, True, False]]),
        "complex": lambda: torch.randn(2, 4, dtype=torch.complex128),
    }
    node = apply(function, *(value(4, kind=k) for k in kinds), scalars=scalars)
    assert node.outputs[0].type.kind == expected
    tensors = [make[k]() for k in kinds]
    result = run(node, *tensors)
    matches(node, result)
    if (function, kinds) == ("exp", ["complex"]):  # the table's own values are real
        assert torch.equal(result, tensors[0].exp())
        return
    given = iter(tensors)
    operands = [torch.full((2, 4), scalars[i]) if i in scalars else next(given) for i in range(FUNCTIONS[function].arity)]
    for place in [(0, 0), (1, 3)]:
        expected_entry = FUNCTIONS[function].value(*(o[place].item() for o in operands))
        assert complex(result[place].item()) == pytest.approx(complex(expected_entry))


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - {"digamma"}))
def test_every_function_agrees_with_the_table(function):
    row = FUNCTIONS[function]
    bools = {"bool": row.arity, "where": 1}.get(row.takes, 0)
    complexes = function in ("real", "imag", "conj", "angle")
    kinds = ["bool" if i < bools else "complex" if complexes else "float" for i in range(row.arity)]
    node = apply(function, *(value(5, kind=k) for k in kinds))
    sources = {"bool": lambda: torch.rand(3, 5) > 0.5, "complex": lambda: torch.randn(3, 5, dtype=torch.complex128)}
    tensors = [sources.get(k, lambda: torch.rand(3, 5, dtype=torch.float64) + 0.1)() for k in kinds]
    result = run(node, *tensors)
    matches(node, result)
    for i in range(3):
        expected = row.value(*(t[i, i].item() for t in tensors))
        assert complex(result[i, i].item()) == pytest.approx(complex(expected), rel=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("function", "arity", "scalars", "args", "text"),
    [
        ("add", 2, {}, ["x", "y"], "x + y"),
        ("mul", 1, {1: 2}, ["x"], "x * 2"),
        ("mul", 2, {}, ["x + y", "z"], "(x + y) * z"),
        ("add", 2, {}, ["x + y", "z"], "x + y + z"),
        ("sub", 2, {}, ["x", "y - z"], "x - (y - z)"),
        ("div", 2, {}, ["x * y", "y * z"], "x * y / (y * z)"),
        ("pow", 1, {1: 2}, ["-x"], "(-x) ** 2"),
        ("pow", 1, {1: -2}, ["x"], "x ** -2"),
        ("pow", 1, {0: 2}, ["x + 1"], "2 ** (x + 1)"),
        ("neg", 1, {}, ["x + y"], "-(x + y)"),
        ("neg", 1, {}, ["-x"], "-(-x)"),
        ("sub", 1, {0: 1}, ["z"], "1 - z"),
        ("add", 1, {1: -1.5}, ["z"], "z + -1.5"),
        ("gt", 1, {1: 0}, ["x + y"], "x + y > 0"),
        ("exp", 1, {}, ["x + y"], "torch.exp(x + y)"),
        ("max", 1, {1: 0}, ["x - y"], "(x - y).clamp(min=0)"),
        ("min", 1, {0: 6}, ["x"], "x.clamp(max=6)"),
        ("where", 3, {}, ["c", "a", "b"], "torch.where(c, a, b)"),
        ("add", 1, {1: math.inf}, ["x"], 'x + float("inf")'),
        ("floordiv", 1, {1: 2}, ["x + y"], "torch.floor((x + y) / 2)"),
        ("div", 1, {1: symbol("T")}, ["x"], "x / 7"),
        ("div", 1, {1: symbol("T") + 1}, ["x"], "x / (7 + 1)"),
    ],
)
def test_text(function, arity, scalars, args, text):
    from tests.primitives.helpers import FakeEmitter

    kinds = ["bool", "float", "float"] if function == "where" else ["float"] * arity
    node = apply(function, *(value(4, kind=k) for k in kinds), scalars=scalars)
    assert written(node, *args, emitter=FakeEmitter({"T": 7})) == text


def test_refuses_kinds():
    assert refused("pointwise", value(4), value(4), function="and_").code == "AD0314"
    assert refused("pointwise", value(4), value(4), value(4), function="where").code == "AD0314"
    assert refused("pointwise", value(4, kind="complex"), value(4), function="lt").code == "AD0314"
