"""Each family of tasks is learned by some shipped spec, well beyond what guessing gives."""

from __future__ import annotations

import pytest

import archdsl
from archdsl.tasks import get_task
from archdsl.tasks.automata import ngram
from archdsl.tasks.fit import check_task, settings_for, task_options
from archdsl.training import TrainConfig, accuracy_by, evaluate, train

HYBRID = ("hybrid", {"d": 64, "depth": 2, "heads": 4})
GRU = ("recurrent", {"d": 64, "depth": 1, "cell": "gru"})
ATTENTION = ("smollm2", {"d": 64, "depth": 2, "heads": 1, "kv_heads": 1, "hidden": 64})
SERIES = 'import "std/scans.arch"\narch F(n = 48, channels = 1) { in x: [T, channels]\n return x -> gru(n) -> linear(channels) }'


PATHS = """import "std/transformer.arch"
arch Paths(vocab = 8, classes = 2, d = 64) {
    in tokens: int[T] lengths
    return embedding(vocab, d)(tokens)
        -> residual(rmsnorm -> linear(d) -> causal_conv(3))
        -> repeat 2 { residual(rmsnorm -> Attention(4)) -> residual(rmsnorm -> SwiGLU(2 * d)) }
        -> rmsnorm -> last -> linear(classes)
}"""


def learned(spec, settings, name, options, steps, lr=3e-3, until=None, metric="accuracy", batch=32):
    """The trained model, its task, and its metrics on the test part."""
    make = (lambda **given: archdsl.parse(spec, **given)) if "\n" in spec else (lambda **given: archdsl.load(spec, **given))
    plain = make(**settings)
    task = get_task(name, **task_options(name, options, plain))
    fitted = make(**{**settings_for(task, plain.arguments), **settings})
    check_task(fitted, task)
    model = fitted.build(seed=0)
    config = TrainConfig(steps=steps, lr=lr, batch=batch, eval_every=50, metric=metric, until=until)
    result = train(model, task, config)
    return model, task, evaluate(model, task, split="test", batches=8), result


def test_a_recurrence_learns_parity():
    spec, settings = "recurrent", {"d": 32, "depth": 1, "cell": "gru"}
    *_, found, _ = learned(spec, settings, "parity", {"length": 5, "each": True}, 150, lr=1e-2, until=0.99)
    assert found["accuracy"] > 0.95


PROOFS = [
    ("recall", *GRU, "in_context_recall", {"vocab": 8, "length": 24}, 600, "accuracy", 0.4),
    ("memory", *HYBRID, "memorize", {"vocab": 64}, 300, "accuracy", 0.9),
    ("compression", "compressor", {"d": 64, "depth": 1}, "compression", {"length": 8}, 300, "accuracy", 0.2),
    ("copy", *GRU, "selective_copy", {"vocab": 8, "symbols": 2, "length": 6}, 600, "accuracy", 0.8),
    ("state", *GRU, "mod_arith", {"length": 3}, 400, "accuracy", 0.45),
    ("logic", "gru_classifier", {"d": 32, "n": 64}, "logic", {"depth": 3}, 400, "accuracy", 0.75),
    ("trees", *HYBRID, "tree_traversal", {"nodes": 4}, 500, "accuracy", 0.8),
    ("images", "resnet_cifar", {"n": 1, "width": 8}, "digits", {}, 200, "accuracy", 0.9),
    ("pixels", "gru_classifier", {"d": 16, "n": 48}, "digits", {}, 300, "accuracy", 0.25),
    ("series", SERIES, {}, "forecast", {"length": 48}, 200, "skill", 0.3),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "settings", "task", "options", "steps", "metric", "least"), [p[1:] for p in PROOFS], ids=[p[0] for p in PROOFS]
)
def test_it_is_learned(spec, settings, task, options, steps, metric, least):
    if task == "digits":
        pytest.importorskip("sklearn")
    rate = 1e-2 if task == "mod_arith" else 3e-3
    *_, found, _ = learned(spec, settings, task, options, steps, rate, metric=metric)
    assert found[metric] > least, found


@pytest.mark.slow
def test_edges_are_followed():
    """Two edges, and whether the one from s leads to t. A convolution shows each node its neighbours in the row, attention finds the edge."""
    *_, found, _ = learned(PATHS, {}, "reachability", {"nodes": 4, "extra": 0}, 3000, 4e-3, until=0.99, batch=128)
    assert found["accuracy"] > 0.75


@pytest.mark.slow
@pytest.mark.row("zoology-mqar")
def test_attention_recalls_many_keys():
    """A small setting, beyond picking one of the values in the row."""
    *_, found, _ = learned(*ATTENTION, "mqar", {"vocab": 16, "length": 16, "pairs": 3}, 1500, until=0.95, batch=64)
    assert found["accuracy"] > 0.8


@pytest.mark.slow
@pytest.mark.row("icll_ngram")
def test_a_model_learns_new_languages_in_context():
    """So few steps teach it to prefer the symbols of the row; the n-gram baseline, which needs no training, is still ahead of it."""
    options = {"length": 128, "fewest": 4, "strings": 8, "longest": 20}
    _, task, found, _ = learned(*HYBRID, "icll_dfa", options, 300, metric="validity")
    batch = task.batch(0, 0, 32, "test")
    assert found["validity"] > 3 * task.measures["validity"].chance
    assert found["tvd"] < task.measures["tvd"].chance - 0.15
    assert task.metrics(ngram(batch["tokens"], 3, task.vocab), batch)["validity"] > 0.7


@pytest.mark.slow
@pytest.mark.row("structural-recursion")
def test_accuracy_falls_with_the_depth_of_the_recursion():
    """Reported, not asserted: how much. Asserted: it learns, and the report covers every depth."""
    model, task, found, _ = learned(*HYBRID, "binary_successor", {"bits": 10}, 800)
    by_depth = accuracy_by(model, task, batches=16)
    print({depth: round(share, 3) for depth, (share, _) in by_depth.items()})
    assert found["accuracy"] > 0.9
    assert set(by_depth) == set(range(10))
    assert by_depth[0][0] > 0.5
