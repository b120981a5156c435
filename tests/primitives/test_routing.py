import math

import pytest
import torch

from archdsl.primitives import TABLE
from tests.primitives.helpers import check, refused, run, value

E = 4


def test_even_and_uneven_routing():
    even = torch.eye(E, dtype=torch.float64).repeat(5, 1) * 1e-9
    assert run(check("balance_loss", value(E)), even).item() == pytest.approx(1)
    one = torch.zeros(20, E, dtype=torch.float64)
    one[:, 0] = 50
    assert run(check("balance_loss", value(E)), one).item() == pytest.approx(E)


def test_relu_router():
    gates = torch.eye(E, dtype=torch.float64).repeat(5, 1) - 0.5
    share, gate = 1 / E, 0.5 / E  # each expert is active for one position in E, with gate 1/2
    assert run(check("balance_loss", value(E), router="relu"), gates).item() == pytest.approx(E * E * share * gate)


def test_gradient_falls_on_the_crowded_expert():
    logits = torch.zeros(2, 6, E, requires_grad=True)
    with torch.no_grad():
        logits[..., 1] = 2.0
    loss = run(check("balance_loss", value(6, E), k=2), logits)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[..., 1] > 0).all()


def test_z_loss():
    assert run(check("z_loss", value(7, E)), torch.zeros(3, 7, E)).item() == pytest.approx(math.log(E) ** 2)


def test_rules():
    node = check("balance_loss", value("T", E), k=2)
    assert str(node.outputs[0].type) == "[]"
    assert not node.outputs[0].type.batched
    assert "all positions" in TABLE["balance_loss"].time(node, 0, -2).ahead
    assert refused("balance_loss", value(7, E), k=9).code == "AD0316"
    assert refused("balance_loss", value(7, E), router="x").code == "AD0316"
    assert refused("z_loss", value(7, E, kind="int")).code == "AD0314"
