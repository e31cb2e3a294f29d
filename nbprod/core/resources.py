"""What a run asks for."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """How many GPUs a run must have, and how many it would like."""

    required: int = 0
    preferred: int = 0  #: leased when free; at least `required`


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The `resources` of a template's front matter or of a job's step."""

    gpus: Gpus = Gpus()
    cpus: int | None = None
    memory_bytes: int | None = None
    timeout: timedelta | None = None  #: of the whole run

    def over(self, other: "Resources") -> "Resources":
        """Return these, and where they leave something open, what `other` says of it."""
        return Resources(
            gpus=other.gpus if self.gpus == Gpus() else self.gpus,
            cpus=other.cpus if self.cpus is None else self.cpus,
            memory_bytes=other.memory_bytes if self.memory_bytes is None else self.memory_bytes,
            timeout=other.timeout if self.timeout is None else self.timeout,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One device of this host's inventory."""

    uuid: str  #: e.g. "GPU-6f1c..."; stable across reboots, unlike an index
    name: str
    memory_bytes: int
