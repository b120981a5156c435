"""Drivers by name, with their options checked."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from archdsl.diagnostics import ArchError, Diagnostic, suggestion
from archdsl.search.base import Driver

_WHERE = {
    "random": "uniform:Random",
    "exhaustive": "exhaustive:Exhaustive",
    "tpe": "tpe:Tpe",
    "nsga2": "nsga:Nsga2",
    "nsga3": "nsga:Nsga3",
    "gp": "gp:Gp",
    "cmaes": "cma:Cmaes",
    "evolution": "evolution:Evolution",
    "mcts": "mcts:Mcts",
    "policy": "policy:Policy",
}
NAMES = tuple(_WHERE)
_NEEDS = {"gp": "scipy", "cmaes": "cmaes"}  # packages that the others do without


def driver(name: str, options: Mapping[str, Any] | None = None) -> Driver:
    """The driver of that name. Raises ArchError: AD1020 unknown name, AD1021 unknown option, AD1022 a value that does not fit, AD1023 a
    package that is missing."""
    kind = _kind(name)
    package = _NEEDS.get(name)
    if package is not None and find_spec(package) is None:
        raise ArchError(
            Diagnostic(
                "AD1023", f"the driver `{name}` needs the package {package}", hint='Install it with `pip install "archdsl[search]"`.'
            )
        )
    return kind(_checked(name, kind.options_type, dict(options or {})))


def option_names(name: str) -> tuple[str, ...]:
    """The options that the driver of that name takes. Raises ArchError AD1020."""
    return tuple(_kind(name).options_type.model_fields)


def _kind(name: str) -> Any:
    if name not in _WHERE:
        raise ArchError(
            Diagnostic("AD1020", f"there is no driver `{name}`", note=f"Drivers: {', '.join(NAMES)}.", hint=suggestion(name, NAMES))
        )
    module, kind = _WHERE[name].split(":")
    return getattr(import_module(f"archdsl.search.drivers.{module}"), kind)


def _checked(name: str, kind: Any, options: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    known = tuple(kind.model_fields)
    for option in options:
        if option not in known:
            raise ArchError(
                Diagnostic(
                    "AD1021",
                    f"the driver `{name}` has no option `{option}`",
                    note=f"Its options: {', '.join(known)}.",
                    hint=suggestion(str(option), known),
                )
            )
    try:
        return kind(**options)
    except ValidationError as error:
        raise ArchError(*(_misfit(name, problem) for problem in error.errors())) from None


def _misfit(name: str, problem: Any) -> Diagnostic:
    option = ".".join(str(part) for part in problem["loc"])
    says = problem["msg"][0].lower() + problem["msg"][1:]
    return Diagnostic("AD1022", f"the option `{option}` of the driver `{name}` does not fit: {says}, got {problem['input']!r}")
