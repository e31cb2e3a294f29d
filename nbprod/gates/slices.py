"""No group of rows left behind: a floor for every value of a column.

Each slice's accuracy must be shown to be above `min`. Many slices give chance many tries, so Holm's
correction (Scandinavian Journal of Statistics 6, 1979) runs across all slices of all slice gates
of the judgement: with 95 % confidence every slice that is said to be above its floor is. Slices
under `min_size` are pooled into one that is judged in their stead; what is too small even then is
named in the verdict with its share of the rows, and is not judged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, field_validator

from nbprod.core.evidence import Role
from nbprod.core.json import JSON
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates.bootstrap import sum_by
from nbprod.gates.case import Case
from nbprod.gates.decision import POWER, percent, rounded_up
from nbprod.gates.exact import binomial_tail, clopper_pearson_low, z_value
from nbprod.gates.metrics import Ints
from nbprod.gates.options import Confidence, GateOptions
from nbprod.gates.sample import Sample, Unjudgeable
from nbprod.gates.validity import MIN_GROUPS

POOLED = "the small ones together"
MISSING = "(no value)"


class SliceFloor(GateOptions):
    """`{slice = "length", scrap = "accuracy", min = 0.50, min_size = 100}`."""

    slice: Annotated[str, Field(min_length=1)]
    scrap: str = "accuracy"
    min: Annotated[float, Field(gt=0.0, lt=1.0)]
    min_size: Annotated[int, Field(ge=1)] = 100
    confidence: Confidence = 0.95

    @field_validator("scrap")
    @classmethod
    def _is_accuracy(cls, name: str) -> str:
        if name != "accuracy":
            raise ValueError("slices are judged by accuracy, for which there is an exact bound")
        return name

    def title(self) -> str:
        """Return e.g. "accuracy in every length at least 0.5"."""
        return f"{self.scrap} in every {self.slice} at least {self.min:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The rows of one value, as counts of independent answers."""

    name: str
    n: int  #: rows
    right: int
    effective_n: int  #: how many independent rows they are worth; n without groups
    effective_right: int
    p: float  #: of "the accuracy is `min` at most", exact binomial

    @property
    def share(self) -> float:
        """Return the accuracy seen."""
        return self.right / self.n


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """All slices of one gate."""

    judged: tuple[Slice, ...]
    too_small: tuple[Slice, ...]  #: not judged, even together


def slice_floor(options: SliceFloor, case: Case) -> Verdict:
    """Pass when every slice's accuracy is shown to be above `min`, Holm-corrected."""
    sample = case.sample()
    cut = _cut(options, sample)
    if not cut.judged:
        largest = max(cut.too_small, key=lambda part: part.n)
        raise Unjudgeable(
            f"Too few examples: no {options.slice} has {options.min_size:,} rows; the largest, "
            f"{largest.name!r}, has n = {largest.n:,}.",
            n=largest.n,
            needed=options.min_size,
        )
    family = sorted(p for gate in _slice_gates(options, case) for p in _p_values(gate, sample))
    levels = holm_levels(
        [part.p for part in cut.judged], family=family, alpha=1 - options.confidence
    )
    findings = [
        _finding(part, level, is_shown=is_shown, floor=options.min)
        for part, (level, is_shown) in zip(cut.judged, levels, strict=True)
    ]
    return _verdict(options, sample, cut, findings, tests=len(family))


def holm_levels(
    own: Sequence[float], *, family: Sequence[float], alpha: float
) -> list[tuple[float, bool]]:
    """Return for each p-value in `own` its level in Holm's procedure, and whether it is rejected.

    The i-th smallest of m p-values is compared with alpha / (m - i + 1); from the first that
    exceeds its level on, none is rejected.

    Args:
        own: p-values of one gate, all of them in `family` too.
        family: all p-values judged together, sorted.
        alpha: the rate of false statements allowed in the whole family.
    """
    m = len(family)
    stopped = next((i for i, p in enumerate(family) if p > alpha / (m - i)), m)
    out = []
    for p in own:
        place = next(i for i, other in enumerate(family) if other == p)
        # p-values equal to the one that stopped the procedure stop with it
        is_shown = place < stopped and (stopped == m or p < family[stopped])
        out.append((alpha / (m - min(place, stopped)), is_shown))
    return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is said of one slice."""

    part: Slice
    low: float  #: lower bound at the slice's level in Holm's procedure
    outcome: Outcome
    needed: int

    def words(self) -> str:
        """Return e.g. "1-5 words 0.612 on 240 rows (at least 0.551)"."""
        part = self.part
        return f"{part.name} {part.share:.3f} on {part.n:,} rows (at least {self.low:.3f})"


def _finding(part: Slice, level: float, *, is_shown: bool, floor: float) -> Finding:
    low = clopper_pearson_low(part.effective_right, part.effective_n, confidence=1 - level)
    if is_shown:
        outcome = Outcome.PASSED
    elif part.share <= floor:
        outcome = Outcome.FAILED
    else:
        outcome = Outcome.UNKNOWN
    needed = 0
    if part.share > floor:
        # Normal approximation to the exact test: floor's spread under the hypothesis, the
        # slice's own under what was seen.
        reach = z_value(1 - level) * math.sqrt(floor * (1 - floor))
        reach += z_value(POWER) * math.sqrt(part.share * (1 - part.share))
        worth = part.n / part.effective_n
        needed = rounded_up(worth * (reach / (part.share - floor)) ** 2)
    return Finding(part=part, low=low, outcome=outcome, needed=needed)


def _verdict(
    options: SliceFloor, sample: Sample, cut: Cut, findings: Sequence[Finding], *, tests: int
) -> Verdict:
    failed = [finding for finding in findings if finding.outcome is Outcome.FAILED]
    unsure = [finding for finding in findings if finding.outcome is Outcome.UNKNOWN]
    worst = min(findings, key=lambda finding: (finding.low, finding.part.share))
    total = len(findings)
    if failed:
        outcome = Outcome.FAILED
        reason = (
            f"{len(failed)} of {total} slices of {options.slice} below {options.min:g}: "
            f"{'; '.join(finding.words() for finding in failed)}."
        )
    elif unsure:
        outcome = Outcome.UNKNOWN
        said = "; ".join(
            f"{finding.words()}, n = {finding.part.n:,}, about {finding.needed:,} are needed"
            for finding in unsure
        )
        reason = (
            f"Too few examples in {len(unsure)} of {total} slices of {options.slice} to show "
            f"{options.min:g}: {said}."
        )
    else:
        outcome = Outcome.PASSED
        reason = (
            f"All slices of {options.slice} ({total}) are above {options.min:g}; the weakest is "
            f"{worst.words()}."
        )
    if cut.too_small:
        rows = sum(part.n for part in cut.too_small)
        names = ", ".join(f"{part.name} ({part.n:,})" for part in cut.too_small)
        reason += (
            f" Not judged, under {options.min_size:,} rows even together: {names}; "
            f"{rows / sample.n:.1%} of the rows."
        )
    return Verdict(
        gate=options.title(),
        outcome=outcome,
        reason=reason,
        method=f"Clopper-Pearson lower bounds, Holm-corrected over {tests} slices, together "
        f"{percent(options.confidence)}"
        + ("" if sample.group is None else "; rows counted by their effective number in groups"),
        numbers={
            "estimate": worst.part.share,
            "low": worst.low,
            "n": sample.n,
            "needed": max((finding.needed for finding in unsure), default=0),
            "tests": tests,
            "slices": [_numbers(finding) for finding in findings],
            "not_judged": {part.name: part.n for part in cut.too_small},
        },
    )


def _numbers(finding: Finding) -> JSON:
    return {
        "value": finding.part.name,
        "outcome": finding.outcome.value,
        "estimate": finding.part.share,
        "low": finding.low,
        "n": finding.part.n,
        "effective_n": finding.part.effective_n,
        "needed": finding.needed,
        "p": finding.part.p,
    }


def _slice_gates(options: SliceFloor, case: Case) -> list[SliceFloor]:
    declared = [gate.options for gate in case.gates if isinstance(gate.options, SliceFloor)]
    return declared or [options]


def _p_values(options: SliceFloor, sample: Sample) -> list[float]:
    try:
        return [part.p for part in _cut(options, sample).judged]
    except Unjudgeable:
        return []  # that gate says so itself


def _cut(options: SliceFloor, sample: Sample) -> Cut:
    """Return the slices of one gate, small ones pooled.

    Raises:
        Unjudgeable: the predictions frame has no such column.
    """
    if options.slice not in sample.rows.columns:
        found = ", ".join(map(str, sample.rows.columns))
        raise Unjudgeable(
            f"The predictions frame has no column {options.slice!r} to slice by; it has {found}."
        )
    column = sample.rows[options.slice]
    values = column.astype(object).where(column.notna(), MISSING).astype(str).to_numpy(dtype=str)
    names, number = np.unique(values, return_inverse=True)
    sizes = np.bincount(number)
    parts = [
        _slice(str(name), np.flatnonzero(number == i), sample, options.min)
        for i, name in enumerate(names)
    ]
    large = [part for part, size in zip(parts, sizes, strict=True) if size >= options.min_size]
    small = [part for part, size in zip(parts, sizes, strict=True) if size < options.min_size]
    if sum(part.n for part in small) >= options.min_size:
        rows = np.flatnonzero(sizes[number] < options.min_size)
        inside = ", ".join(part.name for part in small[:5]) + (", ..." if len(small) > 5 else "")
        large.append(_slice(f"{POOLED} ({inside})", rows, sample, options.min))
        small = []
    return Cut(judged=tuple(large), too_small=tuple(small))


def _slice(name: str, rows: Ints, sample: Sample, floor: float) -> Slice:
    answers = sample.right(Role.CANDIDATE)[rows].astype(np.int64)
    n, right = len(rows), int(answers.sum())
    effective_n, effective_right = n, right
    if sample.group is not None:
        effective_n, effective_right = effective_counts(answers, sample.group[rows])
    return Slice(
        name=name,
        n=n,
        right=right,
        effective_n=effective_n,
        effective_right=effective_right,
        p=binomial_tail(effective_right, effective_n, floor),
    )


def effective_counts(right: Ints, group: Ints) -> tuple[int, int]:
    """Return how many independent rows grouped ones are worth, and how many of these are right.

    Clopper-Pearson on effective counts (Korn & Graubard, Survey Methodology 24, 1998): n divided
    by the design effect, never above n. With under 20 groups or no spread the design effect cannot
    be estimated; then rows of one group count as if they were all alike.
    """
    n = len(right)
    _, group = np.unique(group, return_inverse=True)
    sums = sum_by(group, np.stack([np.ones(n), right.astype(float)], axis=1))
    sizes, correct = sums[:, 0], sums[:, 1]
    groups = len(sizes)
    share = right.mean()
    worst = float((sizes**2).sum()) / n
    spread = share * (1 - share) / n
    effect = worst
    if groups >= MIN_GROUPS and spread > 0:
        deviation = correct - share * sizes
        variance = groups / (groups - 1) * float((deviation**2).sum()) / n**2
        effect = min(max(variance / spread, 1.0), worst)
    effective = max(1, math.floor(n / effect + 1e-9))
    return effective, math.floor(effective * share + 1e-9)
