"""Generation on a small model whose cached and plain forms are both written out; samplers against transformers' processors."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from archdsl.diagnostics import ArchError
from archdsl.runtime.generation import generate, generate_batch, stream_text
from archdsl.runtime.sampling import Sampler, Sampling, filtered
from archdsl.runtime.tokenizer import CharTokenizer


class Recurrent(nn.Module):
    """A leaky sum of embeddings: whole form, prefill and step of the contract."""

    def __init__(self, vocab: int = 23, d: int = 8, decay: float = 0.7):
        super().__init__()
        self.table, self.head, self.decay = nn.Embedding(vocab, d), nn.Linear(d, vocab), decay

    def _states(self, tokens, h):
        states = []
        for x in self.table(tokens).unbind(1):
            h = self.decay * h + x
            states.append(h)
        return torch.stack(states, 1)

    def forward(self, tokens, lengths=None):
        return self.head(self._states(tokens, torch.zeros(tokens.shape[0], 1)))

    def prefill(self, tokens, lengths=None, last_only=False):
        states = self._states(tokens, torch.zeros(tokens.shape[0], 1))
        ends = torch.full((tokens.shape[0],), tokens.shape[1]) if lengths is None else lengths
        last = states[torch.arange(len(ends)), ends - 1]
        return self.head(last[:, None] if last_only else states), last

    def step(self, tokens, state):
        states = self._states(tokens, state)
        return self.head(states), states[:, -1]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Recurrent()


@pytest.mark.parametrize("options", [{}, {"temperature": 0.8, "seed": 3}, {"temperature": 1.0, "top_k": 5, "repetition_penalty": 1.3}])
def test_cached_equals_plain(model, options):
    cached = list(generate(model, [1, 2, 3], max_new=20, **options))
    assert cached == list(generate(model, [1, 2, 3], max_new=20, cache=False, **options))
    assert len(cached) == 20


@pytest.mark.parametrize("cache", [True, False])
def test_a_row_does_not_depend_on_its_neighbours(model, cache):
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    how = Sampling(temperature=0.9, top_p=0.9, seed=7)
    rows = list(zip(*generate_batch(model, prompts, max_new=12, sampling=how, cache=cache)))
    for i, prompt in enumerate(prompts):
        alone = list(generate(model, prompt, max_new=12, temperature=0.9, top_p=0.9, seed=7 + i))
        assert list(rows[i]) == alone


def test_stop_ends_each_row_on_its_own(model):
    full = list(zip(*generate_batch(model, [[1], [2]], max_new=15)))
    stop = {full[0][4]}
    rows = list(zip(*generate_batch(model, [[1], [2]], max_new=15, stop=stop)))
    for whole, cut in zip(full, rows):
        ends = next((i for i, token in enumerate(whole) if token in stop), len(whole))
        assert list(cut[:ends]) == list(whole[:ends])
        assert all(token is None for token in cut[ends:])
    assert not list(generate(model, [1], max_new=5, stop=range(23)))
    assert not list(generate(model, [1], max_new=0))


def test_streaming_does_not_leave_training_or_gradient_mode_behind(model):
    model.train()
    stream = generate(model, [1, 2], max_new=3)
    next(stream)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    list(stream)
    assert model.training


def test_stop_texts_are_never_shown(model):
    tokenizer = CharTokenizer("abcdefghijklmnopqrstuvw")
    whole = "".join(stream_text(model, tokenizer, "abc", max_new=30))
    assert len(whole) == 30
    for start, size in itertools.product((0, 7, 20), (1, 2, 5)):
        text = whole[start : start + size]
        assert "".join(stream_text(model, tokenizer, "abc", max_new=30, stop=[text])) == whole[: whole.index(text)]


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -1},
        {"top_k": 0},
        {"top_p": 0},
        {"top_p": 1.1},
        {"min_p": 2},
        {"repetition_penalty": 0},
        {"temperature": float("nan")},
    ],
)
def test_settings_out_of_bounds(model, bad):
    with pytest.raises(ArchError, match="AD0809"):
        list(generate(model, [1], **bad))


@pytest.mark.parametrize("prompts", [[], [[]], [[1], []], torch.zeros(2, 0), torch.zeros(3)])
def test_empty_prompts_are_refused(model, prompts):
    with pytest.raises(ArchError, match="AD0809"):
        generate_batch(model, prompts)


def test_models_without_a_step_say_what_to_do():
    plain = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 5))
    with pytest.raises(ArchError, match="cache=False"):
        list(generate(plain, [1]))
    assert len(list(generate(plain, [1], max_new=3, cache=False))) == 3


@pytest.mark.parametrize(
    "how",
    [
        Sampling(temperature=1, top_k=5),
        Sampling(temperature=1, top_p=0.7),
        Sampling(temperature=1, min_p=0.1),
        Sampling(temperature=1, top_k=20, top_p=0.8, min_p=0.05),
    ],
)
def test_filters_equal_those_of_transformers(how):
    processors = pytest.importorskip("transformers").generation.logits_process
    logits = 3 * torch.randn(16, 50, generator=torch.Generator().manual_seed(0))
    expected = logits
    if how.top_k:
        expected = processors.TopKLogitsWarper(how.top_k)(None, expected)
    if how.top_p:
        expected = processors.TopPLogitsWarper(how.top_p)(None, expected)
    if how.min_p:
        expected = processors.MinPLogitsWarper(how.min_p)(None, expected)
    assert torch.equal(filtered(logits, how), expected)


def test_repetition_penalty_equals_that_of_transformers():
    processors = pytest.importorskip("transformers").generation.logits_process
    logits, seen = torch.randn(2, 9, generator=torch.Generator().manual_seed(0)), torch.tensor([[1, 2, 2], [0, 8, 3]])
    sampler = Sampler(Sampling(repetition_penalty=3.0), 2, 9, torch.device("cpu"))
    for row in range(2):
        sampler.note(row, seen[row])
    expected = processors.RepetitionPenaltyLogitsProcessor(3.0)(seen, logits).argmax(-1)
    assert torch.equal(sampler.choose(logits), expected)


def test_samples_follow_the_probabilities():
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(2000, 3)
    drawn = Sampler(Sampling(temperature=1.0), 2000, 3, torch.device("cpu")).choose(logits)
    shares = torch.bincount(drawn, minlength=3) / 2000
    assert torch.allclose(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.04)
