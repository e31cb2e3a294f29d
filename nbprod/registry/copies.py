"""Versions as folders on this machine: made when first asked for, checked every time, repaired."""

from collections.abc import Sequence
from pathlib import Path

from nbprod.core.errors import ArtifactDamagedError, ArtifactMissingError, ModelTamperedError
from nbprod.core.models import ModelVersion
from nbprod.registry import folder as folders
from nbprod.store.artifacts import Artifacts

_STORE = "the artifact store"


class Copies:
    """The folders `<name>/<version>` below one root, and the originals they come from."""

    def __init__(self, artifacts: Artifacts, root: Path) -> None:
        self._artifacts = artifacts
        self._root = root

    def path(self, entry: ModelVersion) -> Path:
        """Return the version's folder, every byte of it just compared with the record.

        Raises:
            ModelTamperedError: naming each file that is not as it was registered.
        """
        folder = self._folder(entry)
        if not folder.exists():
            try:
                if folders.materialise(entry.files, self._artifacts, folder):
                    return folder
            except (folders.DamagedFileError, ArtifactMissingError) as error:
                raise self._tampered(entry, _STORE, self.damaged_originals(entry)) from error
        if wrong := folders.problems(folder, entry.files):
            raise self._tampered(entry, str(folder), list(wrong.values()))
        return folder

    def verify(self, entry: ModelVersion) -> Path:
        """Check the folder and the originals; return the folder.

        Raises:
            ModelTamperedError: naming each file that is not as it was registered.
        """
        folder = self.path(entry)
        if damaged := self.damaged_originals(entry):
            raise self._tampered(entry, _STORE, damaged)
        return folder

    def repair(self, entry: ModelVersion) -> Path:
        """Make the folder anew from the originals; what was changed in it is lost.

        An original that is missing is first put back from the folder, where that is intact.

        Raises:
            ModelTamperedError: there is no intact copy of a file; nothing was changed.
        """
        folder = self._folder(entry)
        wrong = folders.problems(folder, entry.files)
        for file in entry.files:
            if file.path not in wrong and not self._artifacts.has(file.sha256):
                self._artifacts.put_file(folder / file.path)
        if damaged := self.damaged_originals(entry):
            raise self._tampered(entry, _STORE, damaged)
        folders.remove(folder)
        return self.path(entry)

    def damaged_originals(self, entry: ModelVersion) -> list[str]:
        """Return what is wrong with the version's files in the artifact store, a clause each."""
        damaged = []
        for file in entry.files:
            try:
                self._artifacts.verify(file.sha256)
            except ArtifactMissingError:
                damaged.append(f"{file.path} is missing")
            except ArtifactDamagedError:
                damaged.append(f"{file.path} was changed")
        return damaged

    def _folder(self, entry: ModelVersion) -> Path:
        return self._root / entry.name / str(entry.version)

    def _tampered(
        self, entry: ModelVersion, place: str, wrong: Sequence[str]
    ) -> ModelTamperedError:
        return ModelTamperedError(
            entry.name,
            entry.version,
            place,
            wrong,
            is_original_intact=not self.damaged_originals(entry),
        )
