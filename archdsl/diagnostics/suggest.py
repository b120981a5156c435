"""Did-you-mean: the known name nearest to a misspelt one."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: str, options: Iterable[str]) -> str | None:
    """The option nearest to `name`, or None if none is near enough to be worth saying."""
    import difflib

    names = sorted({o for o in options if o})
    lowered = {o.lower(): o for o in reversed(names)}
    if name.lower() in lowered and lowered[name.lower()] != name:
        return lowered[name.lower()]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.66)
    return near[0] if near else None


def suggestion(name: str, options: Iterable[str], otherwise: str = "") -> str:
    """A hint sentence for an unknown name."""
    near = did_you_mean(name, options)
    return f"Did you mean `{near}`?" if near else otherwise
