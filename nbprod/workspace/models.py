"""Registered models as users get them: `ws.models["subject-router@champion"]`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.json import JSON
from nbprod.core.models import ModelVersion

if TYPE_CHECKING:
    from nbprod.registry.registry import Registry
    from nbprod.workspace.settings import ModelTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A verified version, ready to load from `path`."""

    name: str
    version: int
    path: Path  #: a read-only folder whose every file has just been checked
    digest: str
    lineage: Mapping[str, JSON]  #: run, notebook, parameters, data and environment
    scraps: Mapping[str, JSON]  #: numbers of the run that made it
    aliases: tuple[str, ...]
    entry: ModelVersion

    def __repr__(self) -> str:
        held = "".join(f" @{alias}" for alias in self.aliases)
        return f"<model {self.name} version {self.version}{held}: {self.path}>"


class Models(Mapping[str, Model]):
    """Look up a model by `NAME@ALIAS` or `NAME@VERSION`; iterate over the names."""

    def __init__(
        self, registry: "Registry", *, declared: "Mapping[str, ModelTable]", actor: str
    ) -> None:
        self._registry = registry
        self._declared = declared
        self._actor = actor

    def __getitem__(self, reference: str) -> Model:
        if "@" not in reference:
            reference += "@champion"
        entry = self._registry.get(reference)
        return Model(
            name=entry.name,
            version=entry.version,
            path=self._registry.path(reference),
            digest=entry.digest,
            lineage=entry.lineage,
            scraps=entry.scraps,
            aliases=entry.aliases,
            entry=entry,
        )

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({entry.name for entry in self._registry.list()}))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def versions(self, name: str) -> list[ModelVersion]:
        """Return every version of `name`, newest first."""
        return list(self._registry.versions(name))

    def register(self, name: str, folder: str | Path, *, description: str = "") -> ModelVersion:
        """Register a folder made elsewhere. It gets a version, but no alias.

        What nbprod.toml declares of the name, its description and the types that its skops files
        may hold, applies as it does to a model that a job left.
        """
        table = self._declared.get(name)
        return self._registry.register(
            name,
            Path(folder),
            description=description or (table.description if table else ""),
            actor=self._actor,
            text=str(folder),
            trusted=table.trusted if table else (),
        )
