"""What the ledger adds up to: how many starts were warm, how quick, and why the others were not."""

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from nbprod.kernels.starts import Start, StartKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The starts of one role and kind."""

    role: str  #: "kernel" or "command"
    kind: StartKind
    count: int
    median_seconds: float | None  #: from the request to the process; None where nobody measured
    last: float  #: seconds since 1970


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why processes were cold, or forked on demand where a spare was wanted."""

    role: str
    kind: StartKind
    reason: str
    count: int
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """All starts on record."""

    kinds: tuple[Kinds, ...]
    reasons: tuple[Reason, ...]  #: the latest first

    def count(self, role: str, *kinds: StartKind) -> int:
        """Return how many starts were of these kinds."""
        return sum(each.count for each in self.kinds if each.role == role and each.kind in kinds)

    def last_cold(self, role: str) -> Reason | None:
        """Return why a process was cold the last time, if ever one was."""
        cold = (each for each in self.reasons if each.role == role and each.kind is StartKind.COLD)
        return next(cold, None)


def tally(starts: Iterable[Start]) -> Tally:
    """Add starts up."""
    by_kind: dict[tuple[str, StartKind], list[Start]] = {}
    latest: dict[tuple[str, StartKind, str], float] = {}
    counts: Counter[tuple[str, StartKind, str]] = Counter()
    for start in starts:
        by_kind.setdefault((start.role, start.kind), []).append(start)
        if start.reason:
            why = (start.role, start.kind, start.reason)
            counts[why] += 1
            latest[why] = max(latest.get(why, 0.0), start.t)
    order = list(StartKind)
    kinds = sorted(by_kind, key=lambda key: (key[0], order.index(key[1])))
    return Tally(
        kinds=tuple(
            Kinds(
                role=role,
                kind=kind,
                count=len(found := by_kind[role, kind]),
                median_seconds=_median([start.seconds for start in found if start.seconds]),
                last=max(start.t for start in found),
            )
            for role, kind in kinds
        ),
        reasons=tuple(
            Reason(role=why[0], kind=why[1], reason=why[2], count=counts[why], last=latest[why])
            for why in sorted(latest, key=lambda why: -latest[why])
        ),
    )


def _median(seconds: list[float]) -> float | None:
    return statistics.median(seconds) if seconds else None
