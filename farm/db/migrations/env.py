# SPDX-License-Identifier: GPL-2.0-or-later
"""What Alembic runs: on the connection that the farm hands in, never on one of its own."""

from alembic import context

from farm.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
