"""What a study says at its end on the terminal: the best trials, the verdict, and where everything is."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from archdsl.search.fronts import order
from archdsl.search.report import Written
from archdsl.search.settings import said
from archdsl.search.study import Outcome
from archdsl.search.verdict import stamp


def show_results(outcome: Outcome, written: Written, colour: bool, shown: int = 8) -> None:
    """The best trials as one table, the verdict, and where everything is."""

    settings, best = outcome.settings, {t.number for t in outcome.winners}
    ranked = [t for group in order(outcome.trials["search"], settings.goals) for t in group if t.feasible][:shown]
    others = [m for m in ("params", "accuracy", "state_bytes", "latency_ms") if m not in {g.metric for g in settings.goals}]
    others = [m for m in others if any(m in t.metrics for t in ranked)]
    table = Table(box=None, pad_edge=False, title=f"Best of {len(outcome.trials['search'])} trials", title_justify="left")
    for name in ("trial", *(g.metric for g in settings.goals), *others, "from"):
        table.add_column(name, justify="left" if name == "from" else "right")
    for t in ranked:
        cells = [f"{t.number}{' *' if t.number in best else '  '}", *map(said, t.values or ())]
        cells += [said(t.metrics[m]) if m in t.metrics else "" for m in others]
        table.add_row(*cells, ", ".join(map(str, t.parents)), style="bold" if colour and t.number in best else None)
    console = Console(width=None if colour else 120, no_color=not colour, highlight=False)
    console.print()
    if ranked:
        console.print(table)
        console.print()
    for line in [*filter(None, [stamp(outcome)]), *written.verdict]:
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    for path in (written.report, *written.winners):
        console.print(f"wrote {path}", markup=False, soft_wrap=True)
