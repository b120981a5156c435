"""Whether a spec and a task go together, and what each tells the other: the task the spec's `vocab`, the spec the task's form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.tasks.base import Form, Task

if TYPE_CHECKING:
    from archdsl.api import Spec
    from archdsl.graph.ir import TensorType

_READS = {"tokens": "in tokens: int[T]", "image": "in image: [channels, H, W]", "series": "in x: [T, channels]"}


def task_options(name: str, options: Mapping[str, Any], spec: Spec) -> dict[str, Any]:
    """The options of the task `name`, with those added that the spec's input decides: whether images come as tokens, how many channels."""
    from archdsl.tasks.registry import TASKS

    known = TASKS[name].options if name in TASKS else {}
    kind = _input(spec)
    added: dict[str, Any] = {}
    if kind is None:
        return dict(options)
    if "form" in known:
        added["form"] = "tokens" if kind.kind == "int" else "series" if kind.rank == 2 else "image"
    channels = kind.sizes[0] if kind.rank == 3 else kind.sizes[-1] if kind.rank == 2 else None
    if "channels" in known and kind.kind == "float" and isinstance(channels, int):
        added["channels"] = channels
    return added | dict(options)


def settings_for(task: Task, parameters: Iterable[str]) -> dict[str, int]:
    """What the task gives parameters of these names: vocab, classes, size (an image's side), length (of a row),
    channels and horizon (of a forecast)."""
    form = task.form
    offers: dict[str, int] = {}
    if form.input == "tokens":
        offers |= {"vocab": max(task.vocab, form.width), "length": form.shape[0]}
    if form.output == "class":
        offers["classes"] = form.width
    if form.input == "image" and form.shape[1] == form.shape[2]:
        offers["size"] = form.shape[1]
    if form.output == "values":
        offers |= {"channels": form.width, "length": form.shape[0], "horizon": form.answer[0]}
    return {name: offers[name] for name in parameters if name in offers}


def check_task(spec: Spec, task: Task) -> None:
    """Raises AD0911 if a model of this spec cannot be trained on the task."""
    form = task.form
    problem = _input_problem(spec, task, form) or _output_problem(spec, form) or _fact_problem(spec, task, form)
    if problem:
        title, hint = problem
        takes = ", ".join(str(v.type) for v in spec.graph.root.inputs) or "nothing"
        gives = ", ".join(str(v.type) for v in spec.graph.root.outputs)
        note = f"It takes {takes} and gives {gives}; the task feeds {_feeds(form)} and asks for {_asks(form)}."
        raise ArchError(Diagnostic("AD0911", f"{spec.name} does not fit the task {task.name}: {title}", note=note, hint=hint))


def _input(spec: Spec) -> TensorType | None:
    inputs = spec.graph.root.inputs
    return inputs[0].type if len(inputs) == 1 else None


def _feeds(form: Form) -> str:
    return f"{'int' if form.input == 'tokens' else ''}{list(form.shape)}"


def _asks(form: Form) -> str:
    return {"tokens": f"logits [T, {form.width}]", "class": f"logits [{form.width}]", "values": f"numbers {list(form.answer)}"}[form.output]


def _input_problem(spec: Spec, task: Task, form: Form) -> tuple[str, str] | None:
    kind = _input(spec)
    if kind is None:
        return f"it has {len(spec.graph.root.inputs)} inputs", f"The task needs one: `{_READS[form.input]}`."
    if (kind.kind == "int") != (form.input == "tokens") or kind.rank != len(form.shape):
        return f"its input is not {_word(form.input)}", f"The task needs `{_READS[form.input]}`."
    for axis, (theirs, ours) in enumerate(zip(kind.sizes, form.shape)):
        if isinstance(theirs, int) and theirs != ours:
            return f"its input has size {theirs} where the task's has {ours} (axis {axis})", _size_hint(spec, task, axis, theirs, ours)
    rows = _embedded(spec)
    if form.input == "tokens" and rows is not None and rows < task.vocab:
        return f"the task has {task.vocab} tokens, and its table {rows}", _vocab_hint(spec, task, "vocab", task.vocab, rows)
    return None


def _output_problem(spec: Spec, form: Form) -> tuple[str, str] | None:
    sizes = spec.graph.root.outputs[0].type.sizes
    if form.output == "values":
        return _values_problem(sizes, form)
    ranks = (2,) if form.output == "tokens" else (1, 2) if form.input != "image" else (1,)
    if len(sizes) not in ranks:
        return f"it does not give {_asks(form)}", f"Let the arch return {_asks(form)}."
    name = "vocab" if len(sizes) == 2 else "classes"
    if isinstance(sizes[-1], int) and sizes[-1] < form.width:
        what = "tokens" if form.output == "tokens" else "classes"
        return f"it gives logits for {sizes[-1]} and the task has {form.width} {what}", _set_hint(spec, name, form.width)
    return None


def _values_problem(sizes: tuple[Any, ...], form: Form) -> tuple[str, str] | None:
    given = (*sizes, 1) if len(sizes) == 1 else sizes
    fits = len(given) == 2 and all(not isinstance(a, int) or a == b for a, b in zip(given, form.answer))
    hint = "Let the arch return one row of numbers for each value asked; the task's `horizon` and `channels` say how many."
    return None if fits else (f"it does not give {_asks(form)}", hint)


def _fact_problem(spec: Spec, task: Task, form: Form) -> tuple[str, str] | None:
    """A condition on sizes that data brings (`where H % 32 == 0`) and that the task's rows do not meet."""
    from archdsl.graph.polynomial import Poly, evaluate

    kind = _input(spec)
    sizes = {str(size): ours for size, ours in zip(kind.sizes if kind else (), form.shape) if isinstance(size, Poly)}
    stated = [*spec.graph.facts.stated, *(("equal" if a.relation == "==" else "divisible", a.left, a.right) for a in spec.assumptions)]
    for relation, left, right in stated:
        known = {name for side in (left, right) if isinstance(side, Poly) for name in side.symbols()}
        if not known or not known <= sizes.keys():
            continue
        a, b = evaluate(left, sizes), evaluate(right, sizes)
        if {"divisible": a % b == 0, "equal": a == b, "less_equal": a <= b}[relation]:
            continue
        rule = {"divisible": "be a multiple of", "equal": "be", "less_equal": "be at most"}[relation]
        return f"{left} is {a} and must {rule} {right}", _larger(task, a, b if relation == "divisible" else 0)
    return None


def _input_size(spec: Spec, name: str, value: int, axis: int) -> object:
    """The size of an input's axis if a parameter were set so; None if the spec does not allow that."""
    try:
        kind = _input(spec.at(**{name: value}))
    except ArchError:
        return None
    return kind.sizes[axis] if kind is not None else None


def _larger(task: Task, side: int, multiple: int) -> str:
    """How to make a task's rows fit."""
    if "scale" not in task.settings or not multiple:
        return "Choose another `length` of the task." if "length" in task.settings else "Use another spec, or other settings of this one."
    if multiple % side == 0:
        return f"Enlarge the pictures: --option scale={multiple // side * int(task.settings['scale'])}"
    border = -side % multiple
    return f"Put a border round the pictures: --option pad={border // 2 + int(task.settings['pad'])}"


def _word(kind: str) -> str:
    return {"tokens": "a sequence of tokens", "image": "an image", "series": "a series of numbers"}[kind]


def _embedded(spec: Spec) -> int | None:
    """Rows of the table that the input goes into, if it goes into one."""
    given = spec.graph.root.inputs[0]
    for node in spec.graph.root.nodes:
        if node.op == "embedding" and given in node.inputs and node.instance is not None and node.instance.weights:
            return next(iter(node.instance.weights.values())).shape[0]
    return None


def _set_hint(spec: Spec, name: str, value: int) -> str:
    if name in spec.arguments:
        return f"Set it: --set {name}={value}"
    return f"Give the arch a parameter `{name}`, which is set to {value} by itself."


def _vocab_hint(spec: Spec, task: Task, name: str, needed: int, there: int) -> str:
    other = f", or make the task smaller: --option vocab={there}" if "vocab" in task.settings else ""
    return _set_hint(spec, name, needed).rstrip(".") + other


def _size_hint(spec: Spec, task: Task, axis: int, theirs: int, ours: int) -> str:
    for name in [name for name, value in spec.arguments.items() if value == theirs and not isinstance(value, bool)]:
        if _input_size(spec, name, ours, axis) == ours:
            return f"Set it: --set {name}={ours}"
    if "scale" in task.settings and theirs > ours > 3:
        return _larger(task, ours, theirs)
    if "channels" in task.settings and theirs in (1, 3):
        return f"Set the task's: --option channels={theirs}"
    if "length" in task.settings:
        return f"Set the task's: --option length={theirs}"
    return "Write that size as a name in the arch's `in`, so that data brings it."
