"""Writing one class: what it owns, how it begins, its whole form and its step forms."""

from __future__ import annotations

from archdsl.compiler import text
from archdsl.compiler.body import write_body
from archdsl.compiler.context import Context
from archdsl.compiler.inverting import write_inverses
from archdsl.compiler.kernels import converted, step_lines
from archdsl.compiler.members import empty, init_literal, member, plain, safe, stand_in, taken
from archdsl.compiler.method import Method, returned
from archdsl.compiler.names import identifier
from archdsl.compiler.plan import Variant
from archdsl.compiler.root import root_methods
from archdsl.compiler.scans import scan_methods
from archdsl.graph.ir import Instance, Region
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.library import index
from archdsl.structural import TABLE as STRUCTURAL

OWN = "@"  # stands for the class's own name until it is known


class ModuleWriter:
    """The class of one region."""

    def __init__(self, context: Context, region: Region):
        self.context, self.region = context, region
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
        names = self.context.inversions.draws(self.region)
        return [f"\n    draws = ({', '.join(f'{chr(34)}{n}{chr(34)}' for n in names)},)\n"] if names else []

    def _constructor(self) -> list[str]:
        loops = self._loops()
        like = stand_in(self.region)
        if not (self.region.instances or self.region.aux or self.region.taps or self.kernel or loops or like):
            return []
        lines = ["    def __init__(self) -> None:\n", "        super().__init__()\n"]
        for instance in self.region.instances.values():
            lines.append(self._member(instance))
        if self.kernel is not None:
            self.context.support.add("scan_kernel")
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

    def _loops(self) -> dict[str, int]:
        """The loops that a built module may run more or less often."""
        found = {}
        for node in self.region.nodes:
            count = STRUCTURAL[node.op].counted(node) if node.op in STRUCTURAL else None
            if count is not None and node.instance is not None:
                found[identifier(node.instance.name)] = count
        return found

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
            names = [self.context.classes[r] for r in instance.rounds]
            if len(names) > 1 and len(set(names)) == 1:
                return f"nn.ModuleList({names[0]}() for _ in range({len(names)}))"
            return f"nn.ModuleList([{', '.join(f'{n}()' for n in names)}])"
        if instance.region is not None:
            return f"{self.context.classes[instance.region]}()"
        made = PRIMITIVES[instance.op].module(instance.node) if instance.op in PRIMITIVES and instance.node is not None else None
        if made is not None:
            called = made.partition("(")[0]
            self.context.support |= {called} & index().keys()
            return text.tidy(made)
        self.context.support.add("Weights")
        fixed = [f'"{n}"' for n, w in instance.weights.items() if not w.trainable]
        parts = [f"buffers=({', '.join(fixed)},)"] if fixed else []
        parts += [f"{identifier(n)}={empty(w)}" for n, w in instance.weights.items()]
        return text.tidy(f"Weights({', '.join(parts)})")

    def _methods(self) -> list[str]:
        context, region = self.context, self.region
        if region.kind == "scan":
            return scan_methods(context, region, self.kernel)
        own = root_methods(context) if region is context.graph.root else _forms(context, region)
        return own + write_inverses(context, region)


def _forms(context: Context, region: Region) -> list[str]:
    """The form over whole sequences, and the step forms."""
    return [_form(context, variant) for variant in (context.plan.whole(region), *context.plan.steps.get(region, []))]


def _form(context: Context, variant: Variant) -> str:
    """One form; the inputs of a step form hold the new positions only."""
    method = Method(context, variant.region, variant.flow, variant.needs)
    declared = ["self", *method.parameters(variant.region.all_inputs)]
    if variant.form is not None:
        context.support.add("Clock")
        declared += ["state: dict", "clock: Clock"]
    declared += method.extras()
    write_body(method)
    return method.definition(variant.form or "forward", declared, returned(variant.region.outputs))


__all__ = ["OWN", "ModuleWriter"]
