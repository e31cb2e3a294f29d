"""A scrap: a named value that a notebook left in its own outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nbprod.core.json import JSON

#: scrapbook's wire format: the mime type of the payload, and the key of its metadata.
SCRAP_MIME_PREFIX = "application/scrapbook.scrap."
SCRAP_METADATA = "scrapbook"
PROGRESS_MIME = "application/vnd.nbprod.progress+json"
STOP_MIME = "application/vnd.nbprod.stop+json"  #: {"reason"}; sent by `nbprod.stop`


class ScrapType(StrEnum):
    """What the contract in the front matter may declare a scrap to be."""

    NUMBER = "number"
    INTEGER = "integer"
    TEXT = "text"
    BOOLEAN = "boolean"
    JSON = "json"  #: any list or mapping
    FRAME = "frame"  #: a table; beyond 64 KiB in a Parquet sidecar
    ARRAY = "array"  #: numbers; beyond 64 KiB in an npy sidecar
    MODEL = "model"  #: a folder of files that cannot execute code
    DISPLAY = "display"  #: a picture or table to look at
    ANY = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapDeclaration:
    """What a template promises to leave."""

    name: str
    type: ScrapType = ScrapType.ANY
    range: tuple[float | None, float | None] | None = None  #: inclusive; None is unbounded
    unit: str = ""
    higher_is_better: bool | None = None
    required: bool = False
    description: str = ""

    def to_json(self) -> dict[str, JSON]:
        """Return the declaration as JSON."""
        return {
            "name": self.name,
            "type": self.type.value,
            "range": None if self.range is None else list(self.range),
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "required": self.required,
            "description": self.description,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ScrapDeclaration":
        """Read a declaration back from what `to_json` returned."""
        bounds = fields["range"]
        return cls(
            **{
                **fields,
                "type": ScrapType(fields["type"]),
                "range": None if bounds is None else (bounds[0], bounds[1]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """The files a scrap refers to, kept beside the notebook and, by digest, as artifacts."""

    path: str  #: relative to the attempt's folder, e.g. "scraps/model"
    files: Mapping[str, str]  #: relative path below `path` -> sha256; one entry "" for a file
    digest: str  #: of the single file, or `digest_manifest(files)` of the folder
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrap:
    """One value, as read from an executed notebook."""

    name: str
    encoder: str  #: "json", "text", "arrow", "nbprod.frame", "nbprod.array", "nbprod.model", ...
    type: ScrapType
    value: JSON  #: the value where it is JSON, else a short summary of it
    sidecar: Sidecar | None = None
    display: Mapping[str, Any] | None = None  #: a display's mime bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractBreach:
    """One way in which a run's scraps differ from what the template declares."""

    scrap: str
    message: str  #: a sentence naming the scrap and the number
    is_fatal: bool = True  #: False for an undeclared scrap, which is only reported
