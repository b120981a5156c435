"""Named loops whose count may change, pondering, `skip` that replaces and predicts, side values, shared instances of other sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import archdsl
from archdsl.compiler.collect import collect_aux, rounds, set_rounds
from archdsl.diagnostics import ArchError

LOOP = "arch A { in x: [T, 4]; f = linear(4); return x -> think: loop 3 { f } }"


def test_a_named_loop_runs_as_often_as_it_is_told() -> None:
    model = archdsl.parse(LOOP).build()
    x, f = torch.randn(2, 5, 4), model.get_submodule("f")
    assert rounds(model) == {"think": 3}
    assert torch.equal(set_rounds(model, think=1)(x), f(x))
    assert torch.equal(set_rounds(model, think=0)(x), x)
    assert "think" not in "".join(model.state_dict())
    _, state = set_rounds(model, think=2).eval().prefill(x)
    assert torch.allclose(model.step(x[:, :1], state)[0], f(f(x[:, :1])))


def test_a_loop_without_a_name_is_fixed() -> None:
    assert rounds(archdsl.parse(LOOP.replace("think: ", "")).build()) == {}


@pytest.mark.parametrize("counts", [{"thinks": 2}, {"think": -1}, {"think": True}])
def test_wrong_counts_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(ArchError) as caught:
        set_rounds(archdsl.parse(LOOP).build(), **counts)
    assert [d.code for d in caught.value.diagnostics] == ["AD0408"]


def test_halting_begins_with_its_bias_and_costs_only_in_training() -> None:
    text = "arch A { in x: [T, 4] lengths; f = linear(4); return x -> run: loop 3 until halt(threshold=0.9, bias=2, cost=0.1) { f } }"
    model = archdsl.parse(text).build()
    assert float(model.get_parameter("run.halt.bias")) == 2.0
    x = torch.randn(2, 5, 4)
    model.train()(x, lengths=torch.tensor([5, 2]))
    padded = float(collect_aux(model)["run_ponder"])
    wild = x.clone()
    wild[1, 2:] = 100.0
    model(wild, lengths=torch.tensor([5, 2]))
    assert float(collect_aux(model)["run_ponder"]) == pytest.approx(padded)  # padding does not ponder
    plain = archdsl.parse(text.replace("bias=2, cost=0.1", "bias=2"))
    assert "ponder" not in plain.emit()
    with pytest.raises(ArchError):
        archdsl.parse(text.replace("bias=2", "epsilon=2"))


SKIP = "arch A {{ in x: [T, 4] lengths; in s: [T, 1]; f = linear(4); return x -> skip(s, capacity=1/2{}) {{ f }} }}"


def test_skip_may_replace_in_place_of_mixing() -> None:
    x, s = torch.randn(2, 6, 4), torch.randn(2, 6, 1)
    for options, mixes in (("", True), (", gated=false", False)):
        model = archdsl.parse(SKIP.format(options)).build()
        through = model.get_submodule("f")(x)
        wanted = x + torch.sigmoid(s) * (through - x) if mixes else through
        chosen = torch.zeros(2, 6, dtype=torch.bool).scatter(1, s[..., 0].topk(3).indices, True)
        assert torch.allclose(model.train()(x, s), torch.where(chosen[..., None], wanted, x), atol=1e-6)
        assert torch.allclose(model.eval()(x, s), torch.where(s > 0, wanted, x), atol=1e-6)


def test_skip_learns_to_predict_its_choice() -> None:
    model = archdsl.parse(SKIP.format(", predict=0.5")).build()
    x, s = torch.randn(2, 6, 4), torch.randn(2, 6, 1)
    lengths = torch.tensor([6, 4])
    model.train()(x, s, lengths=lengths)
    (loss,) = collect_aux(model).values()
    chosen = torch.zeros(2, 6)
    chosen[0, s[0, :, 0].topk(3).indices] = 1
    chosen[1, s[1, :4, 0].topk(2).indices] = 1
    real = torch.arange(6) < lengths[:, None]
    each = F.binary_cross_entropy_with_logits(s[..., 0], chosen, reduction="none")
    assert float(loss) == pytest.approx(0.5 * float(each[real].mean()), rel=1e-5)
    for wrong in (", predict=true", ", gated=2", ", predict=-1"):
        with pytest.raises(ArchError):
            archdsl.parse(SKIP.format(wrong))


def test_what_only_side_losses_need_is_not_looked_ahead() -> None:
    """A batch statistic carried through layers for a side loss leaves the model causal; carried into the output it does not."""
    text = """arch A {{ in x: [T, 4]
        y, seen = (x, zeros([])) -> repeat 2 {{ in x, seen; return x -> linear(4), seen + balance_loss(x) }}
        aux seen = seen
        return {} }}"""
    assert archdsl.parse(text.format("y")).causality.decodable
    assert not archdsl.parse(text.format("y * seen")).causality.causal


def test_one_instance_for_several_sizes_as_long_as_no_size_is_written_into_it() -> None:
    text = """block B {{ in x: [g, n, d]; return {} }}
        arch A {{ in x: [12, 4]; f = B
            y = x -> rearrange("(g n) d -> g n d", g=4) -> f -> rearrange("g n d -> (g n) d")
            return y -> rearrange("(g n) d -> g n d", g=2) -> f -> rearrange("g n d -> (g n) d") }}"""
    model = archdsl.parse(text.format("x -> linear(4)")).build()
    x = torch.randn(1, 12, 4)
    f = model.get_submodule("f.linear")
    assert torch.allclose(model(x), f(f(x)), atol=1e-6)
    with pytest.raises(ArchError) as caught:
        archdsl.parse(text.format("g * (x -> linear(4))"))
    assert [d.code for d in caught.value.diagnostics] == ["AD0306"]


def test_values_are_never_none_and_branches_name_weights() -> None:
    text = "block B(m = none) { in x: [d]; return if m == none then x else x * m }\narch A { in x: [4]; s = if true then param([4] ~ ones) else buffer([4] ~ ones); return B(m=s)(x) }"
    of = archdsl.parse(text)
    assert list(of.weight_shapes) == ["s"]
    other = archdsl.parse(text.replace("if true", "if false"))
    assert (other.parameters, other.buffers, list(other.weight_shapes)) == (0, 4, ["s"])


def test_initialisers_may_be_chosen_and_take_functions_of_numbers() -> None:
    text = "arch A(wide = true) { in x: [4]; return x -> linear(400, weight ~ (if wide then normal(sqrt(4)) else zeros), bias=false) }"
    assert float(archdsl.parse(text).build().get_parameter("linear.weight").detach().std()) == pytest.approx(2, rel=0.1)
    assert not archdsl.parse(text, wide=False).build().get_parameter("linear.weight").any()


def test_expanded_weights_follow_the_time_axis() -> None:
    text = "arch A { in x: [T, 2, 4]; p = param([1, 2, 4] ~ normal(1.0)); return concat(expand(p, [T, 2, 4]), x, axis=1) }"
    of = archdsl.parse(text)
    model = of.build().eval()
    x = torch.randn(2, 5, 2, 4)
    out, state = model.prefill(x[:, :3])
    rest, _ = model.step(x[:, 3:], state)
    assert torch.equal(torch.cat([out, rest], 1), model(x))
