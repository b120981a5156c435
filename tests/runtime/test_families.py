"""Shipped maps proved on whole models: random weights saved by transformers, loaded into the built spec, same outputs."""

from __future__ import annotations

import pytest
import torch

import archdsl
from archdsl.runtime import load_weights

transformers = pytest.importorskip("transformers")


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


def roughen(model: torch.nn.Module) -> torch.nn.Module:
    """Random gains and biases too: fresh ones are ones and zeros, which would hide a swap."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("with_head", [True, False])
def test_gpt2(tmp_path, with_head):
    config = transformers.GPT2Config(vocab_size=97, n_positions=24, n_embd=32, n_layer=3, n_head=4)
    theirs = roughen(transformers.GPT2LMHeadModel(config))
    (theirs if with_head else theirs.transformer).save_pretrained(tmp_path)
    spec = archdsl.load("gpt2", contracts=False, vocab=97, context=24, d=32, depth=3, heads=4)
    ours = spec.build(weights=tmp_path).eval()
    tokens = torch.randint(97, (2, 17))
    with torch.no_grad():
        close(ours(tokens), theirs(tokens).logits)


def test_llama2(tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
    )
    theirs = roughen(transformers.LlamaForCausalLM(config))
    theirs.save_pretrained(tmp_path)
    spec = archdsl.load("llama2", contracts=False, vocab=97, d=32, depth=3, heads=4, kv_heads=2, hidden=48)
    ours = spec.build(weights=tmp_path).eval()
    tokens = torch.randint(97, (2, 17))
    with torch.no_grad():
        close(ours(tokens), theirs(tokens).logits)


@pytest.mark.parametrize("kind", ["BertModel", "BertForPreTraining"])
def test_bert(tmp_path, kind):
    config = transformers.BertConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128, max_position_embeddings=24
    )
    theirs = roughen(getattr(transformers, kind)(config))
    theirs.save_pretrained(tmp_path)
    base = theirs if kind == "BertModel" else theirs.bert
    spec = archdsl.load("bert", contracts=False, vocab=97, context=24, d=32, depth=3, heads=4)
    ours = spec.build(weights=tmp_path).eval()
    tokens, segments = torch.randint(97, (2, 17)), torch.randint(2, (2, 17))
    with torch.no_grad():
        states, pooled = ours(tokens, segments)
        expected = base(tokens, token_type_ids=segments)
    close(states, expected.last_hidden_state)
    close(pooled, expected.pooler_output)


def test_gpt2_from_gguf_as_transformers_reads_it(tmp_path):
    """A file in llama.cpp's layout, read by transformers' own converter and by ours."""
    gguf = pytest.importorskip("gguf")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    torch.manual_seed(0)
    d, path = 32, tmp_path / "g.gguf"
    writer = gguf.GGUFWriter(path, "gpt2")
    for key, value in {"context_length": 24, "embedding_length": d, "block_count": 1, "attention.head_count": 4}.items():
        writer.add_uint32(f"gpt2.{key}", value)
    writer.add_uint32("gpt2.feed_forward_length", 4 * d)
    writer.add_float32("gpt2.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("tokenizer.ggml.tokens", [f"t{i}" for i in range(97)])
    shapes = {"token_embd.weight": (97, d), "position_embd.weight": (24, d), "output_norm.weight": (d,), "output_norm.bias": (d,)}
    for name, rows, columns in (("attn_qkv", 3 * d, d), ("attn_output", d, d), ("ffn_up", 4 * d, d), ("ffn_down", d, 4 * d)):
        shapes |= {f"blk.0.{name}.weight": (rows, columns), f"blk.0.{name}.bias": (rows,)}
    for name in ("attn_norm", "ffn_norm"):
        shapes |= {f"blk.0.{name}.weight": (d,), f"blk.0.{name}.bias": (d,)}
    for name, shape in shapes.items():
        writer.add_tensor(name, (0.3 * torch.randn(shape)).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=97, n_positions=24, n_embd=d, n_layer=1, n_head=4)).eval()
    tensors = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=theirs)["tensors"]
    missing, unexpected = theirs.load_state_dict(tensors, strict=False)
    assert set(missing) <= {"lm_head.weight"}
    assert not unexpected
    theirs.tie_weights()
    spec = archdsl.load("gpt2", contracts=False, vocab=97, context=24, d=d, depth=1, heads=4)
    ours = spec.build().eval()
    assert load_weights(ours, path, spec=spec).complete
    tokens = torch.randint(97, (2, 17))
    with torch.no_grad():
        close(ours(tokens), theirs(tokens).logits)
