"""Run migrations on the connection that `nbprod.store.schema` hands over.

For a developer: `alembic -c nbprod/store/migrations/alembic.ini revision --autogenerate` needs a
store of the former revision; give it with `-x url=sqlite:///old.db`.
"""

from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import context

from nbprod.store.schema import REVISION_TABLE
from nbprod.store.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


def run(connection: "Connection") -> None:
    """Run the migrations in one transaction: SQLite, too, can take back DDL."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=REVISION_TABLE,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    with sa.create_engine(context.get_x_argument(as_dictionary=True)["url"]).begin() as opened:
        run(opened)
