"""The class of every standard recurrence, and the pieces its forms are made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archdsl.graph.expressions import const, var
from archdsl.recurrence.check import checked
from archdsl.recurrence.classes import Classified, DeltaGroup, Group, Kind, NonlinearGroup, Obstacle
from archdsl.recurrence.classify import classify
from archdsl.recurrence.infix import infix
from tests.recurrence.specs import STANDARD, one, standard, step_of

CLASSES = {
    "linear_attention": "matrix",
    "normalised_linear_attention": "matrix",
    "retention": "matrix",
    "ssd": "matrix",
    "gated_linear": "matrix",
    "hgrn2": "matrix",
    "wkv6(2)": "matrix",
    "delta_rule": "delta",
    "gated_delta_rule": "delta",
    "channel_gated_delta_rule": "delta",
    "wkv7": "delta",
    "mlstm": "matrix",
    "selective(3)": "diagonal",
    "lssl(4)": "constant diagonal",
    "rg_lru": "diagonal",
    "mega_ema(4)": "constant diagonal",
    "ema": "constant diagonal",
    "min_gru(6)": "diagonal",
    "min_lstm(6)": "diagonal",
    "qrnn_pool": "diagonal",
    "softmax_stream": "softmax",
    "aaren": "softmax",
    "wkv4": "softmax",
    "max_plus": "tropical",
    "elman(6)": "nonlinear",
    "jordan(6, 4)": "nonlinear",
    "lstm_1997(6)": "nonlinear",
    "lstm(6)": "nonlinear",
    "lstm_peephole(6)": "nonlinear",
    "gru(6)": "nonlinear",
    "gru_reset_before(6)": "nonlinear",
    "mgu(6)": "nonlinear",
    "indrnn(6)": "elementwise nonlinear",
    "sru": "elementwise nonlinear",
    "elstm(6)": "elementwise nonlinear",
    "para_gru(6)": "elementwise nonlinear",
    "para_lstm(6)": "block nonlinear",
}


@pytest.fixture(scope="module")
def found() -> dict[str, Classified]:
    return {call: classify(standard(call)) for call in STANDARD}


@pytest.mark.parametrize("call", STANDARD)
def test_class(found: dict[str, Classified], call: str) -> None:
    assert str(found[call].kind) == CLASSES[call]
    assert found[call].notes == ()


def only(found: Classified) -> Group:
    (group,) = found.groups
    return group


def shown(*values) -> list[str | None]:
    return [None if v is None else infix(v) for v in values]


# ---- pieces ---------------------------------------------------------------------------------------------------------------------------

DECAYS = {  # along, value, logarithm, constant, sign
    "linear_attention": ("none", "1", "0", True, "unit"),
    "retention": ("scalar", "exp(g)", "g", False, "positive"),
    "ssd": ("scalar", "exp(g)", "g", False, "positive"),
    "gated_linear": ("row", "exp(g[i])", "g[i]", False, "positive"),
    "hgrn2": ("row", "f[i]", None, False, "any"),
    "wkv6(2)": ("row", "w[i]", None, False, "any"),
    "delta_rule": ("none", "1", "0", True, "unit"),
    "gated_delta_rule": ("scalar", "exp(g)", "g", False, "positive"),
    "channel_gated_delta_rule": ("row", "exp(g[i])", "g[i]", False, "positive"),
    "wkv7": ("row", "w[i]", None, False, "any"),
    "selective(3)": ("entry", "exp(-dt[i] * exp(A_log[i,j]))", "-dt[i] * exp(A_log[i,j])", False, "positive"),
    "mega_ema(4)": ("entry", "1 - sigmoid(alpha[i,j]) * sigmoid(delta[i,j])", None, True, "unit"),
    "ema": ("scalar", "0.9", "-0.105361", True, "unit"),
    "min_gru(6)": ("entry", "1 - sigmoid(x[i])", "logsigmoid(-x[i])", False, "unit"),
    "qrnn_pool": ("entry", "f[i]", None, False, "any"),
    "rg_lru": (
        "entry",
        "exp(-8 * softplus(decay[i]) * sigmoid(r[i]))",
        "-8 * softplus(decay[i]) * sigmoid(r[i])",
        False,
        "unit",
    ),
}


@pytest.mark.parametrize("call", DECAYS)
def test_decay(found: dict[str, Classified], call: str) -> None:
    decay = found[call].groups[0].decay
    assert decay is not None
    value, log = shown(decay.value, decay.log)
    assert (decay.along, value, log, decay.constant, decay.sign) == DECAYS[call]


OUTERS = {
    "linear_attention": [("1", "k[i]", "v[j]")],
    "ssd": [("dt", "B[i]", "x[j]")],
    "hgrn2": [("1", "1 - f[i]", "v[j]")],
    "delta_rule": [("beta", "k[i]", "v[j]")],
    "gated_delta_rule": [("beta", "k[i]", "v[j]")],
    "wkv7": [("1", "k[i]", "v[j]")],
    "selective(3)": [("1", "dt[i] * u[i]", "B[j]")],
}


@pytest.mark.parametrize("call", OUTERS)
def test_outer_products(found: dict[str, Classified], call: str) -> None:
    assert [tuple(shown(o.scale, o.left, o.right)) for o in only(found[call]).outers] == OUTERS[call]


REMOVALS = {
    "delta_rule": ("beta", "k[i]", "k[i]", False),
    "gated_delta_rule": ("beta", "k[i]", "k[i]", True),
    "channel_gated_delta_rule": ("beta", "k[i]", "k[i]", True),
    "wkv7": ("-1", "b[i]", "a[i]", False),
}


@pytest.mark.parametrize("call", REMOVALS)
def test_removals(found: dict[str, Classified], call: str) -> None:
    group = only(found[call])
    (removal,) = group.removals
    assert (*shown(removal.scale, removal.left, removal.right), removal.after_decay) == REMOVALS[call]
    assert group.side == "row"


def test_readouts(found: dict[str, Classified]) -> None:
    def of(call: str) -> list[tuple[bool, int, str | None]]:
        return [(r.after, r.axis, *shown(r.query)) for r in found[call].groups[0].readouts]

    assert of("gated_linear") == [(True, 0, "q[i]")]
    assert of("wkv6(2)") == [(False, 0, "r[i]")]
    assert of("selective(3)") == [(True, 1, "C[j]")]
    assert of("mega_ema(4)") == [(True, 1, "eta[i,j]")]
    assert all(found[c].groups[0].hidden for c in ("gated_linear", "wkv6(2)", "delta_rule", "selective(3)"))
    assert not found["ema"].groups[0].hidden


SOFTMAX = {  # log decay, score, value, bonus, value of the present, running maximum
    "softmax_stream": (None, "s", "v[i]", None, None, None),
    "aaren": (None, "s", "v[i]", None, None, "m"),
    "wkv4": ("-exp(w[i])", "k[i]", "v[i]", "u[i] + k[i]", "v[i]", None),
}


@pytest.mark.parametrize("call", SOFTMAX)
def test_softmax(found: dict[str, Classified], call: str) -> None:
    form = only(found[call]).softmax
    assert form is not None
    (ratio,) = form.ratios
    assert (*shown(form.log_decay, form.score, form.value, ratio.bonus, ratio.value), form.maximum) == SOFTMAX[call]
    assert ratio.after == (call != "wkv4")
    assert [str(e) for e in found[call].after] == ["y[i] = ratio[i]"]


def test_groups_follow_one_another(found: dict[str, Classified]) -> None:
    """mLSTM's running maximum is a recurrence of its own; the matrix state and its normaliser are linear once it is known."""
    groups = {g.states: g for g in found["mlstm"].groups}
    assert [(s, str(g.kind)) for s, g in groups.items()] == [(("m",), "tropical"), (("S",), "matrix"), (("z",), "diagonal")]
    assert groups[("m",)].tropical is not None
    assert shown(groups[("m",)].tropical.add, groups[("m",)].tropical.floor) == ["logsigmoid(f)", "i[]"]
    decay = groups[("S",)].decay
    assert decay is not None
    assert shown(decay.log) == ["logsigmoid(f) + m - m_next"]
    assert {state: set(read) for state, read in found["mlstm"].reads.items()} == {"S": {"S", "m"}, "z": {"z", "m"}, "m": {"m"}}


def test_coupled_states_are_one_group(found: dict[str, Classified]) -> None:
    assert set(only(found["lstm(6)"]).states) == {"h", "c"}
    assert set(only(found["para_lstm(6)"]).states) == {"h", "c"}


OBSTACLES = {
    "elman(6)": ("tanh(x[i] + recurrent[i])", "tanh((x -> input: linear(n)) + (h -> recurrent: linear(n, bias=false)))"),
    "gru(6)": ("sigmoid(x[i+6] + recurrent[i+6] + recurrent_bias[i+6])", "sigmoid(xz + hz)"),
    "indrnn(6)": ("max(x[i] + u[i] * h[i], 0)", "relu((x -> input: linear(n)) + u * h)"),
    "sru": ("sigmoid(x[i+5] + v_f[i] * c[i])", "sigmoid(f + v_f * c)"),
}


@pytest.mark.parametrize("call", OBSTACLES)
def test_obstacle(found: dict[str, Classified], call: str) -> None:
    obstacle = found[call].obstacle
    assert obstacle is not None
    assert obstacle.span is not None
    assert (obstacle.text, obstacle.span.text) == OBSTACLES[call]
    assert "Gates that read only the input" in obstacle.lesson


def test_prepared_equations_are_those_the_pieces_read(found: dict[str, Classified]) -> None:
    assert all(not g.prepare for call in ("gated_linear", "min_gru(6)", "delta_rule", "wkv4") for g in found[call].groups)
    assert [e.target for e in found["mlstm"].groups[1].prepare] == []


# ---- other recurrences, and disguises ----------------------------------------------------------------------------------------------------

STEP_ACT = "act step(x) = if x > 0 then 1 else 0 backward 1 / (1 + (pi * x) ** 2)"
XG, DELTA = "x: [T, 5]; g: [T, 5]", "q: [T, 5]; k: [T, 5]; v: [T, 4]; b: [T]"
TRICKY = {  # body, inputs, states, class
    "a matrix diag(g)": ("D = diag(sigmoid(g)); h' = D @ h + x; yield h'", XG, "h: [d] = 0", "diagonal"),
    "a product of diagonals": ("h' = diag(g) @ diag(exp(g)) @ h + x; yield h'", XG, "h: [d] = 0", "diagonal"),
    "a sum of diagonals": ("h' = (diag(g) + diag(exp(g))) @ h + x; yield h'", XG, "h: [d] = 0", "diagonal"),
    "if on the input": ("h' = (if x > 0 then sigmoid(g) * h else x); yield h'", XG, "h: [d] = 0", "diagonal"),
    "if on the state": ("h' = (if h > 0 then 0.5 * h else x); yield h'", "x: [T, 5]", "h: [d] = 0", "elementwise nonlinear"),
    "the state times itself": ("h' = h * h + x; yield h'", "x: [T, 5]", "h: [d] = 0", "elementwise nonlinear"),
    "relu": ("h' = max(0.5 * h + x, 0); yield h'", "x: [T, 5]", "h: [d] = 0", "elementwise nonlinear"),
    "its own gate": ("h' = h * sigmoid(h) + x; yield h'", "x: [T, 5]", "h: [d] = 0", "elementwise nonlinear"),
    "shuffled terms": (
        "e = exp(w); S' = outer(k, v) + 1.0 * (diag(e) @ S) * 1; yield S' @ v",
        "k: [T, 5]; v: [T, 4]; w: [T, 5]",
        "S: [n, m] = 0",
        "matrix",
    ),
    "folded constants": ("h' = h - 0.25 * (h - x) - (h - h) * x; yield h'", "x: [T, 5]", "h: [d] = 0", "constant diagonal"),
    "a dense map": ("h' = (h -> A: linear(d, bias=false)) + x; yield h'", "x: [T, 5]", "h: [d] = 0", "dense affine"),
    "a dense map and itself": ("h' = 0.5 * h + 0.1 * (h -> A: linear(d)) + x; yield h'", "x: [T, 5]", "h: [d] = 0", "dense affine"),
    "two maps": ("h' = (h -> A: linear(3, bias=false) -> B: linear(d)) + x; yield h'", "x: [T, 5]", "h: [d] = 0", "dense affine"),
    "a rotation": (
        "h' = cos(x) * h - sin(x) * f + x; f' = sin(x) * h + cos(x) * f; yield h'",
        "x: [T, 5]",
        "h: [d] = 0; f: [d] = 0",
        "block diagonal",
    ),
    "a rotation in one state": (
        "a, z = h -> split(2); h' = concat(cos(x) * a - sin(x) * z + x, sin(x) * a + cos(x) * z, axis=0); yield h'",
        "x: [T, 5]",
        "h: [2 * d] = 0",
        "dense affine",
    ),
    "a shift": ("h' = x; yield x - h", "x: [T, 5]", "h: [d] = 0", "map"),
    "Householder": ("h' = h - 2 * k * dot(k, h) + q; yield h'", "k: [T, 5]; q: [T, 5]", "h: [n] = 0", "delta"),
    "two removals": (
        "A = S - b * outer(k, k @ S - v); S' = A - b * outer(p, p @ A); yield q @ S'",
        DELTA + "; p: [T, 5]",
        "S: [n, m] = 0",
        "delta",
    ),
    "delta from the right": ("S' = S + b * outer(v - S @ k, k); yield S' @ q", DELTA, "S: [m, n] = 0", "delta"),
    "cumulative maximum": ("h' = max(x, h); yield h'", "x: [T, 5]", "h: [d] = -inf", "tropical"),
    "maximum by if": ("h' = (if x > h then x else h); yield h'", "x: [T, 5]", "h: [d] = -inf", "tropical"),
    "minimum": ("h' = min(h, x) + c; yield h'", "x: [T, 5]; c: [T, 5]", "h: [d] = inf", "tropical"),
    "maximum and minimum": ("h' = max(min(h, x), c); yield h'", "x: [T, 5]; c: [T, 5]", "h: [d] = 0", "elementwise nonlinear"),
    "cumulative sum": ("h' = h + x; yield h'", "x: [T, 5]", "h: [d] = 0", "constant diagonal"),
    "divided by itself": ("h' = (h + x) / (1 + abs(h)); yield h'", "x: [T, 5]", "h: [d] = 0", "elementwise nonlinear"),
    "a gate on another state": (
        "h' = 0.5 * h + x; f' = sigmoid(h') * f + h; yield f'",
        "x: [T, 5]",
        "h: [d] = 0; f: [d] = 0",
        "diagonal",
    ),
    "a gate on a nonlinear one": (
        "f' = sigmoid(h) * f + x; h' = tanh(h + x); yield f'",
        "x: [T, 5]",
        "h: [d] = 0; f: [d] = 0",
        "elementwise nonlinear",
    ),
    "a normaliser with epsilon": (
        "h' = 0.9 * h + exp(s) * x; u' = 0.9 * u + exp(s); yield g * h' / (u' + 1e-6)",
        "s: [T]; x: [T, 5]; g: [T, 5]",
        "h: [d] = 0; u: [] = 0",
        "softmax",
    ),
    "sums that fade differently": (
        "h' = 0.9 * h + exp(s) * x; u' = 0.8 * u + exp(s); yield h' / u'",
        "s: [T]; x: [T, 5]",
        "h: [d] = 0; u: [] = 0",
        "constant diagonal",
    ),
    "a sum that is yielded too": (
        "h' = h + exp(s) * x; u' = u + exp(s); yield h' / u', h'",
        "s: [T]; x: [T, 5]",
        "h: [d] = 0; u: [] = 0",
        "constant diagonal",
    ),
    "mixing the mean": ("h' = 0.9 * h + x - 0.1 * mean(h, axis=-1, keep=true); yield h'", "x: [T, 5]", "h: [d] = 0", "delta"),
    "one entry read by all": ("h' = 0.5 * h + h[0] * x; yield h'", "x: [T, 5]", "h: [d] = 0", "dense affine"),
}


@pytest.mark.parametrize("name", TRICKY)
def test_tricky(name: str) -> None:
    body, inputs, states, kind = TRICKY[name]
    found = classify(one(body, inputs, states))
    assert str(found.kind) == kind, found.reason
    assert found.notes == ()


def test_stabilised_wkv_is_softmax() -> None:
    """RWKV-4 as its kernels write it: a running maximum, a bonus for the present, states read before the step."""
    text = """scan t {
        in k: [d]; in v: [d]
        param w: [d] ~ normal(1.0)
        param u: [d] ~ normal(1.0)
        state a: [d] = 0; state b: [d] = 0; state p: [d] = -inf
        q = max(p, u + k)
        y = (exp(p - q) * a + exp(u + k - q) * v) / (exp(p - q) * b + exp(u + k - q))
        p' = max(w + p, k)
        a' = exp(w + p - p') * a + exp(k - p') * v
        b' = exp(w + p - p') * b + exp(k - p')
        yield y
    }"""
    found = classify(step_of(text, "t", "k: [T, 5]; v: [T, 5]"))
    form = only(found).softmax
    assert form is not None
    assert shown(form.log_decay, form.score, form.value, form.ratios[0].bonus) == ["w[i]", "k[i]", "v[i]", "u[i] + k[i]"]
    assert form.maximum == "p"


def test_spiking_neuron_has_a_slope_of_its_own() -> None:
    text = f"{STEP_ACT}\nscan t {{ in x: [d]; state u: [d] = 0; a = 0.9 * u + x; z = step(a - 1); u' = a - z; yield z }}"
    group = only(classify(step_of(text, "t", "x: [T, 5]")))
    assert group.kind is Kind.ELEMENTWISE
    assert group.obstacle is not None
    assert group.obstacle.span is not None
    assert group.obstacle.span.text == "step(a - 1)"
    assert "declared slope" in group.obstacle.lesson


def test_two_removals() -> None:
    body, inputs, states, _ = TRICKY["two removals"]
    group = only(classify(one(body, inputs, states)))
    assert [tuple(shown(r.scale, r.left, r.right)) for r in group.removals] == [
        ("b", "k[i]", "k[i]"),
        ("b", "p[i]", "p[i] - b * k[i] * sum"),
    ]
    assert str(group.prepare[0]) == "sum = sum_s k[s] * p[s]"


def test_large_sizes_cost_no_time() -> None:
    """Checks run on shrunk sizes, whatever gates are split and however large they are."""
    text = """scan t(n) { in x: [d]; state h: [n] = 0
        r, z = sigmoid(x -> linear(2 * n)) -> split(2)
        h' = (1 - z) * h + (h -> A: linear(n, bias=false)) * r
        yield h' }"""
    found = classify(step_of(text, "t(3072)", "x: [T, 700]"))
    assert found.kind is Kind.DENSE
    assert found.notes == ()


# ---- refusal --------------------------------------------------------------------------------------------------------------------------


def wrong(group: DeltaGroup) -> list[Group]:
    """Claims that are slightly false."""
    decay, removal = group.decay, group.removals[0]
    return [
        replace(group, decay=replace(decay, value=decay.value * const(1.0001))),
        replace(group, removals=(replace(removal, after_decay=not removal.after_decay),)),
        replace(group, removals=(replace(removal, right=var("q[i]")),)),
        replace(group, outers=(replace(group.outers[0], scale=const(1)),)),
        replace(group, bias={"S": const(0)}),
        replace(group, terms=group.terms[:1]),
    ]


def test_a_false_claim_is_refused() -> None:
    step = standard("gated_delta_rule")
    group = only(classify(step, verify=False))
    assert checked(step, group, []) is group
    for claim in wrong(group):
        refused = checked(step, claim, [])
        assert refused.kind is Kind.NONLINEAR
        assert "does not hold in numbers" in refused.reason
        assert refused.notes


def test_false_claims_of_other_classes_are_refused() -> None:
    maximum = standard("max_plus")
    group = only(classify(maximum))
    assert checked(maximum, replace(group, tropical=replace(group.tropical, floor=None)), []).kind is Kind.NONLINEAR
    stream = standard("wkv4")
    found = classify(stream)
    group = only(found)
    for claim in (replace(group.softmax, log_decay=None), replace(group.softmax, score=const(0))):
        assert checked(stream, replace(group, softmax=claim), [], found.after).kind is Kind.NONLINEAR
    dense = standard("elman(6)")
    group = only(classify(dense))
    claim = NonlinearGroup(
        states=group.states, reason="", equations=group.equations, obstacle=Obstacle(const(0), "", None, ""), mixes=False
    )
    assert claim.kind is Kind.ELEMENTWISE and checked(dense, claim, []).kind is Kind.NONLINEAR


def test_a_claim_false_on_one_branch_only_is_refused() -> None:
    """The rare side of a choice is met, too."""
    step = one("h' = (if x > 1.5 then 0.5 * h else h) + x; yield h'")
    group = only(classify(step, verify=False))
    claim = replace(group, decay=replace(group.decay, value=const(1)), terms=())
    assert checked(step, claim, []).kind is Kind.NONLINEAR
