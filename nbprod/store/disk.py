"""What the operating system says about writing, as errors that say what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbprod.core.errors import DiskFullError, ReadOnlyError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk and a refusal to write below `path` into errors of nbprod.

    Raises:
        DiskFullError: no room, or the quota is spent.
        ReadOnlyError: the folder or its filesystem is read-only for this user.
    """
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(str(path), _existing(path)) from error
        if error.errno in REFUSED:
            raise ReadOnlyError(str(path), _existing(path)) from error
        raise


def _existing(path: Path) -> str:
    """Return the part of `path` that exists: what `ls` and `df` can be asked about."""
    return next((str(part) for part in (path, *path.parents) if os.path.lexists(part)), ".")


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut, as fsync of a file does its content."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
