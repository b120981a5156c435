"""Writes arch_parser.py from grammars/arch.lark: `python -m archdsl.language.generate`.

Lark reads the grammar and computes the LALR(1) tables; the module written holds those tables and the words and signs of the language as
plain literals. So running the parser needs no Lark, loads in about a millisecond and embeds nothing but data.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from archdsl.share import share

STARTS = ("file", "expression")
SPLICE = 100  # added to a child's position when its list of children joins the parent's
OUTPUT = Path(__file__).with_name("arch_parser.py")
PATTERNS = {"NAME", "PRIMED", "NUMBER", "STRING"}

HEADER = '''"""Tables of the `.arch` grammar. Generated from grammars/arch.lark by `python -m archdsl.language.generate`; do not edit."""

# STATES[s][symbol]: a state to go to (>= 0), or ~rule to reduce by.
# RULES[r]: (left side, length of the right side, action or "", children: -1 for an absent option, i, or i + {splice} for a list to splice).
'''


def generate() -> str:
    """The text of arch_parser.py for the grammar as it stands."""
    from lark import Lark

    grammar = (share("grammars") / "arch.lark").read_text(encoding="utf-8")
    lark = Lark(grammar, parser="lalr", lexer="basic", start=list(STARTS), maybe_placeholders=True)
    table: Any = lark.parser.parser._parse_table
    rules = {rule: number for number, rule in enumerate(lark.rules)}
    order = _number_states(table)
    states: list[dict[str, int]] = [{} for _ in order]
    for state, number in order.items():
        for symbol, (action, argument) in sorted(table.states[state].items()):
            shifts = action.name == "Shift"
            states[number][_plain(symbol)] = order[argument] if shifts else ~rules[argument]
    for name in STARTS:
        states[order[table.end_states[name]]]["END"] = 0  # accept
    keywords, symbols = _words(lark)
    parts = [
        HEADER.format(splice=SPLICE),
        f"START = { ({name: order[table.start_states[name]] for name in STARTS})!r}\n",
        _block("KEYWORDS", "{", [f"{k!r}: {v!r}" for k, v in sorted(keywords.items())], "}"),
        _block("SYMBOLS", "{", [f"{k!r}: {v!r}" for k, v in sorted(symbols.items())], "}"),
        _block("RULES", "[", [repr(_rule(rule)) for rule in lark.rules], "]"),
        _block("STATES", "[", [repr(row) for row in states], "]"),
    ]
    return "\n".join(parts)


def _number_states(table: Any) -> dict[Any, int]:
    """States numbered in the order a walk from the start states meets them: the output depends on the grammar alone."""
    order: dict[Any, int] = {}
    queue = [table.start_states[name] for name in STARTS]
    while queue:
        state = queue.pop(0)
        if state in order:
            continue
        order[state] = len(order)
        row = table.states.get(state, {})
        queue += [row[symbol][1] for symbol in sorted(row) if row[symbol][0].name == "Shift"]
    return order


def _plain(symbol: str) -> str:
    """Lark marks tokens that leave no child with an underscore; the children of each rule are listed, so the mark goes."""
    return symbol.lstrip("_$") if symbol.isupper() else symbol


def _rule(rule: Any) -> tuple[str, int, str, tuple[int, ...]]:
    children: list[int] = []
    absent = "".join(str(int(b)) for b in rule.options.empty_indices).split("0") if rule.options.empty_indices else []
    for position, symbol in enumerate(rule.expansion):
        if absent:
            children += [-1] * len(absent[position])
        if symbol.is_term:
            children += [] if symbol.filter_out else [position]
        else:
            children.append(position + SPLICE if symbol.name.startswith("_") else position)
    if absent:
        children += [-1] * len(absent[-1])
    name = str(rule.origin.name)
    passes_on = rule.options.expand1 and len(children) == 1 and 0 <= children[0] < SPLICE
    action = str(rule.alias) if rule.alias else ("" if name.startswith("_") or passes_on else name)
    return name, len(rule.expansion), action, tuple(children)


def _words(lark: Any) -> tuple[dict[str, str], dict[str, str]]:
    keywords: dict[str, str] = {}
    symbols: dict[str, str] = {}
    for terminal in lark.terminals:
        if terminal.name in PATTERNS:
            continue
        regexp = terminal.pattern.to_regexp()
        if regexp.startswith("(?:"):
            regexp = regexp.removeprefix("(?:").removesuffix(")")
        for text in re.split(r"(?<!\\)\|", regexp):
            word = re.sub(r"\\(.)", r"\1", text)
            (keywords if word.isalpha() else symbols)[word] = _plain(terminal.name)
    return keywords, symbols


def _block(name: str, opening: str, items: list[str], closing: str) -> str:
    return f"{name} = {opening}\n" + "".join(f"    {item},\n" for item in items) + f"{closing}\n"


def main() -> None:
    OUTPUT.write_text(generate(), encoding="utf-8")
    print(f"wrote {OUTPUT}")


if __name__ == "__main__":
    main()
