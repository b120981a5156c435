"""Writing one class: what it owns, how it begins, its whole form and its step forms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archdsl.compiler import text
from archdsl.compiler.body import write_body
from archdsl.compiler.flow import Flow
from archdsl.compiler.kernels import converted, step_lines
from archdsl.compiler.members import empty, init_literal, member, plain, safe, stand_in, taken
from archdsl.compiler.method import Method
from archdsl.compiler.names import identifier
from archdsl.compiler.plan import Plan
from archdsl.graph.ir import Instance, Region, Value
from archdsl.primitives import TABLE
from archdsl.primitives.library import index

if TYPE_CHECKING:
    from archdsl.compiler.file import FileWriter

OWN = "@"  # stands for the class's own name until it is known


class ModuleWriter:
    """The class of one region."""

    def __init__(self, file: FileWriter, region: Region):
        self.file, self.region = file, region
        self.plan: Plan = file.plan
        self.kernel = converted(region)

    def text(self) -> str:
        """Source of the class, with OWN for its name."""
        parts = [f"class {OWN}(nn.Module):\n", f'    """{self._doc()}"""\n', *self._init_table(), *self._draws()]
        if self.kernel is not None:
            parts += step_lines(self.kernel)
        for method in ["".join(self._constructor()), *self._methods()]:
            parts += ["\n", method] if method else []
        return "".join(parts)

    # ---- parts ----

    def _doc(self) -> str:
        region = self.region
        shown = [f"{k}={plain(v)}" for k, v in region.params.items() if isinstance(v, bool | int | float | str)]
        title = identifier(region.name) + (f"({', '.join(shown)})" if shown else "")
        types = [v.type for v in region.outputs]
        given = ", ".join(f"{v.name or 'x'} {v.type}" for v in region.all_inputs)
        line = f"{title}: {given} -> {', '.join(map(str, types))}."
        return safe(line if len(line) <= 104 else line[:101] + "...")

    def _init_table(self) -> list[str]:
        entries = []
        for name, instance in self.region.instances.items():
            for part, weight in instance.weights.items():
                entries.append((f"{name}.{part}" if part else name, init_literal(weight.init)))
        if not entries:
            return []
        if len(entries) == 1:
            return ["\n", text.statement("init = ", f'{{"{entries[0][0]}": {entries[0][1]}}}', 1)]
        return ["\n", "    init = {\n", *(f'        "{name}": {value},\n' for name, value in entries), "    }\n"]

    def _draws(self) -> list[str]:
        names = self.file.inversions.draws(self.region)
        return [f"\n    draws = ({', '.join(f'{chr(34)}{n}{chr(34)}' for n in names)},)\n"] if names else []

    def _constructor(self) -> list[str]:
        loops = {
            identifier(n.instance.name): n.attrs["count"] for n in self.region.nodes if n.op == "loop" and n.attrs["named"] and n.instance
        }
        like = stand_in(self.region)
        if not (self.region.instances or self.region.aux or self.region.taps or self.kernel or loops or like):
            return []
        lines = ["    def __init__(self) -> None:\n", "        super().__init__()\n"]
        for instance in self.region.instances.values():
            lines.append(self._member(instance))
        if self.kernel is not None:
            self.file.support.add("scan_kernel")
            lines.append("        self.kernel = scan_kernel(self.step_text)\n")
        if like:
            lines.append(f'        self.register_buffer("{like}", torch.empty(0), persistent=False)  # has the dtype of the model\n')
        if loops:
            table = ", ".join(f'"{name}": {count}' for name, count in loops.items())
            lines.append(f"        self.loop_counts = {{{table}}}\n")
        if self.region.aux:
            lines.append("        self.aux: dict[str, Tensor] = {}\n")
        if self.region.taps:
            lines.append("        self.taps: dict[str, Tensor] = {}\n")
            lines.append("        self.tapping = False\n")
        return lines

    def _member(self, instance: Instance) -> str:
        name = identifier(instance.name)
        bare = instance.weights.get("")
        if bare is not None and not bare.trainable:
            return text.statement("", f'self.register_buffer("{name}", {empty(bare)})', 2)
        if bare is not None:
            target = f"self.{name}" if not taken(name) else f'self._parameters["{name}"]'
            return text.statement(f"{target} = ", f"nn.Parameter({empty(bare)})", 2)
        return text.statement(f"{member(instance)} = ", self._made(instance), 2)

    def _made(self, instance: Instance) -> str:
        """Source that makes an instance."""
        if instance.rounds is not None:
            names = [self.file.class_of(r) for r in instance.rounds]
            if len(names) > 1 and len(set(names)) == 1:
                return f"nn.ModuleList({names[0]}() for _ in range({len(names)}))"
            return f"nn.ModuleList([{', '.join(f'{n}()' for n in names)}])"
        if instance.region is not None:
            return f"{self.file.class_of(instance.region)}()"
        made = TABLE[instance.op].module(instance.node) if instance.op in TABLE and instance.node is not None else None
        if made is not None:
            self.file.support |= text.usage(made)[0].keys() & index().keys()
            return text.tidy(made)
        self.file.support.add("Weights")
        fixed = [f'"{n}"' for n, w in instance.weights.items() if not w.trainable]
        parts = [f"buffers=({', '.join(fixed)},)"] if fixed else []
        parts += [f"{identifier(n)}={empty(w)}" for n, w in instance.weights.items()]
        return text.tidy(f"Weights({', '.join(parts)})")

    def _methods(self) -> list[str]:
        from archdsl.compiler.inversion import write_inverses
        from archdsl.compiler.root import root_methods
        from archdsl.compiler.scans import scan_methods

        if self.region.kind == "scan":
            return scan_methods(self)
        if self.region is self.plan.graph.root:
            return root_methods(self) + write_inverses(self)
        methods = [self.whole("forward")]
        methods += [self._step(flow) for flow in self.plan.variants.get(id(self.region), [])]
        return methods + write_inverses(self)

    def whole(self, name: str) -> str:
        """The whole-sequence form."""
        method = Method(self, None, self.plan.of(self.region, None))
        values = method.parameters(self.region.all_inputs)
        declared = ["self", *values, *method.extras()]
        write_body(method)
        return self.finish(method, name, declared, returned(self.region.outputs))

    def _step(self, flow: Flow) -> str:
        """A step form: inputs hold the new positions only."""
        method = Method(self, flow, self.plan.of(self.region, flow))
        values = method.parameters(self.region.all_inputs)
        declared = ["self", *values, "state: dict", "clock: Clock", *method.extras()]
        self.file.support.add("Clock")
        write_body(method)
        return self.finish(method, self.plan.method(flow), declared, returned(self.region.outputs))

    def finish(self, method: Method, name: str, declared: list[str], result: str, doc: str = "") -> str:
        """Signature, docstring, sizes, body."""
        head = f"    def {name}({', '.join(declared)}) -> {result}:\n"
        if len(head) > text.WIDTH + 1:
            inner = f"        {', '.join(declared)}\n"
            if len(inner) > text.WIDTH + 1:
                inner = "".join(f"        {d},\n" for d in declared)
            head = f"    def {name}(\n{inner}    ) -> {result}:\n"
        written = f'        """{doc}"""\n' if doc else ""
        return head + written + "".join(method.prologue()) + "".join(method.lines)


def returned(values: list[Value]) -> str:
    """The annotation of what a method returns."""
    return "Tensor" if len(values) == 1 else f"tuple[{', '.join(['Tensor'] * len(values))}]"


__all__ = ["OWN", "ModuleWriter", "returned"]
