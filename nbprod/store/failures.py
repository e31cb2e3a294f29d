"""What a database driver says went wrong, as errors that say what to do."""

import errno
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.errors import (
    DiskFullError,
    NbprodError,
    NotAStoreError,
    ReadOnlyError,
    StoreBusyError,
    StoreUnreachableError,
)

if TYPE_CHECKING:
    import sqlalchemy as sa

#: How long a writer waits for another one. Transactions take milliseconds.
PATIENCE_SECONDS = 30.0
#: Less room than this on the disk explains an I/O error of SQLite.
LITTLE_ROOM_BYTES = 1 << 20
#: A new SQLite store has this at the end of its name until it is complete.
MAKING = ".making"


def shown(url: "sa.URL") -> str:
    """Return the address as a person may read it: a path, or a URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def translate(error: BaseException, url: "sa.URL") -> NbprodError | None:
    """Return the error that says what to do about a driver's `error`; None leaves it as it is."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(error, Path(str(url.database).removesuffix(MAKING)))
    return _postgresql(error, url)


def _sqlite(error: BaseException, path: Path) -> NbprodError | None:
    name = getattr(error, "sqlite_errorname", "") or ""
    match name.split("_")[1] if name else "":
        case "READONLY" | "PERM":
            return ReadOnlyError(str(path))
        case "CANTOPEN":
            # a reader of a WAL database must be able to make its -shm file
            if path.exists() and not os.access(path.parent, os.W_OK):
                return ReadOnlyError(str(path))
            return StoreUnreachableError(str(path), f"SQLite says: {error}.")
        case "FULL":
            return DiskFullError(str(path), str(path.parent))
        case "IOERR":
            room = os.statvfs(path.parent)
            if room.f_bavail * room.f_frsize < LITTLE_ROOM_BYTES:
                return DiskFullError(str(path), str(path.parent))
            return StoreUnreachableError(
                str(path), f"SQLite says: {error}. {os.strerror(errno.EIO)}."
            )
        case "NOTADB" | "CORRUPT":
            return damaged(path, f"SQLite says: {error}.")
        case "BUSY" | "PROTOCOL":
            return StoreBusyError(str(path), PATIENCE_SECONDS)
        case _:
            return None


def damaged(path: Path, cause: str) -> NotAStoreError:
    """Return the error for a file that is no store: keep it, and begin anew beside it."""
    return NotAStoreError(
        str(path),
        cause,
        "Nothing was changed. Point `store` in nbprod.toml elsewhere, or move the file away: "
        f"mv {shlex.quote(str(path))} {shlex.quote(f'{path}.aside')}",
    )


def _postgresql(error: BaseException, url: "sa.URL") -> NbprodError | None:
    state = getattr(error, "sqlstate", None)
    if state == "55P03":  # lock_not_available
        return StoreBusyError(shown(url), PATIENCE_SECONDS)
    if state in ("53100", "53200"):  # disk_full, out_of_memory
        return DiskFullError(shown(url))
    if state == "25P03":  # idle_in_transaction_session_timeout
        cause = "It ended a transaction that had stood still, so that others could write."
        return StoreUnreachableError(shown(url), cause)
    if state == "25006":  # read_only_sql_transaction: a standby
        return ReadOnlyError(shown(url))
    # no state: the connection itself failed; 08: it broke; 28: refused; 3D: no such database;
    # 57P: shutting down
    if type(error).__name__ == "OperationalError" and (
        state is None or state.startswith(("08", "28", "3D", "57P"))
    ):
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return StoreUnreachableError(shown(url), lines[-1] if lines else "It did not answer.")
    return None
