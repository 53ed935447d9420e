# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening the database: connections, transactions, its clock, and its schema's version."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Float

from farm.db.models import SCHEMA
from farm.settings import make_folder
from workers.errors import InfrastructureError, UserError

BUSY_SECONDS = 60.0
"""How long a writer waits for another one; transactions last milliseconds."""


NOT_OURS = (DatabaseError, OperationalError)
"""A file that is damaged, a disk that is full. Their subclasses say that a statement is wrong."""


class database_now(FunctionElement[float]):  # noqa: N801 (named like the SQL functions beside it)
    """Seconds since the epoch by the database's clock, which alone decides when a lease ends."""

    type = Float()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(element: object, compiler: object, **how: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_now, "postgresql")
def _postgresql_now(element: object, compiler: object, **how: Any) -> str:
    return "extract(epoch from clock_timestamp())"


class Database:
    """An open database whose schema is the one this program knows."""

    def __init__(self, url: str) -> None:
        """Open the database at ``url``, made when it is not there yet.

        Raises UserError where no database can be, or where a newer farm made it, and
        InfrastructureError for one that can't be read.
        """
        self.place = make_url(url).render_as_string(hide_password=True)
        self.engine = _engine(url)
        # SQLite has one writer at a time, and who waits for the file sleeps longer than it is held.
        self._turn = threading.RLock() if self.engine.name == "sqlite" else nullcontext()
        try:
            _make_folder(url)
            if (found := _schema(self.engine)) != SCHEMA:
                # Alembic would be a third of each command's start, and is needed once.
                from farm.db.migrate import migrate  # noqa: PLC0415

                migrate(self.engine, url, found)
        except DatabaseError as error:
            self.close()
            raise self._trouble(error, "can't be opened") from error
        except UserError:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Yield a session whose changes are all made at the end, or none of them.

        A SQLite transaction takes the write lock at its start: what it reads stays true. Raises
        InfrastructureError, and changes nothing, when the database can't be read or written.
        """
        try:
            with (
                self._turn,
                Session(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
        except DatabaseError as error:
            if type(error) not in NOT_OURS:
                raise
            raise self._trouble(error, "can't be used") from error

    def _trouble(self, error: DatabaseError, what: str) -> InfrastructureError:
        """Return what the user is told: it is either the place that is full, or the file broken."""
        hint = "without this file the farm knows of no earlier run: move it away to begin anew"
        if isinstance(error, OperationalError):
            hint = "nothing is lost: mend that and call it again"
        return InfrastructureError(f"the database {self.place} {what}: {error.orig}", hint)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed)
    engine = create_engine(
        parsed, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def _settings(connection: Any, record: object) -> None:
        # The driver's own BEGIN would come too late for a transaction that reads first.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _make_folder(url: str) -> None:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        make_folder(Path(parsed.database).parent)


def _schema(engine: Engine) -> str | None:
    """Return the version of the schema that is there, None where there is none."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return found
