"""Connections to the store: one file beside the team's notebooks, or one PostgreSQL for several.

Every writer takes the write lock before it reads. On SQLite a read that turns into a write
fails at once with BUSY_SNAPSHOT when another writer committed in between (busy_timeout does not
apply); on PostgreSQL an advisory lock gives the same order, so that what is proven on one
database holds on the other.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection

from nbprod.core.errors import StoreDriverError, StoreUrlError
from nbprod.store.failures import PATIENCE_SECONDS, shown, translate
from nbprod.store.schema import ensure_schema

#: Key of the advisory lock that orders writers; the letters "nbprod" and 1, as a number.
WRITE_LOCK = int.from_bytes(b"nbprod\x01", "big")
#: Execution option of a connection that is going to write.
WRITES = "nbprod_writes"
#: Execution option of such a connection: whether its commit waits for the disk, 2 to 10 ms.
SYNCED = "nbprod_synced"


def parse_url(url: str, *, root: Path) -> sa.URL:
    """Return the address with its driver, and a SQLite path made absolute against `root`.

    Raises:
        StoreUrlError: neither a SQLite file nor a PostgreSQL database.
    """
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise StoreUrlError(url) from error
    match parsed.get_backend_name():
        case "sqlite" if parsed.database and parsed.database != ":memory:":
            # memory would be another store for every process
            path = (root / Path(parsed.database).expanduser()).absolute()
            return parsed.set(drivername="sqlite+pysqlite", database=str(path))
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case _:
            raise StoreUrlError(url)


def open_engine(url: str, *, root: Path) -> sa.Engine:
    """Return connections to the store at `url`, which is created or migrated where needed.

    A relative SQLite path is below `root`. An ordinary open only reads the revision.

    Raises:
        StoreError: one of its kinds, when the store cannot be reached, read or written, or
            was made by a newer nbprod.
    """
    parsed = parse_url(url, root=root)
    return ensure_schema(parsed, connect)


def connect(url: sa.URL) -> sa.Engine:
    """Return an engine for an address made by `parse_url`, without looking at what is there."""
    if url.get_backend_name() == "sqlite":
        engine = sa.create_engine(url, connect_args={"timeout": PATIENCE_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        try:
            engine = sa.create_engine(
                url, pool_pre_ping=True, pool_size=2, connect_args={"connect_timeout": 10}
            )
        except ImportError as error:
            raise StoreDriverError(shown(url)) from error
        event.listen(engine, "connect", _set_up_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
    event.listen(engine, "handle_error", _raise_ours)
    return engine


def _set_up_sqlite(connection: DBAPIConnection, record: Any) -> None:
    # the driver's own transactions begin late and commit before DDL; ours are explicit
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(WRITES):
        connection.exec_driver_sql("BEGIN")
        return
    # With a write-ahead log, NORMAL keeps the file whole as well.
    level = "FULL" if options.get(SYNCED, True) else "NORMAL"
    connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _set_up_postgresql(connection: DBAPIConnection, record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{PATIENCE_SECONDS:.0f}s'")
    # a writer that was stopped or cut off in the middle must not hold up everybody else
    cursor.execute(f"SET idle_in_transaction_session_timeout = '{PATIENCE_SECONDS / 2:.0f}s'")
    cursor.close()
    connection.commit()


def _begin_postgresql(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if options.get(WRITES):
        if not options.get(SYNCED, True):
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITE_LOCK})")


def _raise_ours(context: sa.engine.ExceptionContext) -> None:
    url = context.engine.url if context.engine is not None else None
    if url is None:
        return
    ours = translate(context.original_exception, url)
    if ours is not None:
        raise ours from context.original_exception
