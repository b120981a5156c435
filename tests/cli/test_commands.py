"""The commands that only read specs: fmt, diff, graph, explain, zoo, new, explain-error, and --help."""

from __future__ import annotations

import json
import re
import stat

import click
import pytest

from archdsl.cli.app import COMMANDS, app
from archdsl.cli.new import KINDS, arch_name, starter
from archdsl.cli.zoo import entries
from archdsl.diagnostics.index import codes, explain
from tests.cli.conftest import GOOD, ROOT

UGLY = "arch   Good(d=8){in x:[T,d]\n# kept\nreturn x->linear( d )}\n"


def commands():
    top = click.Context(app)
    for name in COMMANDS:
        command = app.get_command(top, name)
        yield name, command
        for sub in getattr(command, "commands", {}).values():
            yield f"{name} {sub.name}", sub


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_help_has_examples(run, name, command):
    result = run(*name.split(), "-h")
    assert result.exit_code == 0
    assert f"archdsl {name}" in result.stdout.partition("Examples:")[2]


def test_version(run):
    assert re.fullmatch(r"archdsl \d+\.\d+\.\d+ \(Python [\d.]+, torch .+\)\n", run("--version").stdout)


# ---- fmt ----


def test_fmt_rewrites_in_place_and_keeps_the_mode(run, tmp_path):
    path = tmp_path / "ugly.arch"
    path.write_text(UGLY)
    path.chmod(0o640)
    result = run("fmt", "ugly.arch", "good.arch")
    assert result.exit_code == 0
    assert "ugly.arch: rewritten\n" in result.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "# kept" in path.read_text()
    assert run("fmt", "--check", "ugly.arch").exit_code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.arch", "good.arch", "ugly.arch"]


def test_fmt_check_changes_nothing(run, tmp_path):
    path = tmp_path / "ugly.arch"
    path.write_text(UGLY)
    result = run("fmt", "--check", "ugly.arch")
    assert (result.exit_code, result.stdout) == (1, "ugly.arch: layout differs\n")
    assert path.read_text() == UGLY


def test_fmt_follows_a_link_to_the_file(run, tmp_path):
    (tmp_path / "ugly.arch").write_text(UGLY)
    (tmp_path / "link.arch").symlink_to("ugly.arch")
    assert run("fmt", "link.arch").exit_code == 0
    assert (tmp_path / "link.arch").is_symlink()
    assert (tmp_path / "ugly.arch").read_text() != UGLY


def test_fmt_from_standard_input(run):
    formatted = run("fmt", "-", input=UGLY).stdout
    assert formatted.startswith("arch Good(d = 8) {")
    assert run("fmt", "-", input=formatted).stdout == formatted


def test_fmt_leaves_a_broken_file_alone(run, tmp_path):
    path = tmp_path / "broken.arch"
    path.write_text("arch A {{{\n")
    assert run("fmt", "broken.arch").exit_code == 1
    assert path.read_text() == "arch A {{{\n"
    assert run("fmt", "missing.arch").exit_code == 2


# ---- diff, graph, explain ----


def test_diff(run):
    same = run("diff", "good.arch", "good.arch", "--exit-code", "--json")
    assert (same.exit_code, json.loads(same.stdout)["same"]) == (0, True)
    other = run("diff", "good.arch", "good.arch", "--set-b", "d=16", "--exit-code")
    assert other.exit_code == 1
    assert other.stdout.strip()
    assert json.loads(run("diff", "good.arch", "good.arch", "--set-b", "d=16", "--json").stdout)["same"] is False


@pytest.mark.parametrize(("suffix", "opening"), [("svg", "<svg"), ("dot", "digraph"), ("mmd", "flowchart")])
def test_graph_writes_by_suffix(run, tmp_path, suffix, opening):
    result = run("graph", "smollm2", "-o", f"out.{suffix}")
    assert result.exit_code == 0, result.output
    assert opening in (tmp_path / f"out.{suffix}").read_text()


def test_graph_refuses_other_suffixes(run):
    result = run("graph", "good.arch", "-o", "out.png")
    assert result.exit_code == 2
    assert "AD0906" in result.stderr


def test_explain_the_whole_and_a_part(run):
    whole = run("explain", "smollm2")
    assert whole.exit_code == 0, whole.output
    assert "134,515,008" in whole.stdout
    part = run("explain", "smollm2", "layers.0")
    assert part.exit_code == 0, part.output
    assert "Class: matrix state" in run("explain", "gated_linear").stdout  # a scan of the library
    wrong = run("explain", "smollm2", "layers.99")
    assert wrong.exit_code == 2


# ---- zoo ----


def test_zoo_lists_with_descriptions(run):
    lines = run("zoo", "list").stdout.splitlines()
    assert any(line.startswith("language/smollm2 ") and "SmolLM2-135M" in line for line in lines)
    assert run("zoo", "list", "smollm2-135m").stdout.count("\n") == 2  # the model, and its layers as a depth space
    assert json.loads(run("zoo", "list", "--json").stdout)["specs"]


def test_zoo_shows_and_copies(run, tmp_path):
    text = (ROOT / "specs" / "language" / "smollm2.arch").read_text()
    assert run("zoo", "show", "smollm2").stdout == text
    assert run("zoo", "copy", "smollm2", "mine.arch").exit_code == 0
    assert run("check", "mine.arch").exit_code == 0
    again = run("zoo", "copy", "smollm2", "mine.arch")
    assert again.exit_code == 2
    assert "AD0903" in again.stderr
    (tmp_path / "mine.arch").write_text("changed")
    assert run("zoo", "copy", "smollm2", "mine.arch", "--force").exit_code == 0
    assert (tmp_path / "mine.arch").read_text() == text
    assert "AD0904" in run("zoo", "show", "smolm2").stderr


def test_every_shipped_spec_can_be_copied_and_still_resolves(run, tmp_path):
    from archdsl.language.loader import Loader

    for name in entries():
        assert run("zoo", "copy", name, "copy.arch", "--force").exit_code == 0
        Loader().load(tmp_path / "copy.arch")


# ---- new ----


@pytest.mark.parametrize("kind", KINDS)
def test_starters_check_and_are_in_the_standard_layout(run, tmp_path, kind):
    assert run("new", "my-first", "--kind", kind).exit_code == 0
    text = (tmp_path / "my-first.arch").read_text()
    assert "arch MyFirst(" in text
    assert "Starter" not in text.partition("arch ")[2]
    result = run("check", "my-first.arch")
    assert result.exit_code == 0, result.output
    assert run("fmt", "--check", "my-first.arch").exit_code == 0


def test_new_never_overwrites(run, tmp_path):
    assert run("new", "good").exit_code == 2
    assert (tmp_path / "good.arch").read_text() == GOOD
    assert run("new", "good", "--force").exit_code == 0
    assert (tmp_path / "good.arch").read_text() == starter("lm", "Good")


def test_arch_names():
    assert arch_name("tiny") == "Tiny"
    assert arch_name("my-tiny_model2") == "MyTinyModel2"
    assert arch_name("RWKV") == "RWKV"


def test_a_misspelt_name_of_a_spec(run):
    assert "Did you mean `smollm2`?" in run("check", "smolm2").stderr
    assert "`archdsl zoo list`" in run("check", "nothing-like-it.arch").stderr


# ---- explain-error ----


def test_explain_error(run):
    assert run("explain-error", "901").stdout.startswith("# An option")
    assert run("explain-error", "ad0901").stdout == run("explain-error", "AD0901").stdout
    listed = run("explain-error").stdout
    assert all(code in listed for code in codes())
    unknown = run("explain-error", "AD9999")
    assert unknown.exit_code == 2
    assert "AD0905" in unknown.stderr


# The codes that the command line itself raises, and that of a part that is not there.
COMMAND_CODES = sorted(
    {code for path in (ROOT / "archdsl" / "cli").glob("*.py") for code in re.findall(r"AD09\d\d", path.read_text())} | {"AD0920"}
)


@pytest.mark.parametrize("code", COMMAND_CODES)
def test_the_error_index_shows_commands_that_fail_so(run, code):
    """The first block of a page ends in its error; a second block goes well."""
    blocks = re.findall(r"```console\n(.*?)```", explain(code) or "", re.DOTALL)
    assert blocks
    last = _play(run, blocks[0])
    assert last.exit_code == 2, last.output
    assert f"[{code}]" in last.stderr
    for block in blocks[1:]:
        result = _play(run, block)
        assert result.exit_code == 0, result.output


def _play(run, block):
    import shlex
    from pathlib import Path

    for path in Path().glob("*"):
        path.unlink()
    result = None
    for line in block.strip().splitlines():
        result = run(*shlex.split(line.removeprefix("$ archdsl ")))
    return result
