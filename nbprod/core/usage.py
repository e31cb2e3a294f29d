"""What a cell or a run used of its machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nbprod.core.json import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a kernel and its children used, in one cell or in the whole run."""

    cpu_seconds: float  #: of all its processes, those that ended included
    peak_rss_bytes: int  #: memory they held at once; a page that several share counts once
    peak_gpu_bytes: int | None = None  #: of all its GPUs together; None where it had none

    def to_json(self) -> dict[str, JSON]:
        """Return the usage as it stands in the journal; without a GPU, that field is left out."""
        fields: dict[str, JSON] = {
            "cpu_seconds": round(self.cpu_seconds, 6),
            "peak_rss_bytes": self.peak_rss_bytes,
        }
        if self.peak_gpu_bytes is not None:
            fields["peak_gpu_bytes"] = self.peak_gpu_bytes
        return fields

    @classmethod
    def from_json(cls, fields: Any) -> "Usage | None":
        """Read it back; None for what is no usage: of an older journal, or of a damaged line."""
        if not isinstance(fields, Mapping):
            return None
        try:
            gpu = fields.get("peak_gpu_bytes")
            return cls(
                cpu_seconds=float(fields["cpu_seconds"]),
                peak_rss_bytes=int(fields["peak_rss_bytes"]),
                peak_gpu_bytes=None if gpu is None else int(gpu),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            return None

    @classmethod
    def in_all(cls, parts: "Iterable[Usage]") -> "Usage | None":
        """Return what one after another used together: times add up, the highest peak counts."""
        parts = list(parts)
        if not parts:
            return None
        gpus = [part.peak_gpu_bytes for part in parts if part.peak_gpu_bytes is not None]
        return cls(
            cpu_seconds=sum(part.cpu_seconds for part in parts),
            peak_rss_bytes=max(part.peak_rss_bytes for part in parts),
            peak_gpu_bytes=max(gpus, default=None),
        )
