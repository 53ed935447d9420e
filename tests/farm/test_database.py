# SPDX-License-Identifier: GPL-2.0-or-later
"""Opening the database: its schema, its clock, and what can be wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, select, text

from farm.db.database import Database, database_now
from farm.db.migrate import MIGRATIONS
from farm.db.models import SCHEMA, Base, SlotRow
from workers.errors import InfrastructureError, UserError

OPEN = """
from farm.db.database import Database
begin()
Database(sys.argv[1]).close()
"""


def url(path: Path) -> str:
    return f"sqlite:///{path}"


def test_the_migrations_make_what_the_models_say(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert set(inspect(connection).get_table_names()) == {
            *Base.metadata.tables,
            "alembic_version",
        }


def test_the_newest_migration_is_the_one_that_is_looked_for() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "farm.db"
    with_newer = Database(url(path))
    with with_newer.transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with_newer.close()
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"newer version of the farm \(schema 9999\).*update"):
        Database(url(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"no database at all, but some text\n" * 100, b"\0" * 4096])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "farm.db"
    path.write_bytes(content)
    with pytest.raises(InfrastructureError, match=r"farm\.db can't be opened"):
        Database(url(path))
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match=r"can't keep anything in .*FARM_HOME"):
        Database(url(tmp_path / "data" / "farm.db"))


def test_several_processes_open_an_empty_database_at_once(
    tmp_path: Path, at_once: Callable[..., None]
) -> None:
    at_once(tmp_path, 3, OPEN, url(tmp_path / "farm.db"))
    Database(url(tmp_path / "farm.db")).close()


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    def fail() -> None:
        with database.transaction() as session:
            session.add(SlotRow(name="a", capacity=1))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.transaction() as session:
        assert session.scalars(select(SlotRow)).all() == []


def test_the_clock_counts_seconds_since_the_epoch(database: Database) -> None:
    with database.transaction() as session:
        now = session.scalar(select(database_now()))
        assert now == pytest.approx(time.time(), abs=60)
        later = session.scalar(select(database_now() + 30.0))
        assert later == pytest.approx(now + 30, abs=60)
