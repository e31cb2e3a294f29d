"""What a gate says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from nbprod.core.json import JSON


class Outcome(StrEnum):
    """How a gate decided."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"  #: the evidence is missing, stale or too small; it blocks

    @property
    def blocks(self) -> bool:
        """Say whether a promotion must stop here."""
        return self is not Outcome.PASSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one gate, with its reason."""

    gate: str  #: as declared, readable: "macro_f1 not worse than champion by 0.02"
    outcome: Outcome
    reason: str  #: a sentence with the numbers in it, shown in the report
    method: str = ""  #: e.g. "paired bootstrap, 9,999 resamples, one-sided 95 %"
    numbers: Mapping[str, JSON] = field(default_factory=dict)  #: estimate, low, high, n, needed, p
