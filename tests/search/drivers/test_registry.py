"""Drivers by name, and what is said about options that do not fit."""

import pytest

from archdsl.diagnostics import ArchError
from archdsl.search.drivers.registry import NAMES, driver, option_names


@pytest.mark.parametrize("name", NAMES)
def test_every_driver_is_made_by_its_name(name):
    assert driver(name).name == name
    assert {"tries", "same", "by"} <= set(option_names(name))


@pytest.mark.parametrize(
    ("name", "options", "code", "says"),
    [
        ("evolutoin", {}, "AD1020", "Did you mean `evolution`?"),
        ("evolution", {"populaton": 50}, "AD1021", "Did you mean `population`?"),
        ("evolution", {"population": "many"}, "AD1022", "`population`"),
        ("evolution", {"population": 1}, "AD1022", "greater than or equal to 2"),
        ("mcts", {"reward": "praise"}, "AD1022", "'rank', 'range' or 'value'"),
    ],
)
def test_what_does_not_fit_is_said(name, options, code, says):
    with pytest.raises(ArchError) as caught:
        driver(name, options)
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert says in str(caught.value)


def test_every_misfit_is_said_at_once():
    with pytest.raises(ArchError) as caught:
        driver("mcts", {"c": -1, "ripe": 0})
    assert [d.code for d in caught.value.diagnostics] == ["AD1022", "AD1022"]


def test_a_driver_whose_package_is_missing_says_so(monkeypatch):
    monkeypatch.setattr("archdsl.search.drivers.registry.find_spec", lambda name: None)
    with pytest.raises(ArchError) as caught:
        driver("gp")
    assert caught.value.diagnostics[0].code == "AD1023"
