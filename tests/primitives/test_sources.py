from __future__ import annotations

import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from archdsl.graph.ir import Axis, Init
from archdsl.graph.sizes import symbol
from archdsl.primitives.initialisers import TABLE, plain
from archdsl.primitives.support.random import initialise
from tests.primitives.helpers import refused, value
from tests.primitives.made import Clock, Made, close


def with_init(shape, init):
    return SimpleNamespace(shape=shape, init=init)


def filled(init, *shape, seed=0, path="w", dtype=torch.float32):
    tensor = torch.empty(shape, dtype=dtype)
    initialise(tensor, plain(init), seed, path)
    return tensor


# ---- sources ----


def test_param_and_buffer():
    made = Made("param", shape=with_init([4, 2], Init("ones")))
    assert made().tolist() == [[1.0, 1.0]] * 4
    assert made.node.instance.weights[""].trainable
    assert not made.node.outputs[0].type.batched
    buffer = Made("buffer", shape=[3])
    assert not buffer.node.instance.weights[""].trainable
    assert buffer().shape == (3,)
    assert refused("param", shape=["T"]).code == "AD0261"
    assert refused("param", shape=[symbol("T")]).code == "AD0305"
    assert refused("param", shape=with_init([3], Init("eye"))).code == "AD0263"


def test_constants():
    assert Made("zeros", shape=["x", 3][1:])().tolist() == [0.0] * 3
    assert Made("ones", shape=[symbol("T"), 2])(sizes={"T": 3}).tolist() == [[1.0, 1.0]] * 3
    full = Made("full", shape=[], value=2)()
    assert full.shape == ()
    assert full.dtype == torch.float64
    assert full == 2
    assert Made("eye", n=3)().tolist() == torch.eye(3).tolist()


def test_arange_follows_the_clock():
    axis = Axis(symbol("T"))
    made = Made("arange", n=axis)
    assert made.node.outputs[0].type.axes[0] is axis
    assert made(sizes={"T": 3}).tolist() == [0, 1, 2]
    clock = Clock()
    clock.start = 5
    assert made(sizes={"T": 3}, clock=clock, time=axis).tolist() == [5, 6, 7]
    assert made(sizes={"T": 3}, clock=clock).tolist() == [0, 1, 2]
    assert refused("arange", n=1.5).code == "AD0261"


def test_random_draws_anew_for_each_sample():
    torch.manual_seed(0)
    made = Made("random", shape=with_init([5000], TABLE["uniform"](2, 4)))
    a, b = made(batch=3), made(batch=3)
    assert a.shape == (3, 5000)
    assert not torch.equal(a, b)
    assert not torch.equal(a[0], a[1])
    assert float(a.mean()) == pytest.approx(3, abs=0.05)
    assert made.node.outputs[0].type.batched
    assert Made("random", shape=[4], shared=True)().shape == (4,)
    for init in (TABLE["normal"](2, 1), TABLE["loguniform"](0.1, 1), TABLE["truncated_normal"](0.5)):
        assert torch.isfinite(Made("random", shape=with_init([9], init))(batch=2)).all()
    assert refused("random", shape=with_init([5], Init("eye"))).code == "AD0263"


# ---- dropout ----


def test_dropout():
    x = torch.ones(50, 40, 30, dtype=torch.float64)
    made = Made("dropout", value(40, 30), p=0.25)
    made.module.training = False
    assert made(x) is x or torch.equal(made(x), x)
    made.module.training = True
    out = made(x)
    assert float((out == 0).double().mean()) == pytest.approx(0.25, abs=0.01)
    assert set(out.unique().tolist()) == {0.0, 1 / 0.75}


@pytest.mark.parametrize(("axis", "same"), [(0, [2]), (1, [1]), ([0, 1], [])])
def test_dropout_of_slices(axis, same):
    made = Made("dropout", value(40, 30), p=0.5, axis=axis)
    out = made(torch.ones(50, 40, 30, dtype=torch.float64))
    for dim in range(3):
        constant = bool((out == out.narrow(dim, 0, 1)).all())
        assert constant == (dim in same)
    assert float(out.mean()) == pytest.approx(1, abs=0.1)


def test_droppath_drops_samples():
    made = Made("droppath", value(4, 3), p=0.5)
    out = made(torch.ones(400, 4, 3, dtype=torch.float64))
    assert bool((out == out[:, :1, :1]).all())
    assert float(out.mean()) == pytest.approx(1, abs=0.15)
    made.module.training = False
    assert bool((made(torch.ones(4, 4, 3)) == 1).all())
    assert refused("droppath", value(4), p=1.0).code == "AD0261"
    assert refused("dropout", value(4), p=-0.1).code == "AD0261"


# ---- initialisers ----


def test_distributions_have_their_moments():
    n, m = 400, 300
    cases = {
        "zeros": (TABLE["zeros"](), 0, 0),
        "ones": (TABLE["ones"](), 1, 0),
        "constant": (TABLE["constant"](3), 3, 0),
        "normal": (TABLE["normal"](0.5, 2), 2, 0.5),
        "uniform": (TABLE["uniform"](-1, 3), 1, 4 / 12**0.5),
        "xavier_uniform": (TABLE["xavier_uniform"](), 0, (2 / (n + m)) ** 0.5),
        "xavier_normal": (TABLE["xavier_normal"](2), 0, 2 * (2 / (n + m)) ** 0.5),
        "kaiming_uniform": (TABLE["kaiming_uniform"](5**0.5), 0, (1 / 3 / m) ** 0.5),
        "kaiming_normal": (TABLE["kaiming_normal"](), 0, (2 / m) ** 0.5),
        "loguniform": (TABLE["log"](TABLE["loguniform"](0.01, 1)), math.log(0.1), math.log(100) / 12**0.5),
    }
    for name, (init, mean, std) in cases.items():
        drawn = filled(init, n, m)
        assert float(drawn.mean()) == pytest.approx(mean, abs=0.02), name
        assert float(drawn.std()) == pytest.approx(std, rel=0.02, abs=1e-6), name
    cut = filled(TABLE["truncated_normal"](0.5), n, m)
    assert float(cut.abs().max()) <= 1.0
    assert float(cut.std()) == pytest.approx(0.5 * 0.8796, rel=0.02)


def test_exact_initialisers():
    assert filled(TABLE["arange"](1, 2), 2, 3).tolist() == [[1, 3, 5]] * 2
    assert filled(TABLE["eye"](), 2, 3, 3)[1].tolist() == torch.eye(3).tolist()
    assert filled(TABLE["values"]([1, 2, 3]), 2, 3).tolist() == [[1, 2, 3]] * 2
    assert filled(TABLE["values"]([[1, 2], [3, 4]]), 2, 2).tolist() == [[1, 2], [3, 4]]
    q = filled(TABLE["orthogonal"](), 6, 4)
    close(q.T @ q, torch.eye(4), 1e-5)
    dt = filled(TABLE["inv_softplus"](TABLE["loguniform"](1e-3, 0.1)), 1000)
    back = torch.nn.functional.softplus(dt)
    assert float(back.min()) >= 0.99e-3
    assert float(back.max()) <= 0.101
    close(filled(TABLE["neg"](TABLE["exp"](TABLE["constant"](1))), 3), torch.full((3,), -math.e), 1e-6)
    assert filled(TABLE["values"]([0.1, 0.7]), 2, dtype=torch.float64).tolist() == [0.1, 0.7]  # not what float32 holds of them
    assert filled(TABLE["log"](TABLE["arange"](3, 1)), 1, dtype=torch.float64).tolist() == [pytest.approx(math.log(3), rel=1e-15)]
    assert filled(TABLE["zeros"](), dtype=torch.int64) == 0
    assert filled(TABLE["normal"](1), 4, dtype=torch.complex64).imag.abs().sum() > 0


def test_weights_are_bit_equal_across_processes_and_independent():
    a = filled(TABLE["normal"](1), 50, 7, path="a.b")
    assert torch.equal(a, filled(TABLE["normal"](1), 50, 7, path="a.b"))
    assert not torch.equal(a, filled(TABLE["normal"](1), 50, 7, path="a.c"))
    assert not torch.equal(a, filled(TABLE["normal"](1), 50, 7, path="a.b", seed=1))
    close(filled(TABLE["normal"](1), 50, 7, path="a.b", dtype=torch.float64).float(), a, 0)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    filled(TABLE["normal"](1), 5)
    assert torch.equal(state, torch.get_rng_state())
    script = (
        "import torch; from archdsl.primitives.support.random import initialise; torch.randn(9); t = torch.empty(50, 7);"
        "initialise(t, ('normal', 1.0, 0.0), 0, 'a.b'); print(t.double().sum().item().hex(), t[3, 4].item().hex())"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert printed == [a.double().sum().item().hex(), a[3, 4].item().hex()]


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("normal", (-1,)),
        ("uniform", (2, 1)),
        ("loguniform", (0, 1)),
        ("values", ([],)),
        ("constant", ("a",)),
        ("constant", (float("inf"),)),
        ("truncated_normal", (0,)),
        ("normal", (True,)),
        ("log", (Init("zeros"),)),
        ("inv_softplus", (Init("normal", (1.0, 0.0)),)),
        ("sqrt", (Init("uniform", (-1.0, 1.0)),)),
    ],
)
def test_refused_initialisers(name, args):
    with pytest.raises(ValueError, match=r"\w"):
        TABLE[name](*args)


def test_initialisers_and_primitives_load_without_torch():
    script = "import sys, archdsl.primitives, archdsl.primitives.initialisers; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "False"
