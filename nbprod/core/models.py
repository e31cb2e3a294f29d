"""A registered model's version, and the record a model folder carries of its training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nbprod.core.json import JSON

#: Written by nbprod.ml into every model folder it saves; part of the model's digest.
CARD_FILE = "nbprod.json"
#: uint64 hashes of the training rows' example ids (see `core.evidence.hash_id`), sorted, npy.
TRAINING_IDS_FILE = "training_ids.npy"


class VersionState(StrEnum):
    """Whether a version may be loaded."""

    READY = "ready"  #: every file stored and recorded, in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a version."""

    path: str  #: relative POSIX path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable, numbered entry under a registered name."""

    name: str
    version: int
    digest: str  #: `digest_manifest` of the files
    files: tuple[ModelFile, ...]
    run: str | None = None  #: the run that made it; None for an imported folder
    lineage: Mapping[str, JSON] = field(default_factory=dict)  #: run lineage + parameters, as JSON
    scraps: Mapping[str, JSON] = field(default_factory=dict)  #: numbers of its run, for `show`
    source: str = ""  #: where it was registered from, in words
    created_at: datetime | None = None  #: UTC
    created_by: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A name under which versions are registered."""

    name: str
    description: str = ""
    last_version: int = 0  #: versions are numbered from 1 without gaps
    aliases: Mapping[str, int] = field(default_factory=dict)  #: alias -> version that holds it
    created_at: datetime | None = None  #: UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One decision about an alias, moved or refused: part of the record for ever."""

    id: int
    model: str
    alias: str
    version: int
    former: int | None  #: the version that held the alias before
    action: str  #: "promote", "rollback", or "refuse", which moved nothing
    actor: str
    at: datetime
    reason: str = ""  #: required for an override
    is_override: bool = False  #: True when gates blocked and someone decided otherwise
    evidence_run: str | None = None
    evaluation_digest: str = ""  #: which evaluation set decided it
