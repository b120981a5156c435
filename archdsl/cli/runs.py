"""The folder of a training run, as the commands see it: checkpoints, and beside them what it takes to use these again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from archdsl.cli.failure import fail
from archdsl.cli.files import write
from archdsl.cli.options import pairs

SETTINGS, TOKENIZER = "settings.json", "tokenizer.json"
MAX_BYTES = 1 << 16


def keep(folder: Path, settings: tuple[str, ...], tokenizer: Any) -> None:
    """Writes the --set values, and the tokenizer if the task has one, into a run's folder. Raises AD0902."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if tokenizer is not None:
            tokenizer.save(folder / TOKENIZER)
    except OSError as error:
        raise fail("AD0902", f"cannot write in {folder}", note=str(error), hint="Choose another folder.") from None
    write(folder / SETTINGS, json.dumps(pairs(settings, "--set"), indent=1) + "\n")


def newest(folder: Path) -> Path:
    """The weights in a run's newest checkpoint; the folder itself if it is none of a run (it may be a Hugging Face folder)."""
    checkpoints = sorted(p for p in folder.glob("step-*/model.safetensors") if p.is_file())
    return checkpoints[-1] if checkpoints else folder


def trained_with(folder: Path, settings: tuple[str, ...]) -> tuple[str, ...]:
    """The --set values of a run, under those given now."""
    try:
        path = folder / SETTINGS
        kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and path.stat().st_size <= MAX_BYTES else {}
    except (OSError, ValueError):
        kept = {}
    given = pairs(settings, "--set")
    known = {str(k): str(v) for k, v in kept.items()} if isinstance(kept, dict) else {}
    return tuple(f"{name}={value}" for name, value in (known | given).items())
