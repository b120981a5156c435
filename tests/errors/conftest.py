"""`pytest tests/errors --bless` (or BLESS=1) rewrites what is expected."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite the expected diagnostics of tests/errors")
