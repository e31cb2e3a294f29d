"""Files kept by the digest of their content: in a local folder, or wherever fsspec reaches.

A stored file lies at `<two digits>/<sha256>`, complete or not at all: it is written under
another name and renamed when its bytes are on the disk. Equal content is stored once.
"""

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from nbprod.core.digest import digest_file, files_in
from nbprod.core.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactsUnreachableError,
    NbprodError,
    ReadOnlyError,
)
from nbprod.core.models import ModelFile
from nbprod.store.disk import disk_errors, sync_folder

BLOCK_BYTES = 1 << 20
#: What is being written waits in this folder below the root.
INCOMING = ".incoming"
#: A crash may leave a file there; after a day nobody can still be writing it.
LEFTOVER_SECONDS = 86_400.0
SHA256 = re.compile(r"[0-9a-f]{64}")


class Artifacts:
    """The artifact store at an fsspec URL, or in a folder below `root`."""

    def __init__(self, url: str, *, root: Path) -> None:
        #: absolute, so that an attempt with another working folder finds the same place
        self.url = (
            url if _has_protocol(url) else (root / Path(url).expanduser()).absolute().as_uri()
        )
        self._place: _Folder | _Remote
        if self.url.startswith("file://"):
            self._place = _Folder(_path_of(self.url))
        else:
            self._place = _Remote(self.url)

    def put_file(self, path: Path) -> tuple[str, int]:
        """Store a file and return its sha256 and its size in bytes.

        When this returns, the content is on the disk (a local folder is fsynced). Storing
        what is there already changes nothing; a stored file of the wrong size is replaced.

        Raises:
            DiskFullError: there is no room; nothing is left behind.
            ReadOnlyError: the place may not be written.
        """
        return self._place.put(path)

    def put_folder(self, folder: Path) -> dict[str, ModelFile]:
        """Store every file below `folder`; return them by their relative POSIX paths."""
        stored: dict[str, ModelFile] = {}
        for name, path in files_in(folder):
            sha256, size = self.put_file(path)
            stored[name] = ModelFile(path=name, sha256=sha256, size_bytes=size)
        return stored

    def check(self) -> None:
        """Find out whether files can be kept there. Nothing is written.

        Raises:
            ArtifactsUnreachableError: the place does not answer, or does not let us in.
            ReadOnlyError: the folder may not be written.
        """
        self._place.check()

    def has(self, sha256: str) -> bool:
        """Say whether a file is stored under that digest; its content is not read."""
        return self._place.size(_checked(sha256)) is not None

    def open(self, sha256: str) -> BinaryIO:
        """Open a stored file for reading. What is read is not verified.

        Raises:
            ArtifactMissingError: nothing is stored under that digest.
        """
        return self._place.open(_checked(sha256))

    def fetch(self, sha256: str, to: Path) -> None:
        """Make the file `to`, read-only and with verified content; an older one is replaced.

        From a local folder it is a hard link where the filesystem allows one, else a copy.

        Raises:
            ArtifactMissingError: nothing is stored under that digest.
            ArtifactDamagedError: what is stored has another content; `to` is not made.
        """
        _checked(sha256)
        with disk_errors(to.parent):
            to.parent.mkdir(parents=True, exist_ok=True)
            new = to.with_name(f".{to.name}.{secrets.token_hex(4)}")
            try:
                found = self._place.link_or_copy(sha256, new)
                if found != sha256:
                    raise ArtifactDamagedError(sha256, self._place.where(sha256), found)
                new.replace(to)
            finally:
                # after a rename onto another name of the same file, both names remain
                new.unlink(missing_ok=True)

    def verify(self, sha256: str) -> None:
        """Read a stored file and compare its content with its name.

        Raises:
            ArtifactMissingError: nothing is stored under that digest.
            ArtifactDamagedError: its content has another digest.
        """
        with self.open(sha256) as file:
            found = _copy(file, None)[0]
        if found != sha256:
            raise ArtifactDamagedError(sha256, self._place.where(sha256), found)


class _Folder:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._is_swept = False

    def where(self, sha256: str) -> str:
        return str(self.root / sha256[:2] / sha256)

    def check(self) -> None:
        there = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise ReadOnlyError(str(self.root), str(there))

    def size(self, sha256: str) -> int | None:
        try:
            return Path(self.where(sha256)).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, sha256: str) -> BinaryIO:
        try:
            return Path(self.where(sha256)).open("rb")
        except FileNotFoundError as error:
            raise ArtifactMissingError(sha256, str(self.root)) from error

    def link_or_copy(self, sha256: str, to: Path) -> str:
        stored = Path(self.where(sha256))
        try:
            to.hardlink_to(stored)
        except FileNotFoundError as error:
            raise ArtifactMissingError(sha256, str(self.root)) from error
        except OSError:  # another filesystem, or one without links
            shutil.copyfile(stored, to)
            to.chmod(0o444)
        return digest_file(to)

    def put(self, path: Path) -> tuple[str, int]:
        with path.open("rb") as source, disk_errors(self.root):
            incoming = self.root / INCOMING
            incoming.mkdir(parents=True, exist_ok=True)
            self._sweep(incoming)
            new = incoming / secrets.token_hex(8)
            try:
                with new.open("xb") as file:
                    sha256, size = _copy(source, file.write)
                    if self.size(sha256) == size:
                        return sha256, size
                    file.flush()
                    os.fsync(file.fileno())
                new.chmod(0o444)
                self._move(new, Path(self.where(sha256)))
            finally:
                new.unlink(missing_ok=True)
        return sha256, size

    def _move(self, new: Path, final: Path) -> None:
        try:
            new.rename(final)
        except FileNotFoundError:
            final.parent.mkdir(exist_ok=True)
            sync_folder(self.root)
            new.rename(final)
        sync_folder(final.parent)

    def _sweep(self, incoming: Path) -> None:
        if self._is_swept:
            return
        self._is_swept = True
        oldest = time.time() - LEFTOVER_SECONDS
        for leftover in incoming.iterdir():
            with suppress(FileNotFoundError):
                if leftover.stat().st_mtime < oldest:
                    leftover.unlink()


class _Remote:
    """Anything fsspec knows: an object store, another machine, memory."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url
        with _reaching(url):
            filesystem, root = fsspec.core.url_to_fs(url)
        self._filesystem: Any = filesystem
        self._root: str = root.rstrip("/")

    def where(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def check(self) -> None:
        with _reaching(self.url):
            self._filesystem.exists(self._root)

    def size(self, sha256: str) -> int | None:
        with _reaching(self.url):
            try:
                return int(self._filesystem.size(self.where(sha256)))
            except FileNotFoundError:
                return None

    def open(self, sha256: str) -> BinaryIO:
        with _reaching(self.url):
            try:
                return cast("BinaryIO", self._filesystem.open(self.where(sha256), "rb"))
            except FileNotFoundError as error:
                raise ArtifactMissingError(sha256, self.url) from error

    def link_or_copy(self, sha256: str, to: Path) -> str:
        with self.open(sha256) as source, to.open("xb") as file:
            found, _ = _copy(source, file.write)
            file.flush()
            os.fsync(file.fileno())
        to.chmod(0o444)
        return found

    def put(self, path: Path) -> tuple[str, int]:
        # Reading twice costs less than sending what is there already.
        sha256, size = digest_file(path), path.stat().st_size
        if self.size(sha256) == size:
            return sha256, size
        with path.open("rb") as source, _reaching(self.url):
            return self._send(source)

    def _send(self, source: BinaryIO) -> tuple[str, int]:
        new = f"{self._root}/{INCOMING}/{secrets.token_hex(8)}"
        self._filesystem.makedirs(f"{self._root}/{INCOMING}", exist_ok=True)
        try:
            with self._filesystem.open(new, "wb") as file:
                sha256, size = _copy(source, file.write)  # it may have changed since
            final = self.where(sha256)
            self._filesystem.makedirs(final.rpartition("/")[0], exist_ok=True)
            self._filesystem.mv(new, final)
        except BaseException:
            with suppress(FileNotFoundError):
                self._filesystem.rm_file(new)
            raise
        return sha256, size


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """Say what a filesystem of fsspec says: each of them has errors of its own."""
    try:
        yield
    except NbprodError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        absent = getattr(error.__cause__, "name", None) if isinstance(error, ImportError) else None
        do = f"Install what speaks to it: pip install {absent}" if absent else ""
        raise ArtifactsUnreachableError(url, f"fsspec says: {said}.", do) from error


def _copy(source: BinaryIO, write: Callable[[bytes], Any] | None) -> tuple[str, int]:
    """Read `source` once, handing each block to `write`; return its sha256 and size."""
    digest, size = hashlib.sha256(), 0
    while block := source.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
        if write is not None:
            write(block)
    return digest.hexdigest(), size


def _checked(sha256: str) -> str:
    if not SHA256.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no sha256: 64 lower-case hex digits")
    return sha256


def _has_protocol(url: str) -> bool:
    return "://" in url or "::" in url


def _path_of(url: str) -> Path:
    from urllib.parse import unquote

    return Path(unquote(url.removeprefix("file://")))
