"""A version as a folder to load from: made once, complete or not at all, checked on every load.

Files are copied from the artifact store, not linked to it. Hard links would save 90 ms once a
version (90 MB: 0.09 s against 0.18 s, both verified) and the room, but link and original are one
file: whoever edits the folder then destroys the original with it, and nothing is left to restore.
On filesystems with copy-on-write (XFS, btrfs) the kernel's copy shares the blocks anyway.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from nbprod.core.digest import digest_file
from nbprod.core.models import ModelFile
from nbprod.store.artifacts import Artifacts
from nbprod.store.disk import disk_errors, sync_folder

_BLOCK_BYTES = 1 << 20
#: Unfinished folders carry this prefix; a crash may leave one, which a later process removes.
_NEW = ".new-"
_LEFTOVER_SECONDS = 86_400.0


class DamagedFileError(Exception):
    """A file of the artifact store does not have the content that its digest says."""

    def __init__(self, path: str, found: str) -> None:
        super().__init__(path, found)
        self.path = path
        self.found = found


def materialise(files: Iterable[ModelFile], artifacts: Artifacts, folder: Path) -> bool:
    """Make `folder` with these files, read-only; False when another process was first.

    Raises:
        DamagedFileError: what is stored is not what was registered; nothing is made.
        ArtifactMissingError: a file is no longer stored; nothing is made.
        DiskFullError: there is no room; nothing is made.
    """
    with disk_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        new = folder.parent / f"{_NEW}{secrets.token_hex(8)}"
        try:
            copy_files(files, artifacts, new)
            return move_into_place(new, folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def copy_files(files: Iterable[ModelFile], artifacts: Artifacts, folder: Path) -> None:
    """Write verified copies of stored files into a folder that does not exist yet, durably."""
    folder.mkdir()
    for file in files:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with artifacts.open(file.sha256) as source, target.open("xb") as copy:
            found = _copy(source, copy)
            os.fsync(copy.fileno())
        if found != file.sha256:
            raise DamagedFileError(file.path, found)
        # The folder stays writable, or `rm -rf` of a workspace would fail; checking on load is
        # what keeps the files as they were, this only makes an editor ask.
        target.chmod(0o444)
    for parent, _, _ in os.walk(folder):
        sync_folder(Path(parent))


def move_into_place(new: Path, folder: Path) -> bool:
    """Rename a finished folder; False when a folder with content is there already."""
    try:
        new.rename(folder)
    except OSError:
        if folder.is_dir() and any(folder.iterdir()):
            return False
        raise
    sync_folder(folder.parent)
    return True


def problems(folder: Path, files: Iterable[ModelFile]) -> dict[str, str]:
    """Return path -> what is wrong, comparing every byte of a folder with its manifest."""
    found = {
        Path(parent, name).relative_to(folder).as_posix(): Path(parent, name)
        for parent, folders, names in os.walk(folder)
        for name in [*names, *(name for name in folders if Path(parent, name).is_symlink())]
    }
    wrong: dict[str, str] = {}
    for file in files:
        path = found.pop(file.path, None)
        if path is None:
            wrong[file.path] = f"{file.path} is missing"
        elif path.is_symlink() or not path.is_file():
            wrong[file.path] = f"{file.path} was replaced by a link"
        elif (digest := digest_file(path)) != file.sha256:
            wrong[file.path] = (
                f"{file.path} was changed: its sha256 is {digest[:12]}…, "
                f"registered was {file.sha256[:12]}…"
            )
    return wrong | {name: f"{name} was added" for name in sorted(found)}


def remove(folder: Path) -> None:
    """Take a folder away at once, then delete it."""
    aside = folder.parent / f"{_NEW}{secrets.token_hex(8)}"
    with disk_errors(folder.parent), suppress(FileNotFoundError):
        folder.rename(aside)
        shutil.rmtree(aside)


def _copy(source: BinaryIO, target: BinaryIO) -> str:
    """Copy everything and return the sha256 of what was written."""
    if _copied_by_kernel(source, target):
        return digest_file(Path(target.name))
    digest = hashlib.sha256()
    while block := source.read(_BLOCK_BYTES):
        digest.update(block)
        target.write(block)
    target.flush()
    return digest.hexdigest()


def _copied_by_kernel(source: BinaryIO, target: BinaryIO) -> bool:
    """Try copy_file_range, which shares blocks where the filesystem can."""
    try:
        size = os.fstat(source.fileno()).st_size
        done = 0
        while done < size:
            step = os.copy_file_range(source.fileno(), target.fileno(), size - done, done, done)
            if step == 0:
                break
            done += step
    except (OSError, AttributeError):  # another filesystem, or not a file of this machine
        os.ftruncate(target.fileno(), 0)
        return False
    return done == size


def _sweep(folder: Path) -> None:
    """Remove what processes that died a day ago left unfinished."""
    oldest = time.time() - _LEFTOVER_SECONDS
    for leftover in folder.glob(f"{_NEW}*"):
        with suppress(FileNotFoundError):
            if leftover.stat().st_mtime < oldest:
                shutil.rmtree(leftover, ignore_errors=True)
