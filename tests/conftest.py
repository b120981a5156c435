"""What all tests share: `--row SLUG`, and the same random numbers in each test.

torch is never imported here, so that quick tests stay quick.
"""

from __future__ import annotations

import os
import random
import sys

import pytest

if os.environ.get("PYTEST_XDIST_WORKER"):  # one thread per worker: workers already share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--row", action="append", default=[], metavar="SLUG", help="run exactly the proofs of this catalogue row, slow ones too"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--row"):
        config.option.markexpr = ""  # lifts the default `not slow`


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted = set(config.getoption("--row"))
    if not wanted:
        return
    proofs = {item: {slug for mark in item.iter_markers("row") for slug in mark.args} for item in items}
    missing = wanted - set().union(*proofs.values())
    if missing and not hasattr(config, "workerinput"):
        raise pytest.UsageError(f"no test is marked row({', '.join(sorted(missing))})")
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
