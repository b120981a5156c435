"""`archdsl check`, and how errors and exit codes come out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from archdsl.cli.failure import exit_code
from archdsl.diagnostics import Diagnostic, Source, Span
from tests.cli.conftest import ROOT, process


def test_a_good_spec_gives_one_line(run):
    result = run("check", "good.arch")
    assert result.exit_code == 0
    assert result.stdout == "good.arch: ok: Good, 72 parameters, causal\n"
    assert result.stderr == ""


def test_a_shipped_spec_by_name(run):
    result = run("check", "smollm2")
    assert result.exit_code == 0
    assert "134,515,008 parameters" in result.stdout
    assert "2 contracts hold" in result.stdout


def test_a_wrong_spec_is_shown_with_its_place(run):
    result = run("check", "bad.arch")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "bad.arch:3:" in result.stderr
    assert "`linear`" in result.stderr


def test_each_file_is_checked_and_the_worst_counts(run):
    result = run("check", "missing.arch", "bad.arch", "good.arch")
    assert result.exit_code == 1
    assert "AD0604" in result.stderr
    assert "good.arch: ok" in result.stdout


def test_a_missing_file_is_not_a_wrong_spec(run):
    assert run("check", "missing.arch").exit_code == 2


def test_a_folder_and_a_binary_file_are_refused(run, tmp_path):
    (tmp_path / "raw.arch").write_bytes(b"\xff\xfe\x00")
    assert run("check", ".").exit_code == 2
    assert run("check", "raw.arch").exit_code == 2


def test_standard_input(run):
    result = run("check", "-", input="arch A { in x: [4] return x -> linear(2) }\n")
    assert result.exit_code == 0
    assert result.stdout.startswith("-: ok: A, 10 parameters")


def test_assumptions_are_listed(run, tmp_path):
    (tmp_path / "a.arch").write_text('arch A { in x: [T, 4] return x -> rearrange("(a b) d -> a b d", b=2) }\n')
    result = run("check", "a.arch")
    assert result.exit_code == 0, result.output
    assert "  assumed when it runs: T is a multiple of 2\n" in result.stdout


def test_settings_are_expressions(run):
    assert "Good, 272 parameters" in run("check", "good.arch", "--set", "d=2 * 8").stdout


@pytest.mark.parametrize("setting", ["d", "d=", "=3", "1d=3", "q=3"])
def test_bad_settings_are_usage_errors(run, setting):
    result = run("check", "good.arch", "--set", setting)
    assert result.exit_code == 2
    assert "AD0901" in result.stderr


def test_a_setting_that_does_not_parse_is_a_usage_error(run):
    result = run("check", "good.arch", "--set", "d=3 +")
    assert result.exit_code == 2
    assert "--set d" in result.stderr


def test_json_is_one_document_also_for_errors(run):
    result = run("check", "good.arch", "bad.arch", "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["ok"] is False
    good, bad = data["files"]
    assert (good["ok"], good["parameters"], good["flops"], good["causal"]) == (True, 72, "128*T", True)
    assert bad["diagnostics"][0]["place"]["line"] == 3
    assert result.stderr == ""


def test_exit_codes_follow_the_errors():
    option, spec = Source("--set d", "3 +"), Source("a.arch", "x")
    assert exit_code([]) == 0
    assert exit_code([Diagnostic("AD0301", "shapes", Span(spec, 0, 1))]) == 1
    assert exit_code([Diagnostic("AD0301", "shapes", severity="warning")]) == 0
    assert exit_code([Diagnostic("AD0101", "syntax", Span(option, 0, 1))]) == 2
    assert exit_code([Diagnostic("AD0604", "cannot read")]) == 2
    assert exit_code([Diagnostic("AD0604", "cannot read an import", Span(spec, 0, 1))]) == 1
    assert exit_code([Diagnostic("AD0803", "weights"), Diagnostic("AD0301", "shapes")]) == 1


# ---- a fresh process ----


def test_reading_commands_leave_torch_alone(tmp_path):
    """The commands that only read specs never load torch."""
    script = (
        "import sys\nfrom archdsl.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = [m for m in ('torch', 'transformers', 'pydantic', 'rich', 'numpy', 'networkx') if m in sys.modules]\n"
        "print('HEAVY', code, *heavy)\n"
    )
    spec = tmp_path / "tiny.arch"
    commands = [
        ["new", str(tmp_path / "tiny")],
        ["check", "smollm2"],
        ["check", str(spec), "--json"],
        ["fmt", "--stdout", str(spec)],
        ["explain", str(spec)],
        ["diff", str(spec), str(spec), "--set-b", "depth=2"],
        ["graph", str(spec)],
        ["zoo", "list"],
        ["explain-error", "AD0901"],
    ]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-c", script, *command],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "COLUMNS": "80"},
        )
        assert done.stdout.endswith("HEAVY 0\n"), (command, done.stdout[-300:], done.stderr)


def test_interruption_prints_one_line(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-m", "archdsl", "check", "-"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background of a script begins with it ignored
    )
    time.sleep(1.0)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err.strip()) == (130, "", "Interrupted.")


def test_a_closed_pipe_is_quiet():
    done = subprocess.run(
        f"set -o pipefail; {sys.executable} -m archdsl zoo show smollm2 | true",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # 0 if all was written before the reader left


def test_a_bug_is_called_a_bug(tmp_path):
    driver = "import archdsl.api, archdsl.cli\narchdsl.api.load = lambda *a, **k: 1 / 0\narchdsl.cli.main(['check', 'x.arch'])\n"
    plain = subprocess.run([sys.executable, "-c", driver], cwd=ROOT, capture_output=True, text=True, check=False)
    assert plain.returncode == 70
    assert "bug in archdsl" in plain.stderr
    assert "Traceback" not in plain.stderr
    debug = subprocess.run(
        [sys.executable, "-c", driver], cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "ARCHDSL_DEBUG": "1"}
    )
    assert "ZeroDivisionError" in debug.stderr
    assert "Traceback" in debug.stderr


def test_colour_only_on_a_terminal():
    assert "\x1b[" not in process("check", "nothing.arch").stderr


def test_unknown_commands_are_suggested():
    done = process("chek", "x.arch")
    assert done.returncode == 2
    assert "Did you mean `check`?" in done.stderr
