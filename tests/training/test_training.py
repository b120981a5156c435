"""The training loop: it learns, resumes bit for bit, keeps good checkpoints, and says what went wrong."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.runtime.weights import load_weights
from archdsl.tasks import get_task
from archdsl.training import TrainConfig, accuracy_by, curriculum, evaluate, train
from archdsl.training.checkpoint import checkpoints
from archdsl.training.objective import cross_entropy
from archdsl.training.optimizers import optimizer_for


class Small(nn.Module):
    """Recurrent, with dropout, so that randomness takes part in resuming."""

    def __init__(self, vocab: int = 16, d: int = 16, dropout: float = 0.1, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.table, self.mixer, self.norm = nn.Embedding(vocab, d), nn.GRU(d, d, batch_first=True), nn.LayerNorm(d)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(d, vocab)

    def forward(self, tokens, lengths=None):
        return self.head(self.dropout(self.norm(self.mixer(self.table(tokens))[0])))


TASK = get_task("copy", symbols=3)
SETTINGS = {"steps": 12, "batch": 8, "eval_every": 4, "eval_batches": 1, "warmup": 2}


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def code(call) -> str:
    with pytest.raises(ArchError) as caught:
        call()
    return caught.value.diagnostics[0].code


def log(folder) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in lines]


def test_it_learns():
    model = Small(d=32, dropout=0.0)
    task = get_task("copy", symbols=1, vocab=6)
    result = train(model, task, TrainConfig(steps=120, batch=32, lr=1e-2, eval_every=120))
    assert result.metrics["accuracy"] == 1.0
    assert evaluate(model, task) == pytest.approx(result.metrics)


@pytest.mark.parametrize("stop", [4, 8])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path, stop):
    whole, broken = Small(), Small()
    train(whole, TASK, TrainConfig(out=tmp_path / "whole", **SETTINGS))
    first = train(broken, TASK, TrainConfig(out=tmp_path / "broken", **SETTINGS), on_eval=lambda record: record["step"] < stop)
    assert (first.steps, first.stopped) == (stop, "on_eval")
    with (tmp_path / "broken" / "log.jsonl").open("a") as file:
        file.write('{"step": 99}\n{"torn')  # what a run killed later would have left
    resumed = Small(seed=5)
    train(resumed, TASK, TrainConfig(out=tmp_path / "broken", resume=True, **SETTINGS))
    assert same(whole, resumed)
    assert log(tmp_path / "whole") == log(tmp_path / "broken")
    last = [load_file(checkpoints(tmp_path / name)[-1] / "optimizer.safetensors") for name in ("whole", "broken")]
    assert all(torch.equal(last[0][key], last[1][key]) for key in last[0].keys() | last[1].keys())


def test_runs_with_one_seed_are_equal_and_leave_the_callers_random_stream_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    models = [Small(seed=3) for _ in range(2)]
    torch.manual_seed(3)
    for model in models:
        train(model, TASK, TrainConfig(**SETTINGS))
    assert torch.equal(torch.rand(1), expected)
    assert same(*models)


def test_only_the_newest_checkpoints_are_kept_and_nothing_is_half_written(tmp_path):
    train(Small(), TASK, TrainConfig(out=tmp_path, keep=2, save_every=3, **SETTINGS))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "step-00000009", "step-00000012"]
    assert sorted(p.name for p in checkpoints(tmp_path)[-1].iterdir()) == ["model.safetensors", "optimizer.safetensors", "state.json"]


def test_another_run_is_not_overwritten_and_not_mixed(tmp_path):
    train(Small(), TASK, TrainConfig(out=tmp_path, **SETTINGS))
    assert code(lambda: train(Small(), TASK, TrainConfig(out=tmp_path, **SETTINGS))) == "AD0813"
    with pytest.raises(ArchError, match=r"lr was 0\.001 and is 0\.1"):
        train(Small(), TASK, TrainConfig(out=tmp_path, resume=True, lr=0.1, **SETTINGS))
    assert code(lambda: train(Small(d=8), TASK, TrainConfig(out=tmp_path, resume=True, **SETTINGS))) == "AD0813"


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_serves(tmp_path):
    whole = Small()
    train(whole, TASK, TrainConfig(out=tmp_path, **SETTINGS))
    newest = checkpoints(tmp_path)[-1]
    content = (newest / "model.safetensors").read_bytes()
    (newest / "model.safetensors").write_bytes(content[: len(content) // 2])
    assert code(lambda: train(Small(), TASK, TrainConfig(out=tmp_path, resume=True, **SETTINGS))) == "AD0813"
    shutil.rmtree(newest)
    resumed = Small(seed=9)
    train(resumed, TASK, TrainConfig(out=tmp_path, resume=True, **SETTINGS))
    assert same(whole, resumed)


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    model = Small()

    def objective(model, batch):
        loss = model(batch["tokens"]).square().mean()
        return loss * float("nan") if objective.calls == 6 else loss

    def counted(model, batch):
        objective.calls += 1
        return objective(model, batch)

    objective.calls = 0
    with pytest.raises(ArchError, match="AD0812") as caught:
        train(model, TASK, TrainConfig(out=tmp_path, **SETTINGS), objective=counted)
    assert "step-00000004" in caught.value.diagnostics[0].note
    (kept,) = checkpoints(tmp_path)
    assert all(value.isfinite().all() for value in load_file(kept / "model.safetensors").values())


def test_weights_that_became_infinite_are_not_saved(tmp_path):
    model, calls = Small(), []

    def objective(model, batch):
        calls.append(batch)
        if len(calls) == 3:
            model.table.weight.data[15] = float("inf")  # a token that this task never shows again in this run
        return model(batch["tokens"] % 8).square().mean()

    settings = {**SETTINGS, "steps": 5, "eval_every": 100, "save_every": 1}
    assert code(lambda: train(model, TASK, TrainConfig(out=tmp_path, **settings), objective=objective)) == "AD0812"
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000001", "step-00000002"]


def test_schedules():
    for schedule in ("constant", "linear", "cosine"):
        config = TrainConfig(steps=101, lr=2.0, warmup=10, schedule=schedule, final_lr=0.1)
        rates = [config.rate(step) for step in range(101)]
        assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
        assert rates[10] == pytest.approx(2.0)
        assert rates[-1] == pytest.approx(2.0 if schedule == "constant" else 0.2)
        assert rates[10:] == sorted(rates[10:], reverse=True)
    assert TrainConfig(steps=101, lr=2.0, schedule="linear", final_lr=0.0).rate(50) == pytest.approx(1.0)


def test_vectors_are_not_decayed():
    model = Small()
    decayed, plain = optimizer_for(model, TrainConfig(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    assert {id(p) for p in plain["params"]} == {id(p) for n, p in model.named_parameters() if "bias" in n or "norm" in n}


def test_side_losses_take_part():
    class WithAux(Small):
        def forward(self, tokens, lengths=None):
            self.aux = {"size": 1000 * self.table.weight.square().mean()}
            return super().forward(tokens)

    plain, pressed = Small(dropout=0.0), WithAux(dropout=0.0)
    for model in (plain, pressed):
        train(model, TASK, TrainConfig(lr=1e-2, **SETTINGS))
    assert pressed.table.weight.square().mean() < plain.table.weight.square().mean() - 0.01


def test_bfloat16_runs_with_float32_weights():
    model = Small()
    result = train(model, TASK, TrainConfig(precision="bfloat16", **SETTINGS))
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert result.metrics["loss"] < 4


def test_a_run_can_be_limited_in_time():
    result = train(Small(), TASK, TrainConfig(steps=100_000, batch=2, max_seconds=0.2, eval_batches=1))
    assert result.stopped == "max_seconds"
    assert 0 < result.steps < 100_000


def test_frozen_models_and_bad_settings_are_refused():
    model = Small().requires_grad_(False)
    assert code(lambda: train(model, TASK, TrainConfig(**SETTINGS))) == "AD0811"
    with pytest.raises(ArchError) as caught:
        TrainConfig(steps=-1, batch=0, schedule="cosin", lr=float("nan"), resume=True)
    assert len(caught.value.diagnostics) == 5
    assert code(lambda: TrainConfig(optimizer="lion")) == "AD0811"
    assert code(lambda: TrainConfig(keep_best=True)) == "AD0811"


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_each_optimizer_learns_and_resumes_bit_for_bit(tmp_path, optimizer):
    settings = {**SETTINGS, "optimizer": optimizer, "lr": 0.1 if optimizer == "sgd" else 1e-2, "steps": 16}
    whole, broken = Small(), Small()
    result = train(whole, TASK, TrainConfig(**settings))
    assert result.metrics["loss"] < result.history[0]["valid"]["loss"]
    train(broken, TASK, TrainConfig(out=tmp_path, **settings), on_eval=lambda record: record["step"] < 8)
    resumed = Small(seed=5)
    train(resumed, TASK, TrainConfig(out=tmp_path, resume=True, **settings))
    assert same(whole, resumed)


def worsening(after: int):
    """An objective that trains for some steps and then undoes it."""
    calls = []

    def objective(model, batch):
        calls.append(batch)
        loss = cross_entropy(model, batch)
        return loss if len(calls) <= after else -loss

    return objective


def test_patience_ends_a_run_and_the_best_weights_are_kept(tmp_path):
    model = Small(dropout=0.0)
    config = TrainConfig(steps=200, batch=16, lr=1e-2, eval_every=5, eval_batches=2, patience=3, out=tmp_path, keep_best=True)
    result = train(model, TASK, config, objective=worsening(20))
    assert (result.stopped, result.best_step, result.steps) == ("patience", 20, 35)
    assert result.best["loss"] < result.metrics["loss"]
    assert result.best_checkpoint == tmp_path / "best"
    best = Small(dropout=0.0)
    load_weights(best, tmp_path / "best" / "model.safetensors")
    assert evaluate(best, TASK, batch=16, batches=2) == pytest.approx(result.best)
    assert "best" not in [p.name for p in checkpoints(tmp_path)]


def test_patience_is_remembered_over_a_resumed_run(tmp_path):
    settings = {"batch": 16, "lr": 1e-2, "eval_every": 5, "eval_batches": 2, "patience": 3, "schedule": "constant"}
    objective = worsening(20)
    train(Small(dropout=0.0), TASK, TrainConfig(steps=30, out=tmp_path, **settings), objective=objective)
    result = train(Small(), TASK, TrainConfig(steps=200, out=tmp_path, resume=True, **settings), objective=objective)
    assert (result.stopped, result.best_step, result.steps) == ("patience", 20, 35)


def test_until_knows_which_way_a_metric_is_better():
    task = get_task("copy", symbols=1, vocab=6)
    config = TrainConfig(steps=500, lr=1e-2, eval_every=10, metric="accuracy", until=0.9)
    result = train(Small(d=32, dropout=0.0), task, config)
    assert result.stopped == "until"
    assert result.metrics["accuracy"] >= 0.9
    assert all(record["valid"]["accuracy"] < 0.9 for record in result.history[:-1])
    assert train(Small(), task, TrainConfig(steps=20, eval_every=10, until=1e3)).steps == 10  # a loss of at most 1000
    with pytest.raises(ArchError, match="`acuracy`") as caught:
        train(Small(), task, TrainConfig(metric="acuracy"))
    assert "accuracy" in caught.value.diagnostics[0].hint


def test_report_sees_the_metric_and_can_end_the_run():
    seen = []

    def report(step, value):
        seen.append((step, value))
        return step == 8

    result = train(Small(), TASK, TrainConfig(metric="rows_right", **SETTINGS), report=report)
    assert result.stopped == "report"
    assert seen == [(r["step"], r["valid"]["rows_right"]) for r in result.history]
    assert [step for step, _ in seen] == [4, 8]


def test_on_step_is_a_schedule_over_any_setting_of_the_model():
    rates = []

    def on_step(step, model):
        model.dropout.p = 0.5 * step / 12
        rates.append(model.dropout.p)

    train(Small(), TASK, TrainConfig(**SETTINGS), on_step=on_step)
    assert rates == pytest.approx([0.5 * step / 12 for step in range(12)])


class Routed(Small):
    """Two parts with a side loss each, whose gradients are the weights given to them."""

    def __init__(self):
        super().__init__(dropout=0.0)
        self.layers = nn.ModuleList([Part(), Part()])

    def forward(self, tokens, lengths=None):
        for layer in self.layers:
            layer()
        return super().forward(tokens)


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))

    def forward(self):
        self.aux = {"balance": 2 * self.level, "size": self.level.square()}


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        ({}, [2.0, 2.0]),
        ({"layers.*": 0.5}, [1.0, 1.0]),
        ({"layers.*.balance": 0.5, "layers.1": 0.0}, [1.0, 0.0]),
        ({"*": 0.0, "layers.0.balance": 3.0}, [6.0, 0.0]),
    ],
)
def test_side_losses_are_weighed_by_path(sides, expected):
    model, found = Routed(), []
    settings = {**SETTINGS, "steps": 2, "lr": 1e-9, "clip": 0.0, "eval_every": 1}
    result = train(model, TASK, TrainConfig(sides=sides, **settings), on_eval=lambda r: found.append([p.level.grad for p in model.layers]))
    assert [float(grad) for grad in found[0]] == pytest.approx(expected, abs=1e-6)
    assert set(result.history[0]["sides"]) == {f"layers.{i}.{name}" for i in (0, 1) for name in ("balance", "size")}


def test_a_side_loss_that_is_not_there_is_told():
    assert code(lambda: train(Routed(), TASK, TrainConfig(sides={"layers.*.router": 0.1}, **SETTINGS))) == "AD0816"


LOOP = "arch A(rounds = 3) { in x: int[T]\n return x -> embedding(16, 8) -> loop rounds { linear(8) -> tanh } -> linear(16) }"


@pytest.mark.row("cgar")
def test_stages_train_the_same_weights_with_other_settings(tmp_path):
    spec = archdsl.parse(LOOP)

    def run(steps, out=None, resume=False, stop=None, plan=((0.25, {"rounds": 1}), (0.5, {"rounds": 2})), seed=0):
        model, used = spec.build(seed=seed), []
        config = TrainConfig(steps=steps, batch=4, eval_every=4, out=out, resume=resume)

        def on_step(step, at):
            used.append((step, depth_of(at)))

        result = train(model, TASK, config, stages=curriculum(spec, model, plan), on_step=on_step, on_eval=lambda r: r["step"] != stop)
        return model, used, result

    model, used, _ = run(16)
    assert [depth for _, depth in used] == [1] * 4 + [2] * 4 + [3] * 8
    plain, _, _ = run(16, plan=())
    assert not same(model, plain)
    run(16, tmp_path, stop=8)
    resumed, used, _ = run(16, tmp_path, resume=True, seed=7)
    assert used[0] == (8, 3)
    assert same(model, resumed)


def depth_of(model: nn.Module) -> int:
    """How many rounds of the loop a forward pass runs."""
    calls = []
    (linear,) = {m for n, m in model.named_modules() if n.endswith("linear") and getattr(m, "weight", torch.empty(0)).shape == (8, 8)}
    handle = linear.register_forward_hook(lambda *_: calls.append(1))
    model(torch.zeros(1, 2, dtype=torch.long))
    handle.remove()
    return len(calls)


def test_a_stage_may_not_change_the_weights():
    spec = archdsl.parse("arch A(n = 2) { in x: [4]\n return x -> repeat n { linear(4) } }")
    assert code(lambda: curriculum(spec, spec.build(), [(0.5, {"n": 1})])) == "AD0817"
    loop = archdsl.parse(LOOP)
    for shares in ([0.5, 0.3], [0.0], [1.5]):
        assert code(lambda shares=shares: curriculum(loop, loop.build(), [(share, {"rounds": 1}) for share in shares])) == "AD0817"


def test_an_edited_spec_and_another_task_are_not_resumed(tmp_path):
    def run(text, task=TASK, **settings):
        spec = archdsl.parse(text)
        metadata = {"spec": spec.name, "structure": spec.structure_hash}
        return train(spec.build(), task, TrainConfig(steps=2, batch=4, out=tmp_path, resume=True, **settings), metadata=metadata)

    run(LOOP)
    assert run(LOOP.replace("arch A", "# a comment\narch A")).steps == 2
    with pytest.raises(ArchError, match="the spec was edited"):
        run(LOOP.replace("tanh", "relu"))
    with pytest.raises(ArchError, match="task_settings"):
        run(LOOP, get_task("copy", symbols=4))


def test_accuracy_by_depth():
    task = get_task("binary_successor", bits=6)

    class Copies(nn.Module):
        """Right where there is no carry: it repeats the number with its first digit turned."""

        def forward(self, tokens):
            logits = torch.zeros(*tokens.shape, task.vocab)
            for row, words in enumerate(tokens.tolist()):
                end = words.index(1)
                answer = [{3: 4, 4: 3, 5: 3}[words[0]], *words[1:end], 2] if end > 1 else [3, 5, 2]
                for i, word in enumerate(answer[: len(words) - end]):
                    logits[row, end + i, word] = 9.0
            return logits

    found = accuracy_by(Copies(), task, batches=4)
    assert set(found) == set(range(6))
    assert found[0][0] == 1.0
    assert all(found[depth][0] == 0.0 for depth in range(1, 6))
    assert sum(count for _, count in found.values()) == 4 * 64
    assert code(lambda: accuracy_by(Small(), TASK)) == "AD0814"
