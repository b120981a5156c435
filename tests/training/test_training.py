"""The training loop: it learns, resumes bit for bit, keeps good checkpoints, and says what went wrong."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from archdsl.diagnostics import ArchError
from archdsl.tasks import get_task
from archdsl.training import TrainConfig, evaluate, train
from archdsl.training.checkpoint import checkpoints
from archdsl.training.loop import optimizer_for


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
