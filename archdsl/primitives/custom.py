"""One's own primitives: an operation that the language can't say in terms of others, added by the Python program that uses it.

    class Shrink(Primitive):                      # see archdsl/primitives/base.py for what a primitive tells
        name = "shrink"
        ...
    archdsl.register_primitive(Shrink(), "shrink_support.py")
    spec = archdsl.parse("arch A { in x: [T, 8]; return x -> shrink }")

A spec can only use names that a program has registered; it can never ask for code itself. Installed packages may offer primitives under the
entry point group `archdsl.primitives`; they are loaded only when the person who runs the program says which, by `load_plugins("package")`
or the environment variable ARCHDSL_PLUGINS (names separated by commas, or `all`). `examples/own_primitive.py` is a complete example.
"""

from __future__ import annotations

import ast
import os
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Attrs
from archdsl.primitives import TABLE, library
from archdsl.primitives.base import TOLD, Primitive
from archdsl.primitives.text import module_tree

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "archdsl.primitives"
VARIABLE = "ARCHDSL_PLUGINS"
KINDS = frozenset(("size", "int", "number", "bool", "str", "list", "init", "shape", "module", "act", "value", "any"))
STRUCTURAL = frozenset(("call", "repeat", "loop", "route", "skip", "train", "scan", "cell"))

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_own: dict[str, Primitive[Any]] = {}
_plugins: set[str] = set()
_registering = threading.RLock()  # what is registered changes as a whole; a plugin registers while it is loaded


def register_primitive(
    primitive: Primitive[Any], support_source_module: ModuleType | str | os.PathLike[str] | None = None
) -> Primitive[Any]:
    """Makes a primitive known to every spec read from now on, in this process. Returns it.

    support_source_module: a Python file (or an imported module) of plain torch functions and classes that the emitted text may call through
    `e.support(name)`; its text is copied into emitted files, so these run with torch alone. Registering a name again replaces one's own
    primitive, never a built-in one. Raises ArchError AD0922 if the primitive or the file is not as it must be.
    """
    with _registering:
        _check(primitive)
        if support_source_module is not None:
            path = _source_file(primitive.name, support_source_module)
            _check_support(primitive.name, path)
            library.own[primitive.name] = path
        else:
            library.own.pop(primitive.name, None)
        _own[primitive.name] = primitive
        TABLE[primitive.name] = primitive
    return primitive


def unregister_primitive(name: str) -> None:
    """Forgets one's own primitive; unknown names are ignored."""
    with _registering:
        if _own.pop(name, None) is not None:
            TABLE.pop(name, None)
            library.own.pop(name, None)


def own_primitives() -> frozenset[str]:
    """The names of registered primitives."""
    return frozenset(_own)


def load_plugins(*wanted: str) -> list[str]:
    """Registers the primitives of installed packages by entry point name (`all`: every one found). Returns the primitives' names.

    An entry point `NAME = module:THING` in the group `archdsl.primitives` gives a Primitive, a list of them, or a function without
    arguments that registers its own. Raises ArchError AD0923 for a name that is not installed or fails to load.
    """
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=GROUP)}
    names = sorted(found) if "all" in wanted else list(wanted)
    made: list[str] = []
    with _registering:
        for name in names:
            if name not in _plugins:
                made += _loaded(name, found)
                _plugins.add(name)
    return made


def _loaded(name: str, found: Mapping[str, EntryPoint]) -> list[str]:
    """The names of what a plugin registers."""
    if name not in found:
        hint = f"Installed: {', '.join(sorted(found))}." if found else "No installed package offers primitives."
        raise ArchError(Diagnostic("AD0923", f"there is no plugin `{name}`", hint=hint))
    before = set(_own)
    try:
        _add(found[name].load())
    except ArchError:
        raise
    except Exception as error:
        note = f"{type(error).__name__}: {error}"
        raise ArchError(Diagnostic("AD0923", f"the plugin `{name}` could not be loaded", note=note)) from error
    return [n for n in _own if n not in before]


def load_wanted_plugins() -> None:
    """Loads what ARCHDSL_PLUGINS asks for; nothing where it is not set."""
    wanted = [n.strip() for n in os.environ.get(VARIABLE, "").split(",") if n.strip()]
    if wanted:
        load_plugins(*wanted)


def _add(thing: Any) -> None:
    if isinstance(thing, Primitive):
        register_primitive(thing)
    elif isinstance(thing, Iterable):
        for item in thing:
            register_primitive(item)
    elif callable(thing):
        thing()
    else:
        raise TypeError("an entry point gives a Primitive, a list of them, or a function that registers its own")


# ---- checks ---------------------------------------------------------------------------------------------------------------------------


def _wrong(title: str, note: str = "", hint: str = "") -> NoReturn:
    raise ArchError(Diagnostic("AD0922", title, note=note, hint=hint))


def _check(primitive: Primitive[Any]) -> None:
    if isinstance(primitive, type) and issubclass(primitive, Primitive):
        made = primitive.__name__
        _wrong(f"{made} is a class, not a primitive", hint=f"Hand over an instance: `register_primitive({made}())`.")
    if not isinstance(primitive, Primitive):
        _wrong(f"a {type(primitive).__name__} is not a primitive", hint="Subclass `archdsl.primitives.base.Primitive`.")
    from archdsl.language.arch_parser import KEYWORDS

    name = primitive.name
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in KEYWORDS:
        _wrong(f"{name!r} can't be the name of a primitive", hint="Use small letters, digits and `_`; no word of the language.")
    if name in STRUCTURAL or (name in TABLE and name not in _own):
        _wrong(f"`{name}` is a built-in primitive", "A spec must mean the same for everyone who reads it.", "Choose another name.")
    _check_told(primitive)
    _check_attributes(primitive)


def _check_attributes(primitive: Primitive[Any]) -> None:
    """Parameters are fields of a class, so that a misspelt name is found."""
    name, attributes = primitive.name, primitive.attributes
    if type(primitive).params is not Primitive.params:
        hint = 'Write them as fields of its `attributes`: `@frozen class …(Attrs)` with `start: float = param("number", 0.1)`.'
        _wrong(f"`{name}` lists its parameters under `params`", hint=hint)
    if not (isinstance(attributes, type) and issubclass(attributes, Attrs) and "__dataclass_params__" in vars(attributes)):
        _wrong(f"the attributes of `{name}` are no class of their own", hint="Give it `@frozen class …(Attrs)`, both of archdsl.graph.ir.")
    for param in primitive.params:
        if param.kind not in KINDS:
            _wrong(f"`{name}` has a parameter of unknown kind {param.kind!r}", hint=f"Known kinds: {', '.join(sorted(KINDS))}.")
    for f in fields(attributes):
        if f.default is MISSING and f.default_factory is MISSING and "param" not in f.metadata:
            _wrong(
                f"`{f.name}` of `{name}` is neither a parameter nor has a default", hint="Write `param(…)`, or what it is before `infer`."
            )


def _check_told(primitive: Primitive[Any]) -> None:
    """What passes rely on is said, by the primitive itself or by a base whose name says it."""
    missing = [method for method in TOLD if not _gives(primitive, method)]
    if missing:
        _wrong(
            f"`{primitive.name}` does not say {', '.join(f'`{m}`' for m in missing)}",
            "; ".join(f"{m}: {TOLD[m]}" for m in missing) + ".",
            "archdsl.primitives.traits has bases that answer: Elementwise for what works on each entry alone, Uncounted, Pure, KeepsNothing.",
        )
    if _gives(primitive, "solvable") and not _gives(primitive, "solve"):
        _wrong(f"`{primitive.name}` says that it can be solved, and not how", hint="Give `solve` as well, or leave out `solvable`.")


def _gives(primitive: Primitive[Any], method: str) -> bool:
    return getattr(type(primitive), method) is not getattr(Primitive, method)


def _source_file(name: str, source: ModuleType | str | os.PathLike[str]) -> Path:
    path = Path(str(source.__file__)) if isinstance(source, ModuleType) else Path(source)
    if path.suffix != ".py" or not path.is_file():
        _wrong(f"the support of `{name}` is not a Python file", f"{path} cannot be read.")
    return path.resolve()


def _check_support(name: str, path: Path) -> None:
    """Syntax, and that no definition has the name of one that is there already."""
    try:
        tree = module_tree(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        _wrong(f"the support of `{name}` cannot be read", f"{path.name}: {error}")
    defined = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    taken = defined & {d for p in library.files() if p != path for d in library.definitions(p)}
    if taken:
        _wrong(f"the support of `{name}` defines `{min(taken)}`, which exists already", hint="Choose another name for it.")


__all__ = [
    "GROUP", "VARIABLE", "load_plugins", "load_wanted_plugins", "own_primitives", "register_primitive", "unregister_primitive",
]  # fmt: skip
