"""Files and imports: text -> namespaces of declarations. Nothing outside the spec's own folder tree and the shipped library is read."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from archdsl.diagnostics import ArchError, Diagnostic, Label, Source, Span, did_you_mean, suggestion
from archdsl.language import parse
from archdsl.language.syntax import ActDecl, BlockDecl, Constant, Declaration, Expect, File, Import, Node, ScanDecl
from archdsl.share import share

MAX_IMPORT_DEPTH = 32
KEPT = 64  # parsed files that are kept for the next loader

_reading = threading.RLock()  # a loader may be asked by several threads, and keeps which files are open


@dataclass(eq=False)
class Namespace:
    """What a file declares and imports. `names` maps a name to its declaration and the namespace it was written in."""

    source: Source
    file: File
    path: Path | None
    names: dict[str, tuple[Declaration, Namespace]] = field(default_factory=dict)
    aliases: dict[str, Namespace] = field(default_factory=dict)
    constants: dict[str, object] = field(default_factory=dict)  # filled by elaboration

    def own(self, kind: type) -> list[Node]:
        return [d for d in self.file.declarations if isinstance(d, kind)]

    def files(self) -> Iterator[Path]:
        """The files that this one was read from and imports, directly or not, each once."""
        found, waiting = {}, [self]
        while waiting:
            one = waiting.pop(0)
            if one not in found:
                found[one] = one.path
                waiting += [*(home for _, home in one.names.values()), *one.aliases.values()]
        yield from (path for path in found.values() if path is not None)

    @property
    def archs(self) -> list[BlockDecl]:
        return [d for d in self.file.declarations if isinstance(d, BlockDecl) and d.is_arch]

    @property
    def expects(self) -> list[Expect]:
        return [d for d in self.file.declarations if isinstance(d, Expect)]


class Loader:
    """Loads files once. `root` is the folder that imports may not leave (by default the folder of the first file)."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root.resolve() if root else None
        self.library = share("specs").resolve()
        self.loaded: dict[Path, Namespace] = {}
        self.loading: list[Path] = []
        self.sources: list[Source] = []
        self._prelude: Namespace | None = None

    # ---- entry points ----

    def load(self, path: str | os.PathLike[str]) -> Namespace:
        """Reads a file from disk (the user named it, so it may lie anywhere)."""
        given = Path(path)
        resolved = given.resolve()
        with _reading:
            if self.root is None:
                self.root = self.library if resolved.is_relative_to(self.library) else resolved.parent
            return self._load(resolved, str(given), None)

    def text(self, text: str, name: str = "<text>") -> Namespace:
        """A spec given as text; imports are looked up in the root, if any, and the library."""
        with _reading:
            return self._namespace(parse(Source(name, text)), None)

    def prelude(self) -> Namespace:
        """The activations of the standard library, which need no import."""
        if self._prelude is None:
            with _reading:
                self._prelude = self._load(self.library / "std" / "activations.arch", "std/activations.arch", None)
        return self._prelude

    # ---- reading ----

    def _load(self, path: Path, shown: str, at: Span | None) -> Namespace:
        if path in self.loaded:
            return self.loaded[path]
        if path in self.loading:
            chain = " -> ".join(p.name for p in [*self.loading[self.loading.index(path) :], path])
            raise ArchError(
                Diagnostic(
                    "AD0602",
                    "these files import each other in a circle",
                    at,
                    "this import closes the circle",
                    note=f"The circle is {chain}.",
                    hint="Move what both need into a third file.",
                )
            )
        if len(self.loading) >= MAX_IMPORT_DEPTH:
            raise ArchError(Diagnostic("AD0602", "imports are nested too deeply", at, f"more than {MAX_IMPORT_DEPTH} files deep"))
        self.loading.append(path)
        try:
            namespace = self._namespace(_parsed(shown, _read(path, shown, at)), path)
        finally:
            self.loading.pop()
        self.loaded[path] = namespace
        return namespace

    def _namespace(self, file: File, path: Path | None) -> Namespace:
        namespace = Namespace(file.span.source, file, path)
        self.sources.append(namespace.source)
        problems: list[Diagnostic] = []
        for item in file.imports:
            try:
                self._import(item, namespace)
            except ArchError as error:
                problems += error.diagnostics
        problems += _declare(namespace)
        if problems:
            raise ArchError(*problems)
        return namespace

    def _import(self, item: Import, into: Namespace) -> None:
        target = self._find(item, into)
        namespace = self._load(target, item.path, item.path_span)
        if item.alias:
            into.aliases[item.alias] = namespace
        else:
            for name, entry in namespace.names.items():
                if entry[1] is namespace:  # only its own names: imports do not leak through
                    into.names[name] = entry

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that no name in a spec may leave: that of the spec, if it has one, and the library's."""
        return (self.library,) if self.root is None else (self.root, self.library)

    def reach(self, text: str, into: Namespace) -> list[Path] | None:
        """Where the file that `into` calls `text` may lie, links followed: beside it, in the root, in the library; None if it leads outside."""
        if not text or "\0" in text or text.startswith(("/", "~")) or "\\" in text or ":" in text:
            return None
        places = [*([into.path.parent] if into.path else []), *self.roots]
        try:
            candidates = [(place / text).resolve() for place in places]
        except (OSError, RuntimeError):  # links in a circle
            return None
        inside = [c for c in candidates if any(c.is_relative_to(r) for r in self.roots)]
        return None if not inside or (into.path and candidates[0] not in inside) else inside

    def _find(self, item: Import, into: Namespace) -> Path:
        text = item.path
        inside = self.reach(text, into)
        if inside is None:
            raise _outside(item)
        for candidate in inside:
            if os.path.isfile(candidate):  # no error for a name too long
                return candidate
        known = sorted(str(p.relative_to(self.library)) for p in self.library.rglob("*.arch"))
        if into.path:
            known += [p.name for p in into.path.parent.glob("*.arch")]
        raise ArchError(
            Diagnostic(
                "AD0601",
                f'there is no file "{text}" to import',
                item.path_span,
                "not found beside this file, nor in the library",
                hint=suggestion(text, known, "`archdsl zoo list` shows what the library holds."),
            )
        )


def _outside(item: Import) -> ArchError:
    return ArchError(
        Diagnostic(
            "AD0603",
            f'the import "{item.path}" leads outside',
            item.path_span,
            "outside the folder of the spec and the library",
            note="A spec may read only files in its own folder (and below) and the shipped library, so that a spec from elsewhere is safe to open.",
            hint="Copy that file beside the spec, or start from a folder that holds both (`--root`).",
        )
    )


def _read(path: Path, shown: str, at: Span | None) -> str:
    from archdsl.language.limits import MAX_FILE_BYTES

    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ArchError(
                Diagnostic("AD0110", f"{shown} is too large for a spec", at, note=f"The limit is {MAX_FILE_BYTES // 1024} KiB.")
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ArchError(Diagnostic("AD0604", f"{shown} is not UTF-8 text", at, note=f"Byte {error.start} can't be read.")) from None
    except FileNotFoundError:
        raise _no_file(path, shown) from None
    except OSError as error:
        raise ArchError(
            Diagnostic("AD0604", f"cannot read {shown}", at, note=f"The system says: {error.strerror or error}.", hint="Check the path.")
        ) from None


def _no_file(path: Path, shown: str) -> ArchError:
    """A spec that is neither here nor in the library."""
    library = share("specs")
    shipped = [p.relative_to(library).with_suffix("") for p in library.rglob("*.arch")]
    beside = {p.stem: p.name for p in path.parent.glob("*.arch")}
    near = did_you_mean(shown.removesuffix(".arch"), [*beside, *(p.name for p in shipped), *(p.as_posix() for p in shipped)])
    hint = f"Did you mean `{beside.get(near, near)}`?" if near else "`archdsl zoo list` shows what the library holds."
    return ArchError(
        Diagnostic(
            "AD0604",
            f"cannot read {shown}",
            note="There is no such file, and the library has no spec of that name.",
            hint=hint,
        )
    )


@lru_cache(maxsize=KEPT)
def _parsed(shown: str, text: str) -> File:
    """A file's tree. Declarations are never changed after parsing, so that loaders may share them."""
    return parse(Source(shown, text))


def _declare(namespace: Namespace) -> list[Diagnostic]:
    problems = []
    own: dict[str, Declaration] = {}
    for declaration in namespace.file.declarations:
        if isinstance(declaration, Expect):
            continue
        name, span = declaration.name, declaration.name_span
        if name in own:
            problems.append(
                Diagnostic(
                    "AD0205",
                    f"`{name}` is declared twice",
                    span,
                    "declared again here",
                    (Label(own[name].name_span, "first declared here"),),  # type: ignore[union-attr]
                    hint="Give one of them another name.",
                )
            )
            continue
        own[name] = declaration
        namespace.names[name] = (declaration, namespace)
    return problems


__all__ = ["ActDecl", "BlockDecl", "Constant", "Loader", "Namespace", "ScanDecl"]
