"""A little disk space kept back, so that a run on a full disk can still say how it ended."""

import os
from pathlib import Path

RESERVE_FILE = ".reserve"


def reserve(folder: Path, size_bytes: int) -> None:
    """Set aside `size_bytes` in `folder`, really allocated. Without space it does nothing."""
    try:
        with (folder / RESERVE_FILE).open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)
    except OSError:
        release(folder)


def release(folder: Path) -> None:
    """Give the space back."""
    (folder / RESERVE_FILE).unlink(missing_ok=True)
