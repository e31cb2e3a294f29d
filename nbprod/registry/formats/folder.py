"""List a folder's files as a version's manifest would, refusing what is no plain file."""

import os
import stat
from pathlib import Path

from nbprod.core.errors import ModelFolderError

#: A reason per path, and the files that are in order.
Listing = tuple[dict[str, Path], dict[str, str]]


def files_of(folder: Path) -> Listing:
    """Return (relative POSIX path -> file, relative path -> why it is refused), both sorted.

    A link is followed only to a file inside the folder: another user's file, or a secret that
    a name merely points to, must not become part of a model.

    Raises:
        ModelFolderError: there is no such folder, or nothing is in it.
    """
    if not folder.is_dir():
        reason = "It is a file." if folder.exists() else "It does not exist."
        raise ModelFolderError(folder, reason)
    root = folder.resolve()
    files: dict[str, Path] = {}
    refused: dict[str, str] = {}
    for parent, folders, names in os.walk(root, onerror=_raise):
        for name in [*folders, *names]:
            path = Path(parent, name)
            relative = path.relative_to(root).as_posix()
            if problem := _name_problem(relative):
                refused[ascii(relative)] = problem
            elif path.is_symlink():
                target = path.resolve()
                if name in folders or not target.is_file() or not target.is_relative_to(root):
                    refused[relative] = f"it is a link to {path.readlink()}, outside the model"
                else:
                    files[relative] = target
            elif name not in folders:
                if stat.S_ISREG(path.lstat().st_mode):
                    files[relative] = path
                else:
                    refused[relative] = "it is a device, pipe or socket"
    if not files and not refused:
        raise ModelFolderError(folder, "It is empty.")
    return dict(sorted(files.items())), dict(sorted(refused.items()))


def _name_problem(relative: str) -> str | None:
    """Refuse names that a manifest, SHA256SUMS or a terminal would garble."""
    if not relative.isprintable() or "\\" in relative:  # surrogates are not printable either
        return "its name holds control characters, backslashes or bytes that are not UTF-8"
    return None


def _raise(error: OSError) -> None:
    raise error
