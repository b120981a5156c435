"""Saving: archdsl's own weights files, which are safetensors under the spec's names, always whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic

FORMAT_VERSION = "1"


def save_weights(model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Saves a model's weights as safetensors under their own names, all or nothing (a temporary file is renamed when it is whole).

    metadata: strings kept in the file, such as the spec's hash. A weight that two names share is saved once, under its first name; the
    others are listed in the metadata. Returns the path. Raises AD0801 if it cannot be written.
    """
    tensors, shared = _distinct(model)
    table = {"format": "archdsl", "version": FORMAT_VERSION, **{f"shared:{other}": first for other, first in shared.items()}}
    write_safetensors(tensors, path, {**table, **(metadata or {})})
    return Path(path)


def _distinct(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    seen: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    tensors: dict[str, torch.Tensor] = {}
    shared: dict[str, str] = {}
    for name, tensor in model.state_dict().items():
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride())
        if tensor.numel() and key in seen:
            shared[name] = seen[key]
        else:
            seen[key] = name
            tensors[name] = tensor.detach().cpu().contiguous().clone()
    return tensors, shared


def write_safetensors(tensors: Mapping[str, torch.Tensor], path: str | Path, metadata: Mapping[str, str]) -> None:
    """Writes tensors so that `path` is either the old file or the whole new one."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        try:
            save_file(dict(tensors), temporary, metadata=dict(metadata))
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except (OSError, SafetensorError) as error:
        hint = "Check the folder and the free space."
        raise ArchError(Diagnostic("AD0801", f"cannot write `{path}`", note=str(error), hint=hint)) from None
