"""sha256 digests of bytes, files and folders, written as 64 lower-case hex digits."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from nbprod.core.json import JSON, canonical


def digest_bytes(content: bytes) -> str:
    """Return the sha256 of `content`."""
    return hashlib.sha256(content).hexdigest()


def digest_json(value: JSON) -> str:
    """Return the sha256 of the canonical text of `value`."""
    return digest_bytes(canonical(value).encode())


def digest_file(path: Path) -> str:
    """Return the sha256 of the file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (relative POSIX path, path) of every regular file below `folder`, sorted."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


def digest_manifest(files: Mapping[str, str]) -> str:
    """Return the digest of a folder, given the digest of each relative path in it."""
    return digest_json(dict(files))


def digest_folder(folder: Path) -> str:
    """Return the digest of everything in `folder`: names and contents, not times or modes."""
    return digest_manifest({name: digest_file(path) for name, path in files_in(folder)})
