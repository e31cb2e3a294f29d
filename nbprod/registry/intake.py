"""Take a model's files in: checked, stored, and checked again."""

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from nbprod.core.errors import ModelFolderError
from nbprod.core.models import ModelFile
from nbprod.registry.formats import advice, check_contents, files_of
from nbprod.store.artifacts import Artifacts


def take_in(
    folder: Path, artifacts: Artifacts, *, trusted: Collection[str] = ()
) -> list[ModelFile]:
    """Check a folder, store its files, and check again what was stored; return them by path.

    Nothing of a refused model is stored. The second look, at little more than headers, is for a
    file that was changed between the first one and the copy.

    Raises:
        ModelFolderError: there is no folder, or nothing is in it.
        ModelFormatError: a file's format could execute code, or it is not whole.
    """
    found, refused = files_of(folder)
    check_contents(
        str(folder),
        {name: partial(_open, path) for name, path in found.items()},
        do=lambda problems: advice(str(folder), problems),
        refused=refused,
        trusted=trusted,
    )
    files = []
    for name, path in found.items():
        sha256, size = artifacts.put_file(path)
        files.append(ModelFile(path=name, sha256=sha256, size_bytes=size))
    check_contents(
        str(folder),
        _openers(files, artifacts),
        do=lambda problems: advice(str(folder), problems),
        trusted=trusted,
    )
    return files


def already_stored(
    source: Mapping[str, ModelFile],
    artifacts: Artifacts,
    *,
    text: str,
    run: str | None = None,
    trusted: Collection[str] = (),
) -> list[ModelFile]:
    """Check files that the artifact store holds already, such as a run's; return them by path.

    Raises:
        ArtifactMissingError: one of them is not stored.
        ModelFormatError: a file's format could execute code, or it is not whole.
    """
    if not source:
        raise ModelFolderError(Path(text), "It is empty.")
    files = sorted(source.values(), key=lambda file: file.path)
    outside = {
        file.path: "its path leads out of the model"
        for file in files
        if PurePosixPath(file.path).is_absolute() or ".." in PurePosixPath(file.path).parts
    }
    show = f"nbprod runs show {run}" if run else "nbprod models list"
    check_contents(
        f"The model of {text}",
        _openers((file for file in files if file.path not in outside), artifacts),
        do=lambda _: f"Let the template save it in a format that may enter. What it left: {show}",
        refused=outside,
        trusted=trusted,
    )
    return files


def _openers(files: Iterable[ModelFile], artifacts: Artifacts) -> dict[str, Callable[[], BinaryIO]]:
    return {file.path: partial(artifacts.open, file.sha256) for file in files}


def _open(path: Path) -> BinaryIO:
    return path.open("rb")
