"""Weights in and out, tokenizers and generation. Names are loaded on first use: importing the package needs neither torch nor gguf."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "ChatMessage": "chat",
    "Detokenizer": "tokenizer",
    "LoadReport": "weights",
    "Sampling": "generation",
    "Tokenizer": "tokenizer",
    "WeightMap": "weightmap",
    "find_pretrained": "pretrained",
    "find_published": "pretrained",
    "generate": "generation",
    "encode_chat": "chat",
    "generate_batch": "generation",
    "open_weights": "weights",
    "stream_text": "generation",
    "load_tokenizer": "tokenizer",
    "load_weight_map": "weightmap",
    "load_weights": "weights",
    "render_chat": "chat",
    "save_weights": "saving",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"archdsl.runtime.{_HOME[name]}"), name)
    raise AttributeError(f"module 'archdsl.runtime' has no attribute '{name}'")
