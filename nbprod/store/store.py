"""The store of one team: open it once a process, and pass it on."""

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from nbprod.store.database import Database
from nbprod.store.engine import open_engine
from nbprod.store.jobs import JobRuns
from nbprod.store.leases import GpuLeases
from nbprod.store.runs import Runs

if TYPE_CHECKING:
    from nbprod.core.runs import Run


class Store:
    """What happened, and which model serves: runs, job runs, GPU leases, and the tables below.

    Usable from several threads; make one in each process.
    """

    def __init__(self, engine: sa.Engine, *, root: Path) -> None:
        self.engine = engine
        self.database = Database(engine)
        self.runs = Runs(self.database, root=root)
        self.jobs = JobRuns(self.database)
        self.gpus = GpuLeases(self.database, self.runs)
        #: runs that opening this store found without a supervisor, and made `lost`
        self.expired: list[Run] = []

    @classmethod
    def open(cls, url: str, *, root: Path) -> "Store":
        """Return the store at `url`, made or migrated where needed; expire what was left over.

        A relative SQLite path is below `root`, the workspace's folder. An ordinary open reads
        the revision and whether a foreground run has lost its supervisor, and writes nothing.

        Raises:
            StoreError: one of its kinds, when the store cannot be reached, read or written, or
                was made by a newer nbprod.
        """
        store = cls(open_engine(url, root=root), root=root)
        store.expired = store.runs.expire()
        store.jobs.expire()
        return store

    def write(self) -> AbstractContextManager[sa.Connection]:
        """Be the only writer until the block ends: all of it is committed, or nothing.

        What is read inside cannot change before the commit. Keep it to milliseconds.

        Raises:
            StoreBusyError: another writer did not end in time.
            DiskFullError: there is no room.
            ReadOnlyError: the store may not be written.
        """
        return self.database.write()

    def read(self) -> AbstractContextManager[sa.Connection]:
        """Look at one moment of the store, whatever is committed meanwhile."""
        return self.database.read()

    def now(self, connection: sa.Connection) -> float:
        """Return the moment by the database's clock, in seconds since 1970 (UTC)."""
        return self.database.now(connection)

    def close(self) -> None:
        """Close the connections; the next use opens new ones."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()
