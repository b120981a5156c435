"""Writes docs/activations.md: what each activation of the library is like, read off its formula."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

from written import main

from archdsl.analysis.activations import NAMED, Properties, library, properties
from archdsl.graph.acts import Act

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "activations.md"
SOURCE = ROOT / "specs" / "std" / "activations.arch"
HEAD = """# Activations

Written by `make docs` from the formulas in specs/std/activations.arch (see `archdsl.analysis.activations`), with static arguments and learned
parameters at their defaults.

- range: of the values; an end may be a limit. lowest: where the smallest value is taken, if at one place alone.
- rises: whether it never falls (or never rises). smooth: how many derivatives are continuous, -1 where the value itself jumps; ∞ for formulas
  without sides, 2+ where sides meet at least that smoothly.
- flat: to which side it levels off. centre: f(0), then mean and standard deviation of its values on standard normal numbers. An activation is
  zero-centred where that mean is 0.
- learned: parameters trained with the model. A slope marked * is declared, not derived from the formula.

`archdsl.analysis.entropy` asks what an activation does to the entropy of its inputs, for the densities that a model really meets:
`entropy_gain(slope, samples)` is E[log f'] in nats, and `correction(slope, bend, samples, at)` the change of f that lowers it most (how `crrelu`
was found; arXiv:2405.12954).
"""
COLUMNS = "| activation | formula | range | lowest | rises | smooth | flat | odd, even | centre | learned | from |\n" + "|---" * 11 + "|\n"


def page() -> str:
    """The whole page."""
    notes, sections = _read()
    parts = [HEAD]
    for title, names in sections.items():
        rows = [_row(library()[name], notes.get(name, "")) for name in names]
        parts.append(f"## {title.capitalize()}\n\n{COLUMNS}" + "".join(rows))
    return "\n".join(parts)


def _read() -> tuple[dict[str, str], dict[str, list[str]]]:
    """The remark behind each act, and the acts below each heading."""
    notes: dict[str, str] = {}
    sections: dict[str, list[str]] = {"functions of the language": list(NAMED)}
    title = ""
    for line in SOURCE.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"# ---- (.*)", line):
            title = heading[1]
            sections[title] = []
        elif declared := re.match(r"act (\w+)\(", line):
            sections[title].append(declared[1])
            notes[declared[1]] = line.partition("#")[2].strip()
    return notes, sections


def _row(act: Act, note: str) -> str:
    formula = f"`{' '.join(re.sub(r'#.*', '', act.text, flags=re.MULTILINE).split())}`".replace("|", "\\|") + ("*" if act.custom else "")
    learned = ", ".join(p.name for p in act.learned)
    name = act.name + (f"({', '.join(n for n, _ in act.statics)})" if act.statics else "")
    if len(act.inputs) > 1:
        return f"| {name} | {formula} |" + " |" * 7 + f" {learned} | {note} |\n"
    p = properties(act)
    return f"| {name} | {formula} | {' | '.join(_cells(p))} | {learned} | {note} |\n"


def _cells(p: Properties) -> list[str]:
    lowest = f"{_number(p.minimum[1], 5)} at {_number(p.minimum[0], 5)}" if p.minimum else ""
    rises = {"rising": "yes", "falling": "falls", "": "no"}[p.monotone]
    smooth = "∞" if p.smooth == math.inf else "2+" if p.smooth == 2 else str(int(p.smooth))
    flat = {(False, False): "", (True, False): "left", (False, True): "right", (True, True): "both"}[p.flat]
    centre = f"{_number(p.at_zero)}; {_number(p.mean)}, {_number(p.std)}"
    return [f"{_number(p.low)} … {_number(p.high)}", lowest, rises, smooth, flat, p.symmetry, centre]


def _number(x: float, digits: int = 3) -> str:
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    return f"{round(x, digits) + 0.0:.{digits}f}".rstrip("0").rstrip(".") or "0"


if __name__ == "__main__":
    sys.exit(main(PAGE, page))
