"""Opening an Optuna storage, and what can go wrong with it in one line: no answer, no driver, a damaged file, a full disk."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from archdsl.diagnostics import ArchError
from archdsl.search.settings import wrong

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

SCHEMES = ("sqlite", "postgresql", "mysql", "mariadb")
CONNECT_SECONDS = 10
PACKAGES = {"psycopg": '"psycopg[binary]"', "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}  # module -> what pip knows it by
RACES = 8  # processes that begin on an empty database at once get in one another's way
Made = TypeVar("Made")


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite URL. Raises AD1036 for what is no URL of a database that is supported."""
    match = re.match(r"([a-z]+)(\+[a-z0-9_]+)?://", url)
    if match is None or match[1] not in SCHEMES:
        hint = "Write sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE or mysql+pymysql://…, or leave it out."
        raise wrong("AD1036", f"`{hidden(url)}` is not a storage", hint=hint)
    if match[1] != "sqlite":
        return None
    path = url.partition("://")[2].partition("?")[0].removeprefix("/")
    if not path or path == ":memory:":
        raise wrong("AD1036", f"`{url}` names no file", hint="Write sqlite:///FILE (four slashes for an absolute path).")
    return Path(path)


def connect(url: str) -> RDBStorage:
    """The storage. Raises AD1036."""
    import optuna
    from optuna.storages import RDBStorage

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    arguments = {"timeout": 120} if url.startswith("sqlite") else {"connect_timeout": CONNECT_SECONDS}
    with guarded(url), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        storage = settled(lambda: RDBStorage(url, engine_kwargs={"connect_args": arguments, "pool_pre_ping": not url.startswith("sqlite")}))
        if url.startswith("sqlite"):
            _hurry(storage)
        return storage


def settled(make: Callable[[], Made]) -> Made:
    """make(), again where another process made the same tables at the same time."""
    from sqlalchemy.exc import SQLAlchemyError

    for attempt in range(RACES):
        try:
            return make()
        except SQLAlchemyError as error:
            if attempt + 1 == RACES or not any(word in str(error).lower() for word in ("already exists", "duplicate")):
                raise
            time.sleep(0.3 * (attempt + 1))
    raise AssertionError("the last attempt returns or raises")


def _hurry(storage: RDBStorage) -> None:
    """Leaves it to the system when the file reaches the disk: a killed process loses nothing by that, and after a power cut the file is
    made again from trials.jsonl, which does wait for the disk."""
    import sqlalchemy

    def relax(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(storage.engine, "connect", relax)
    storage.remove_session()
    storage.engine.dispose()


@contextmanager
def guarded(url: str) -> Iterator[None]:
    """Turns what a database raises into one diagnostic: AD1036, or AD1037 for a full disk."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    try:
        yield
    except ArchError:
        raise
    except ImportError as error:
        package = _missing(error)
        hint = f"Install it: pip install {PACKAGES.get(package, package)}."
        raise wrong("AD1036", f"the Python package `{package}` for {hidden(url)} is not installed", hint=hint) from None
    except (SQLAlchemyError, OptunaError, sqlite3.Error) as error:
        said = _said(error)
        if any(word in said for word in ("disk is full", "disk I/O error", "readonly", "unable to open")):
            hint = "Make room or mend the folder, then go on with --resume: no ended trial is lost."
            raise wrong("AD1037", f"cannot write the storage {hidden(url)}", note=said, hint=hint) from None
        hint = "Check the URL, and that the server runs and takes connections from here."
        if isinstance(error, ArgumentError):
            hint = "Write sqlite:///FILE, postgresql://USER:PASSWORD@HOST/DATABASE or mysql+pymysql://…"
        raise wrong("AD1036", f"the storage {hidden(url)} does not answer", note=said, hint=hint) from None


def _missing(error: BaseException) -> str:
    """The package that an import wanted."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return cause.name.partition(".")[0]
        cause = cause.__cause__ or cause.__context__
    return "of the database"


def set_aside(path: Path, why: str = "") -> str:
    """Renames a damaged SQLite file to `….damaged`. Returns what is wrong with it; nothing if it is whole or not there."""
    if not path.exists():
        return ""
    why = why or _damage(path)
    if why:
        for suffix in ("", "-journal", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                os.replace(part, path.with_name(f"{path.name}.damaged{suffix}"))
    return why


def _damage(path: Path) -> str:
    try:
        connection = sqlite3.connect(path, timeout=60)
        try:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        return "" if "locked" in str(error) or "unable to open" in str(error) else str(error)
    return "" if said == "ok" else " ".join(str(said).split())[:100]


def hidden(url: str) -> str:
    """A URL without its password."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


def _said(error: BaseException) -> str:
    """The innermost cause, in one line."""
    cause: BaseException = error
    while (inner := getattr(cause, "orig", None) or cause.__cause__) is not None:
        cause = inner
    numbered = len(cause.args) == 2 and isinstance(cause.args[0], int) and isinstance(cause.args[1], str)  # MySQL's errors
    text = str(cause.args[1] if numbered else cause)
    return hidden(" ".join(text.split())[:300]) or type(cause).__name__
