"""One at a time, over all processes of a study: a lock that the death of its holder frees."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from archdsl.search.storage import settled

WAIT_SECONDS = 300.0


class Lock(Protocol):
    def held(self) -> Any:
        """A context manager; not to be entered twice."""


class FileLock:
    """A file that SQLite locks: the system frees it with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self) -> Iterator[None]:
        connection = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield
        finally:
            connection.close()


class RowLock:
    """A row of the shared database, held in a transaction of its own: the server frees it with the connection."""

    def __init__(self, engine: Any, study: str) -> None:
        import sqlalchemy as sql

        self._engine, self._study = engine, study
        self._table = sql.Table("archdsl_lock", sql.MetaData(), sql.Column("study", sql.String(255), primary_key=True))
        settled(lambda: self._table.create(engine, checkfirst=True))
        try:
            with engine.begin() as connection:
                connection.execute(self._table.insert().values(study=study))
        except sql.exc.IntegrityError:
            pass  # it is there already

    @contextmanager
    def held(self) -> Iterator[None]:
        import sqlalchemy as sql

        row = sql.select(self._table.c.study).where(self._table.c.study == self._study).with_for_update()
        with self._engine.begin() as connection:
            connection.execute(row).one()
            yield
