"""The picture as Mermaid and as Graphviz text: open boxes are subgraphs, edges join closed boxes."""

from __future__ import annotations

from archdsl.analysis.checked import Checked, graph_of
from archdsl.analysis.views.picture import Box, Scene, ends, leaf_edges, picture
from archdsl.analysis.views.svg import LIGHT
from archdsl.graph.ir import Graph

_CATEGORIES = ("block", "weights", "table", "norm", "mixing", "control", "plain")


def to_mermaid(thing: Checked | Graph, depth: int = 2) -> str:
    """A Mermaid flowchart; blocks are opened `depth` levels down."""
    scene = picture(graph_of(thing), depth)
    lines = ["flowchart TB"]
    lines += [f"  in{i}([{_mermaid(name or 'input')}])" for i, name in enumerate(scene.inputs)]
    lines += _mermaid_boxes(scene, "  ")
    lines += [f"  out{i}([{_mermaid(label or 'output')}])" for i, label in _outputs(scene).items()]
    for source, target, label in _edges(scene):
        lines.append(f"  {source} -->|{_mermaid(label)}| {target}" if label else f"  {source} --> {target}")
    for category in _CATEGORIES:
        fill, stroke = LIGHT[category]
        members = [b.id for b in scene.walk() if b.category == category and b.scene is None]
        if members:
            lines.append(f"  classDef {category} fill:{fill},stroke:{stroke},color:#1f2937")
            lines.append(f"  class {','.join(members)} {category}")
    shared = [b.id for b in scene.walk() if b.shared]
    if shared:
        lines += ["  classDef shared stroke-dasharray:5 3", f"  class {','.join(shared)} shared"]
    return "\n".join(lines) + "\n"


def _mermaid_boxes(scene: Scene, indent: str) -> list[str]:
    lines = []
    for box in scene.boxes:
        if box.scene is not None:
            lines += [f"{indent}subgraph {box.id}[{_mermaid(_head(box))}]", *_mermaid_boxes(box.scene, indent + "  "), f"{indent}end"]
        elif box.sign:
            lines.append(f"{indent}{box.id}(({_mermaid(box.sign)}))")
        else:
            lines.append(f"{indent}{box.id}[{_mermaid(_head(box), box.detail)}]")
    return lines


def _mermaid(text: str, detail: str = "") -> str:
    """A quoted Mermaid text; signs that Mermaid or HTML reads are written as entities."""
    said = [
        t.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;").replace("#", "&num;")
        for t in (text, detail)
        if t
    ]
    return '"' + "<br/>".join(said) + '"'


def to_dot(thing: Checked | Graph, depth: int = 2) -> str:
    """A Graphviz digraph; blocks are opened `depth` levels down."""
    graph = graph_of(thing)
    scene = picture(graph, depth)
    lines = [
        f"digraph {_dot(graph.name)} {{",
        '  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=9, color="#9aa3b2", fontcolor="#6b7280"];',
    ]
    lines += [f'  in{i} [label={_dot(name or "input")}, shape=plaintext, style=""];' for i, name in enumerate(scene.inputs)]
    lines += _dot_boxes(scene, "  ")
    lines += [f'  out{i} [label={_dot(label or "output")}, shape=plaintext, style=""];' for i, label in _outputs(scene).items()]
    for source, target, label in _edges(scene):
        lines.append(f"  {source} -> {target}" + (f" [label={_dot(label)}];" if label else ";"))
    return "\n".join([*lines, "}", ""])


def _dot_boxes(scene: Scene, indent: str) -> list[str]:
    lines = []
    for box in scene.boxes:
        fill, stroke = LIGHT[box.category]
        style = ', style="rounded,filled,dashed"' if box.shared else ""
        if box.scene is not None:
            lines.append(f"{indent}subgraph cluster_{box.id} {{")
            lines.append(
                f'{indent}  label={_dot(_head(box), box.detail)}; style="rounded{",dashed" if box.shared else ""}"; color="#a3adbf";'
            )
            lines += [*_dot_boxes(box.scene, indent + "  "), f"{indent}}}"]
        elif box.sign:
            lines.append(f"{indent}{box.id} [label={_dot(box.sign)}, shape=circle, width=0.3, fixedsize=true, fillcolor=white];")
        else:
            lines.append(f'{indent}{box.id} [label={_dot(_head(box), box.detail)}, fillcolor="{fill}", color="{stroke}"{style}];')
    return lines


def _dot(text: str, detail: str = "") -> str:
    said = [t.replace("\\", "\\\\").replace('"', '\\"') for t in (text, detail) if t]
    return '"' + "\\n".join(said) + '"'


def _head(box: Box) -> str:
    return f"{box.title} {box.times}" if box.times else box.title


def _outputs(scene: Scene) -> dict[int, str]:
    return {i: label for i, _, label in ends(scene)}


def _edges(scene: Scene) -> list[tuple[str, str, str]]:
    """(from, to, label) by name; a label is said once for each value and only where the shape changes."""
    found = []
    reads: dict[str, set[str]] = {}
    edges = [
        (b.id if (b := e.source) is not None else f"in{e.output}", e.target.id, e.label, e.output) for e in leaf_edges(scene) if e.target
    ]
    edges += [(s.id if s is not None else f"in{o}", f"out{i}", "", o) for i, (s, o), _ in ends(scene)]
    for _, target, label, _ in edges:
        reads.setdefault(target, set()).add(label)
    said: set[tuple[str, int]] = set()
    for source, target, label, output in dict.fromkeys(edges):
        fresh = (source, output) not in said and label not in reads.get(source, set())
        said.add((source, output))
        found.append((source, target, label if fresh else ""))
    return list(dict.fromkeys(found))


__all__ = ["to_dot", "to_mermaid"]
