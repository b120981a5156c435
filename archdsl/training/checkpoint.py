"""Checkpoints: a folder `step-00000100` with the model, the optimizer and the run's state, as safetensors and JSON.

A folder is written under a temporary name and renamed when it is whole, so one that has its name is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.runtime.huggingface import SafetensorsFile, read_json
from archdsl.runtime.saving import save_weights, write_safetensors
from archdsl.runtime.weights import load_weights
from archdsl.training.config import other_run

BEST = "best"


def save(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Any], keep: int, metadata: Mapping[str, str]
) -> Path:
    """Writes the checkpoint of state["step"] below `folder`, then removes all but the newest `keep`. Raises AD0801."""
    final = folder / f"step-{state['step']:08d}"
    _write(final, model, optimizer, state, metadata)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def save_best(folder: Path, model: nn.Module, state: Mapping[str, Any], metadata: Mapping[str, str]) -> Path:
    """Writes the weights as the best so far: `folder`/best. Raises AD0801."""
    return _write(folder / BEST, model, None, state, metadata)


def _write(
    final: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None, state: Mapping[str, Any], metadata: Mapping[str, str]
) -> Path:
    part = final.parent / f".{final.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_weights(model, part / "model.safetensors", metadata)
        if optimizer is not None:
            write_safetensors(_flat(model, optimizer), part / "optimizer.safetensors", {})
        (part / "state.json").write_text(json.dumps(dict(state), indent=1), encoding="utf-8")
        if final.exists():
            shutil.rmtree(final)
        os.replace(part, final)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        hint = "Check the folder and the free space; older checkpoints are untouched."
        raise ArchError(Diagnostic("AD0801", f"cannot write the checkpoint `{final}`", note=str(error), hint=hint)) from None
    return final


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.is_dir())


def load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, lasting: Mapping[str, Any]) -> dict[str, Any]:
    """Sets model and optimizer from a checkpoint and returns its state. Raises AD0813 if it is damaged or of another run."""
    try:
        state = read_json(folder / "state.json")
        _same_run(folder, state.get("config"), lasting)
        load_weights(model, folder / "model.safetensors")
        file = SafetensorsFile(folder / "optimizer.safetensors")
    except ArchError as error:
        if any(problem.code == "AD0813" for problem in error.diagnostics):
            raise
        why = error.diagnostics[0]
        raise other_run(f"the checkpoint cannot be used: {why.title}", folder, "Remove this folder to go on from the one before.") from None
    try:
        _unflat(file, model, optimizer, folder)
    finally:
        file.close()
    return state


def _same_run(folder: Path, theirs: Any, ours: Mapping[str, Any]) -> None:
    theirs = theirs if isinstance(theirs, dict) else {}
    differ = sorted(key for key in ours.keys() | theirs.keys() if theirs.get(key) != ours.get(key))
    if differ == ["meta:structure"]:
        hint = "Go on with the spec and the --set values it was begun with, or begin a new folder. `archdsl diff` compares two specs."
        raise other_run("the spec was edited since this run was begun", folder, hint)
    if differ:
        said = ", ".join(f"{key} was {theirs.get(key)!r} and is {ours.get(key)!r}" for key in differ)
        raise other_run(f"the checkpoint belongs to another run: {said}", folder, "Use the same settings, or a new folder `out`.")


def _flat(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's numbers by `kind:weight`."""
    found = {}
    for name, parameter in model.named_parameters():
        for kind, value in optimizer.state.get(parameter, {}).items():
            if value is not None:  # plain SGD keeps an empty momentum
                found[f"{kind}:{name}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
    return found


def _unflat(file: SafetensorsFile, model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    kinds: dict[str, list[str]] = {}
    for key in file.shapes:
        kind, _, name = key.partition(":")
        kinds.setdefault(name, []).append(kind)
    for name, parameter in model.named_parameters():
        state = {}
        for kind in kinds.get(name, []) if parameter.requires_grad else []:
            key = f"{kind}:{name}"
            if kind != "step" and file.shapes[key] != tuple(parameter.shape):
                raise other_run(f"the checkpoint's optimizer does not fit `{name}`", folder, "Use the spec the run was begun with.")
            value = file.read(key)
            state[kind] = value if kind == "step" else value.to(parameter.device, parameter.dtype)
        if state:  # else it never had a gradient
            optimizer.state[parameter] = state
