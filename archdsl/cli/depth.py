"""`archdsl search` on a depth space: a spec that leads through the layers of a pretrained stack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import echo_json
from archdsl.cli.options import load_spec, pairs

if TYPE_CHECKING:
    from archdsl.search.depth.run import Settings
    from archdsl.search.depth.skeleton import Skeleton

# options of `archdsl search` that speak of training, which a depth search does not do
_TRAINING = ("goals", "limits", "driver_options", "steps", "lr", "storage", "baselines", "jobs", "resume")
_NUMBERS = ("chosen", "screen", "search", "held_out", "oracle", "simulations", "memory")


def depth_space(file: str, settings: tuple[str, ...], arch: str | None) -> Skeleton | None:
    """The file's depth space; None if it is a study, or a spec without one, or one whose own choices are the space."""
    from archdsl.search.depth.skeleton import find_skeleton

    if file.endswith((".yaml", ".yml")):
        return None
    from archdsl.api import find, load

    if not find(file).is_file():
        return None
    given: dict[str, Any] = dict(pairs(settings, "--set"))
    spec = load(file, arch=arch, contracts=False, **given)  # a space's defaults need not meet what its points must
    return None if spec.decisions else find_skeleton(load_spec(file, settings, arch))


def search_depth(space: Skeleton, out: str | None, dry: bool, as_json: bool, given: dict[str, Any]) -> None:
    """Runs the search, telling how it goes on standard error; the report goes to standard output and into the folder."""
    from archdsl.search.depth.run import run_depth

    unfit = [name for name in _TRAINING if given[name] not in (None, (), False)]
    if unfit:
        option = {"goals": "goal", "limits": "limit", "driver_options": "driver-option"}.get(unfit[0], unfit[0])
        raise click.UsageError(f"--{option} is for searches that train; this one changes the order of pretrained layers.")
    folder = Path(out) if out is not None else Path("runs") / space.spec.name
    report = run_depth(space, _settings(given), folder, lambda line: click.echo(line, err=True), dry)
    if report is None:
        click.echo("Nothing was run (--dry-run).", err=True)
    elif as_json:
        echo_json({"ok": True, "folder": str(folder), **report.data()})
    else:
        click.echo(report.markdown(), nl=False)


def _settings(given: dict[str, Any]) -> Settings:
    """The options of the command as a depth search's settings. Raises AD1083."""
    from archdsl.search.depth.run import Settings, wrong
    from archdsl.search.depth.search import SEARCHES

    chosen: dict[str, Any] = {name: given[name] for name in ("seed", "batch") if given[name] is not None}
    options = pairs(given["task_options"], "--option")
    if given["budget"] is not None:
        options["budget"] = given["budget"]
    if given["task"] is not None:
        chosen["tasks"] = tuple(name.strip() for name in given["task"].split(","))
    if given["driver"] is not None:
        chosen["searches"] = tuple(name.strip() for name in given["driver"].split(","))
    for name, text in options.items():
        if name not in ("budget", *_NUMBERS):
            raise wrong(f"a depth search has no option `{name}`", f"Its options: {', '.join(_NUMBERS)}. Searches: {', '.join(SEARCHES)}.")
        if not text.isascii() or not text.isdigit() or len(text) > 12:
            raise wrong(
                f"`{name}` is `{text}`; a whole number is needed", "The budget is a number of programs for each search: `--budget 100`."
            )
        chosen[name] = int(text)
    return Settings(**chosen)
