"""A spec as a depth space: what stands before and after the stack stays, the layers between are the program. All of it is text and graph."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archdsl.diagnostics import ArchError, Diagnostic, Source, Span
from archdsl.graph.ir import Published, TensorType
from archdsl.language import syntax as s
from archdsl.search.depth.program import Program, stages
from archdsl.search.depth.reading import NotAProgram, read_program

if TYPE_CHECKING:
    from archdsl.api import Spec

HINT = "Write `… -> base.before(layers) -> base.layers -> base.after(layers)`, where `base` is an arch and `layers` labels a repeat in it."


@dataclass(frozen=True)
class Skeleton:
    """A depth space: `return … -> base.before(label) -> PROGRAM -> base.after(label)`.

    start: the program that the spec itself states. depth: layers in the stack. carried: types of what the layers hand on.
    """

    spec: Spec
    declaration: s.BlockDecl
    base: str
    label: str
    start: Program
    depth: int
    carried: tuple[TensorType, ...]
    gap: tuple[int, int]  # characters of the spec's text between the two parts

    @property
    def file(self) -> s.File:
        return self.spec.namespace.file

    @cached_property
    def pretrained(self) -> Published | None:
        """The base's published weights, if it has any."""
        instance = self.spec.graph.root.instances.get(self.base)
        return instance.pretrained if instance is not None else None

    def text(self, program: Program, doc: str | None = None) -> str:
        """The spec with another program, in canonical form; doc replaces the arch's or file's docstring where it has one."""
        from archdsl.language.format import format_text

        source = self.spec.namespace.source.text
        start, end = self.gap
        middle = " -> ".join(["", *stages(program, self.base, self.label), ""])
        text = source[:start] + (middle or " -> ") + source[end:]
        if doc is not None and self.file.doc is not None:
            text = re.sub(r'^\s*""".*?"""', lambda _: f'"""{doc}"""', text, count=1, flags=re.DOTALL)
        elif doc is not None:
            text = f'"""{doc}"""\n{text.lstrip()}'
        return format_text(Source(self.spec.namespace.source.name, text))

    def with_program(self, program: Program) -> Spec:
        """The checked spec of a program. Raises ArchError, for instance where a contract fails."""
        return self.parse(self.text(program))

    def parse(self, text: str) -> Spec:
        """A spec given as text, with the parameters and the folder of this one."""
        from archdsl import api

        path = self.spec.namespace.path
        root = path.parent if path is not None else self.spec.loader.root
        return api.parse(text, name=self.spec.namespace.source.name, arch=self.spec.name, root=root, **self.spec.overrides)

    # ---- the parts that the executor runs ----

    def before(self) -> Spec:
        """The arch from its own inputs to what the first layer takes."""
        *rest, _ = self.declaration.body.statements
        flow = self._flow.stages
        cut = next(stage for stage in flow if _part(stage, "before"))
        return self._arch([*(line.span.text for line in rest), f"return {flow[0].span.to(cut.span).text}"])

    def after(self) -> Spec:
        """The arch from what the last layer gives to its outputs."""
        flow = self._flow.stages
        cut = next(stage for stage in flow if _part(stage, "after"))
        return self._within(cut.span.to(flow[-1].span).text)

    def layer(self, index: int) -> Spec:
        """One layer, from the carried values to the carried values."""
        return self._within(f"{self.base}.{self.label}[{index}]")

    @property
    def _flow(self) -> s.Pipe:
        last = self.declaration.body.statements[-1]
        assert isinstance(last, s.Return) and isinstance(last.values[0], s.Pipe)
        return last.values[0]

    def _within(self, stages: str) -> Spec:
        """An arch from the carried values through stages."""
        names = [f"carried_{i}" for i in range(len(self.carried))]
        types = [f"{kind}{' lengths' if any(a.ragged for a in kind.axes) else ''}" for kind in self.carried]
        first = names[0] if len(names) == 1 else f"({', '.join(names)})"
        return self._arch([*(f"in {n}: {t}" for n, t in zip(names, types)), *self._base(), f"return {first} -> {stages}"])

    def _base(self) -> list[str]:
        """The binding of the base, and those it needs."""
        wanted, kept = {self.base}, []
        for bind in reversed([b for b in self.declaration.body.statements if isinstance(b, s.Bind)]):
            if wanted & {target.id for target in bind.targets}:
                kept.append(bind.span.text)
                wanted |= set(re.findall(r"\w+", bind.value.span.text))
        return kept[::-1]

    def _arch(self, lines: list[str]) -> Spec:
        """The file with the arch's body replaced and without contracts, which speak of the whole."""
        body = self.declaration.body
        edits = [(body.span, "{\n" + "\n".join(lines) + "\n}")]
        edits += [(e.span, "") for e in self.spec.namespace.expects]
        text = self.spec.namespace.source.text
        for span, new in sorted(edits, key=lambda edit: -edit[0].start):
            text = text[: span.start] + new + text[span.end :]
        return self.parse(text)


def find_skeleton(spec: Spec) -> Skeleton | None:
    """The spec as a depth space; None if its arch does not lead through parts of a base."""
    declaration = next((d for d in spec.namespace.archs if d.name == spec.name), None)
    flow = declaration.body.statements[-1:] if declaration is not None else []
    if declaration is None or not flow or not isinstance(flow[0], s.Return) or len(flow[0].values) != 1:
        return None
    pipe = flow[0].values[0]
    found = pipe.stages if isinstance(pipe, s.Pipe) else []
    first = next((p for p in (_part(stage, "before") for stage in found) if p), None)
    last = next((p for p in (_part(stage, "after") for stage in found) if p), None)
    if first is None or last is None or first[:2] != last[:2] or first[2].start > last[2].start:
        return None
    base, label = first[:2]
    instance = spec.graph.root.instances.get(base)
    if instance is None or instance.region is None:
        return None
    stack = next((n for n in instance.region.nodes if n.op == "repeat" and n.instance is not None and n.instance.name == label), None)
    assert stack is not None and stack.instance is not None
    try:
        read = read_program(spec.graph.root)
    except NotAProgram as problem:
        raise ArchError(
            Diagnostic("AD1080", f"`{spec.name}` is not a depth program: {problem}", pipe.span, "between these two parts", hint=HINT)
        ) from None
    carried = tuple(v.type for v in stack.inputs[: stack.attrs["carried"]])
    gap = (first[2].end, last[2].start)
    return Skeleton(spec, declaration, base, label, read.program, len(stack.instance.rounds or []), carried, gap)


def skeleton(spec: Spec) -> Skeleton:
    """The spec as a depth space. Raises AD1080."""
    found = find_skeleton(spec)
    if found is None:
        raise ArchError(
            Diagnostic("AD1080", f"`{spec.name}` is not a depth program: it does not lead through a stack between two parts", hint=HINT)
        )
    return found


def load_skeleton(path: str | os.PathLike[str], **options: Any) -> Skeleton:
    """The depth space of a spec file. Raises ArchError."""
    from archdsl import api

    return skeleton(api.load(Path(path), **options))


def _part(stage: s.Expr, which: str) -> tuple[str, str, Span] | None:
    """`base.before(label)` as (base, label, where it stands)."""
    if not isinstance(stage, s.Call) or not isinstance(stage.function, s.Attribute) or stage.function.name != which:
        return None
    if not isinstance(stage.function.value, s.Name) or len(stage.arguments) != 1 or not isinstance(stage.arguments[0].value, s.Name):
        return None
    return stage.function.value.id, stage.arguments[0].value.id, stage.span
