"""Paired times: loop, form, loop, form, …; a ratio for each pair, and their median. Runs of a few milliseconds are repeated and averaged.

Both sides of a pair are the same emitted module on the same inputs. The loop calls its `cell` for the slices that one `unbind` gives, so no
side pays for indexing; what a step computes from the inputs alone it computes in each step, as written. The forms do that once before.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from archdsl.bench.cases import Call, Case

LEAST = 0.2  # seconds that one measurement takes at least: threads awake, caches warm
LONG = 4.0  # seconds of one run from which the loop is not run again


def measure(
    case: Case,
    pairs: int = 5,
    wanted: tuple[str, ...] = ("kernel", "torch"),
    compiled: bool = False,
    budget: float = 4.0,
    peers: bool = True,
) -> list[dict]:
    """A row for each form and peer. budget: GiB that the loop may keep for its backward pass; beyond, only the forward pass is compared."""
    loop, leaves = case.loop(), case.leaves
    fits = case.loop_bytes() <= budget * 2**30
    contenders = {name: (call, leaves, True) for name, call in case.forms(wanted).items()}
    if peers:
        contenders |= {name: (call, own, False) for name, (call, own) in case.peers(compiled).items()}
    with torch.no_grad():
        wanted_result = loop()
    kept = _kept(loop, leaves) if fits else None
    rows = []
    for name, (call, own, same) in contenders.items():
        row = _head(case)
        row |= {"form": name, "error": None, "forward": _pairs(loop, leaves, call, own, pairs, False), "training": None}
        if same:
            with torch.no_grad():
                row["error"] = _error(call(), wanted_result)
        row |= {"kept": _kept(call, own), "loop_kept": kept}
        if fits:
            row["training"] = _pairs(loop, leaves, call, own, pairs, True)
        rows.append(row)
    return rows


def _head(case: Case) -> dict[str, Any]:
    """What a row is about."""
    return {"scan": case.name, "class": case.kind, "shape": vars(case.shape), "dtype": str(case.dtype).removeprefix("torch.")}


def against_associative(case: Case, pairs: int = 5, budget: float = 0.25) -> dict[str, Any] | None:
    """The kernel in turn with torch's compiled associative_scan, as a row whose ratios are associative_scan / kernel.

    None where three copies of the states of all steps take more than `budget` GiB: associative_scan keeps more of them than that.
    """
    if case.loop_bytes() > budget * 2**30:
        return None
    kernel, peer, leaves = case.forms(("kernel",))["kernel"], case.associative(), case.leaves
    _run(peer, leaves, True)  # compiles
    with torch.no_grad():
        error = _error(kernel(), peer())
    return {
        **_head(case),
        "form": "kernel",
        "error": error,
        "kept": _kept(kernel, leaves),
        "loop_kept": _kept(peer, leaves),
        "forward": _pairs(peer, leaves, kernel, leaves, pairs, False),
        "training": _pairs(peer, leaves, kernel, leaves, pairs, True),
    }


def _pairs(loop: Call, leaves: list[Tensor], call: Call, own: list[Tensor], pairs: int, training: bool) -> dict[str, float]:
    """Median ratio loop / form, and both medians in milliseconds. A loop of many seconds runs once."""
    first, again = _warm(loop, leaves, training), _warm(call, own, training)
    repeats = _repeats(first), _repeats(again)
    if first > LONG:
        times = [(first, _seconds(call, own, training, repeats[1]))]
    else:
        times = [(_seconds(loop, leaves, training, repeats[0]), _seconds(call, own, training, repeats[1])) for _ in range(pairs)]
    ratios = [a / b for a, b in times]
    slow, fast = (statistics.median(column) * 1000 for column in zip(*times))
    return {
        "ratio": round(statistics.median(ratios), 3),
        "least": round(min(ratios), 3),
        "loop_ms": round(slow, 4),
        "form_ms": round(fast, 4),
    }


def _run(call: Call, leaves: list[Tensor], training: bool) -> None:
    if not training:
        with torch.no_grad():
            call()
        return
    y = call()
    torch.autograd.grad(y, leaves, torch.ones_like(y), allow_unused=True)


def _seconds(call: Call, leaves: list[Tensor], training: bool, repeats: int) -> float:
    gc.collect()
    start = time.perf_counter()
    for _ in range(repeats):
        _run(call, leaves, training)
    return (time.perf_counter() - start) / repeats


def _warm(call: Call, leaves: list[Tensor], training: bool) -> float:
    """Seconds of a run, after one to warm up if that was short."""
    once = _seconds(call, leaves, training, 1)
    return _seconds(call, leaves, training, 1) if once < LONG / 4 else once


def _repeats(once: float) -> int:
    """How often to run for one measurement."""
    return max(1, min(200, round(LEAST / once)))


def _error(got: Tensor, wanted: Tensor) -> float:
    """Root mean square of the difference, relative to that of the loop's output."""
    return float((got - wanted).double().norm() / wanted.double().norm().clamp(min=1e-30))


def _kept(call: Call, leaves: Iterable[Tensor]) -> int:
    """Bytes that a run keeps for its backward pass, beyond inputs and weights: the storages of all saved tensors, each counted once."""
    given = {t.untyped_storage().data_ptr() for t in leaves}
    seen: dict[int, int] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in given:
            seen[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        result = call()
    total = sum(seen.values())
    del result
    return total
