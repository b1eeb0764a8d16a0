"""What alembic runs; it writes through the connection it is given and opens none of its own."""

from alembic import context
from sqlalchemy import Connection

from core.tables import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,
    # One transaction for all revisions: half a migration must not stay behind, SQLite included.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
