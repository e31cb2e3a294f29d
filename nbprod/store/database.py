"""Transactions on the store: reads, writes, and the time by its clock."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from nbprod.store.engine import SYNCED, WRITES
from nbprod.store.expressions import db_now


class Database:
    """The connections that everything in this room shares."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Look at one moment of the store, whatever is committed meanwhile."""
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def write(self, *, is_synced: bool = True) -> Iterator[sa.Connection]:
        """Be the only writer until the block ends: all of it is committed, or nothing.

        What is read inside cannot change before the commit. Keep it to milliseconds, and never
        copy a file or wait for a process in it. With `is_synced` it is on the disk afterwards;
        without, a machine that stops in this moment may forget it, but never a part of it.

        Raises:
            StoreBusyError: another writer did not end in time.
            DiskFullError: there is no room.
            ReadOnlyError: the store may not be written.
        """
        with self.engine.connect() as connection:
            connection = connection.execution_options(**{WRITES: True, SYNCED: is_synced})
            with connection.begin():
                yield connection

    def touch(self, statement: sa.Update) -> int:
        """Execute one conditional update and return how many rows it changed.

        It needs no order among writers. On PostgreSQL it therefore does not wait for them:
        a heartbeat must not be late because somebody else is slow.
        """
        if self.engine.dialect.name == "postgresql":
            with self.engine.begin() as connection:
                return int(connection.execute(statement).rowcount)
        with self.write(is_synced=False) as connection:
            return int(connection.execute(statement).rowcount)

    def now(self, connection: sa.Connection) -> float:
        """Return the moment by the database's clock, in seconds since 1970 (UTC)."""
        return float(connection.scalar(sa.select(db_now())) or 0.0)
