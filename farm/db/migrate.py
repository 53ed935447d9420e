# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings a database to the schema that this program knows."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, make_url

from workers.cache import locked
from workers.errors import UserError

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: Engine, url: str, found: str | None) -> None:
    """Migrate the database at ``url``, also while other processes do the same.

    ``found`` is the version of its schema, None where there is none.

    Raises UserError for a newer one, and leaves it alone.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        place = make_url(url).render_as_string(hide_password=True)
        raise UserError(
            f"the database {place} was made by a newer version of the farm (schema {found})",
            "update the farm, or name another FARM_HOME",
        )
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        with locked(Path(f"{parsed.database}.migrating")):
            _upgrade(engine, config)
    else:
        _upgrade(engine, config)


def _upgrade(engine: Engine, config: Config) -> None:
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
