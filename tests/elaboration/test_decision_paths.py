"""Where decisions stand: each by the path of the body it is made in, in order of expansion, and settable by that path."""

import pytest

from archdsl import api

HEAD = "block Op(d) = linear(d) | (linear(2 * d) -> linear(d))\n"


def chosen(text, **made):
    spec = api.parse(text, decisions={k.replace("__", "/"): v for k, v in made.items()})
    return {path: d.chosen for path, d in spec.decisions}, spec.parameters


def test_a_module_bound_outside_decides_where_it_is_bound():
    text = HEAD + "arch A { in x: [8]; f = Op(8); return x -> repeat 2 { f -> relu } }\n"
    assert chosen(text) == ({"f/choice": 0}, 72)
    assert chosen(text, f__choice=1) == ({"f/choice": 1}, 144 + 136)


def test_a_choice_in_a_constant_decides_at_each_use():
    text = "F = linear(8) | linear(8, bias=false)\narch A { in x: [8]; return x -> F -> F }\n"
    assert chosen(text) == ({"choice": 0, "choice_2": 0}, 144)
    assert chosen(text, choice_2=1) == ({"choice": 0, "choice_2": 1}, 136)
    assert chosen(text) == ({"choice": 0, "choice_2": 0}, 144)


def test_an_activation_decides_over_its_domain():
    text = "act power(k in {2, 3} = 2)(x) = x ** k\narch A { in x: [8]; return x -> power }\n"
    spec = api.parse(text)
    [(path, decision)] = spec.decisions
    assert (path, decision.options) == ("k", ("2", "3"))
    assert api.parse(text, decisions={"k": 1}).structure_hash != spec.structure_hash


@pytest.mark.parametrize("first", ["Op(8) -> (relu | tanh)", "(linear(8) | linear(8)) -> Op(8)"])
def test_decisions_are_listed_in_order_of_expansion(first):
    text = HEAD + f"arch A {{ in x: [8]; return x -> {first} }}\n"
    paths = [path for path, _ in api.parse(text).decisions]
    assert paths == (["Op/choice", "choice"] if first.startswith("Op") else ["choice", "Op/choice"])
