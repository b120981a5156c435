"""Making a model: shapes first, then memory of the right kind, then initial weights from seed and path."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from archdsl.primitives.support.random import initialise


def initialise_all(model: nn.Module, seed: int, given: Collection[str] = ()) -> None:
    """Fills every weight as its class's `init` table says; each from its own stream, by seed and path. given: those that are set already."""
    tensors: dict[str, Any] = model.state_dict(keep_vars=True)
    set_already = {id(tensors[name]) for name in given}  # by any of its names
    with torch.no_grad():
        for path, module in model.named_modules():
            for name, init in type(module).__dict__.get("init", {}).items():
                whole = f"{path}.{name}" if path else name
                if id(tensors[whole]) not in set_already and not tensors[whole].is_meta:  # meta holds nothing that could be filled
                    initialise(tensors[whole].data, init, seed, whole)


def blank(kind: type[nn.Module], device: str | torch.device, dtype: torch.dtype) -> Any:
    """An instance of a model class whose weights hold nothing yet; floating-point ones in dtype, complex ones in its complex counterpart."""
    with torch.device("meta"):
        model = kind()

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    return model._apply(cast).to_empty(device=device)


def created(kind: type[nn.Module], device: str | torch.device, dtype: torch.dtype, seed: int) -> Any:
    """An instance of a model class with initial weights, as `blank` makes it."""
    model = blank(kind, device, dtype)
    initialise_all(model, seed)
    return model
