"""The README and the first page of the docs show what is really there."""

from __future__ import annotations

import re

from archdsl.cli.new import starter
from tests.cli.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")


def _blocks(text: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def _body(spec: str) -> str:
    """A spec without the description that opens it."""
    return re.sub(r'\A""".*?"""\n', "", spec, flags=re.DOTALL)


def test_the_readme_shows_the_shipped_spec():
    assert _blocks(README)[0] == _body((ROOT / "specs" / "language" / "smollm2.arch").read_text(encoding="utf-8"))


def test_the_readme_python_runs(capsys):
    (example,) = _blocks(README, "python")
    exec(compile(example, "README.md", "exec"), {})
    assert re.fullmatch(r"\d+ \d+ \d+\n", capsys.readouterr().out)


def test_the_guide_shows_the_starter_and_what_check_says(run):
    assert _blocks(GUIDE)[0] == _body(starter("lm", "Tiny"))
    assert run("new", "tiny").exit_code == 0
    said = re.search(r"\$ archdsl check tiny.arch\n    (.*\n)", GUIDE)
    assert said is not None
    assert run("check", "tiny.arch").stdout == said[1]


def test_every_command_in_the_pages_exists(run):
    """Each `archdsl COMMAND …` is a command, with options that it knows."""
    found = re.findall(r"^\s{4}(?:\$ )?archdsl ([^#\n]+)", README + GUIDE, re.MULTILINE)
    assert len(found) > 15
    for line in found:
        command = line.split()[0]
        sub = line.split()[1] if command == "zoo" else ""
        usage = run(*f"{command} {sub}".split(), "--help")
        assert usage.exit_code == 0, line
        for option in re.findall(r"\s(--[a-z-]+)", line):
            assert option in usage.stdout, line
