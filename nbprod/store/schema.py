"""The store's shape: made once, moved on by numbered migrations, refused when it is not ours.

A new SQLite store is made under another name and renamed into place when it is complete: no
other process can see half of it, and setting WAL, which needs the file alone, meets nobody
(eight processes that set it at once gave "database is locked" in 8 of 60 rounds).
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import sqlalchemy as sa

from nbprod.core.errors import NewerStoreError, NotAStoreError, StoreBusyError, StoreError
from nbprod.store.disk import disk_errors, sync_folder
from nbprod.store.failures import MAKING, PATIENCE_SECONDS, damaged, shown, translate
from nbprod.store.tables import metadata

#: The table that holds the revision; not Alembic's own name, so that a PostgreSQL database
#: may be shared with another program that uses Alembic.
REVISION_TABLE = "nbprod_revision"
#: Every revision this nbprod knows, oldest first; the last one is what it writes. Repeated here
#: so that an ordinary open need not import Alembic (a test compares them with the scripts).
REVISIONS = ("0001_first", "0002_usage")
#: Key of the advisory lock under which a PostgreSQL store is made; "nbprod" and 0.
SCHEMA_LOCK = int.from_bytes(b"nbprod\x00", "big")

Connect = Callable[[sa.URL], sa.Engine]


def ensure_schema(url: sa.URL, connect: Connect) -> sa.Engine:
    """Make the store at `url` or bring it up to the last revision; change nothing if it is.

    Return connections to it.

    Raises:
        NewerStoreError: its revision is unknown here.
        NotAStoreError: something else lies there.
        ReadOnlyError: it is not there, or old, and cannot be written.
    """
    if url.get_backend_name() == "sqlite":
        return _ensure_sqlite(url, connect)
    return _ensure_postgresql(url, connect)


def read_revision(connection: sa.Connection) -> str | None:
    """Return the revision of the store; None where there is no store yet.

    Raises:
        NotAStoreError: tables that nbprod did not make are in its place.
    """
    url = connection.engine.url
    tables = _table_names(connection)
    if REVISION_TABLE in tables:
        query = f"SELECT version_num FROM {REVISION_TABLE}"
        found = connection.exec_driver_sql(query).scalar()
        return None if found is None else str(found)
    if url.get_backend_name() == "sqlite":
        if tables:  # the file should be ours alone
            raise damaged(
                Path(str(url.database)), f"It holds other tables: {', '.join(sorted(tables)[:5])}."
            )
    elif same := ", ".join(sorted(tables & set(metadata.tables))):
        raise NotAStoreError(
            shown(url),
            f"It holds tables of the same names that nbprod did not make: {same}.",
            "Nothing was changed. Give nbprod a database of its own: createdb nbprod",
        )
    return None


def _table_names(connection: sa.Connection) -> set[str]:
    if connection.engine.dialect.name != "sqlite":
        return set(sa.inspect(connection).get_table_names())
    # What the inspector asks, without the 5 ms that it takes to be made.
    names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {name for name in names.scalars() if not name.startswith("sqlite_")}


def migrate(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the store up to `revision`, inside the transaction of `connection`."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "nbprod.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _is_current(connection: sa.Connection) -> bool:
    revision = read_revision(connection)
    if revision is not None and revision not in REVISIONS:
        raise NewerStoreError(shown(connection.engine.url), revision, REVISIONS[-1])
    return revision == REVISIONS[-1]


def _ensure_sqlite(url: sa.URL, connect: Connect) -> sa.Engine:
    path = Path(str(url.database))
    if _looks_made(path) and (engine := _current(url, connect)):
        return engine
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _file_lock(path):
        if not _looks_made(path):
            _create_sqlite(path, url, connect)
        elif engine := _current(url, connect):
            return engine
        else:
            _migrate_in_place(url, connect)
    return connect(url)


def _looks_made(path: Path) -> bool:
    # an empty file is what a crash or `touch` leaves; SQLite reads it as an empty database
    with disk_errors(path):
        return path.exists() and path.stat().st_size > 0


def _current(url: sa.URL, connect: Connect) -> sa.Engine | None:
    """Return connections to a store of the last revision; None where it is an older one, or none.

    Made once: an engine takes 5 ms, and an ordinary open needs no other.
    """
    engine = connect(url)
    is_current = False
    try:
        with engine.connect() as connection:
            is_current = _is_current(connection)
    finally:
        if not is_current:
            engine.dispose()
    return engine if is_current else None


def _create_sqlite(path: Path, url: sa.URL, connect: Connect) -> None:
    making = path.with_name(path.name + MAKING)
    try:
        with disk_errors(path.parent):
            for leftover in (making, *_companions(making)):
                leftover.unlink(missing_ok=True)
        engine = connect(url.set(database=str(making)))
        try:
            _pragma(engine, "journal_mode = WAL")
            with engine.begin() as connection:
                migrate(connection)
            # a rename leaves the log behind: move it into the file, and fail if it will not fit
            _pragma(engine, "wal_checkpoint(TRUNCATE)")
        finally:
            engine.dispose()
        with disk_errors(path.parent):
            for leftover in _companions(path):
                leftover.unlink(missing_ok=True)
            making.rename(path)
            sync_folder(path.parent)
    except (StoreError, OSError):
        for leftover in (making, *_companions(making)):
            leftover.unlink(missing_ok=True)
        raise


def _pragma(engine: sa.Engine, pragma: str) -> None:
    # these two are refused inside a transaction, which every connection of ours begins
    connection = engine.raw_connection()
    try:
        connection.cursor().execute(f"PRAGMA {pragma}")
    except sqlite3.Error as error:
        raise translate(error, engine.url) or error from error
    finally:
        connection.close()


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


@contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    lock = filelock.FileLock(f"{path}.lock", timeout=PATIENCE_SECONDS)
    with disk_errors(path.parent):
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise StoreBusyError(str(path), PATIENCE_SECONDS) from error
    try:
        yield
    finally:
        lock.release()


def _migrate_in_place(url: sa.URL, connect: Connect) -> None:
    engine = connect(url)
    try:
        with engine.begin() as connection:
            migrate(connection)
    finally:
        engine.dispose()


def _ensure_postgresql(url: sa.URL, connect: Connect) -> sa.Engine:
    if current := _current(url, connect):
        return current
    engine = connect(url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
            if not _is_current(connection):
                migrate(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine
