"""What all tests share: `--row SLUG`, and the same random numbers in each test.

torch is never imported here, so that quick tests stay quick.
"""

from __future__ import annotations

import os
import random
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

CATALOGUE = Path(__file__).parents[1] / "docs" / "catalogue.yaml"

if os.environ.get("PYTEST_XDIST_WORKER"):  # one thread per worker: workers already share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--row", action="append", default=[], metavar="SLUG", help="run exactly the proofs of this catalogue row, slow ones too"
    )


def pytest_configure(config: pytest.Config) -> None:
    wanted = config.getoption("--row")
    if not wanted:
        return
    config.option.markexpr = ""  # lifts the default `not slow`
    if CATALOGUE.is_file():  # said before hundreds of tests are collected, and once where workers do that
        rows = re.findall(r"^- slug: (\S+)", CATALOGUE.read_text(encoding="utf-8"), re.MULTILINE)
        if unknown := [slug for slug in wanted if slug not in rows]:
            raise pytest.UsageError("\n".join(f"no row is called {slug}.{_nearest(slug, rows)}" for slug in unknown))


def _nearest(slug: str, slugs: Iterable[str]) -> str:
    from archdsl.diagnostics.suggest import did_you_mean

    near = did_you_mean(slug, slugs)
    return f" Did you mean {near}?" if near else " docs/catalogue.yaml has them all."


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("--row"))
    if not wanted:
        return
    proofs = {item: {slug for mark in item.iter_markers("row") for slug in mark.args} for item in items}
    missing = wanted - set().union(*proofs.values())
    if missing and not hasattr(config, "workerinput"):
        raise pytest.UsageError(f"no test is marked row({', '.join(sorted(missing))}): no proof is written yet, or not in what was collected")
    config.hook.pytest_deselected(items=[item for item in items if not proofs[item] & wanted])
    items[:] = [item for item in items if proofs[item] & wanted]


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Seeds what is loaded."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
