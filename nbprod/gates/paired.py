"""Candidate against champion or baseline, on the same rows: not worse, or better."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from nbprod.core.evidence import Role
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates import validity
from nbprod.gates.bounds import bounds
from nbprod.gates.case import Case
from nbprod.gates.decision import Gain, decide, examples, numbers_of, percent
from nbprod.gates.exact import mcnemar, tango, z_value
from nbprod.gates.metrics import METRICS
from nbprod.gates.options import Confidence, GateOptions, MetricName, Rival
from nbprod.gates.sample import Sample
from nbprod.gates.settled import settled


class NotWorseThan(GateOptions):
    """`{scrap = "macro_f1", not_worse_than = "champion", margin = 0.02}`: non-inferiority."""

    scrap: MetricName
    not_worse_than: Rival
    margin: Annotated[float, Field(gt=0.0)]
    confidence: Confidence = 0.95

    def title(self) -> str:
        """Return e.g. "macro_f1 not worse than champion by 0.02"."""
        return f"{self.scrap} not worse than {self.not_worse_than} by {self.margin:g}"


class Beats(GateOptions):
    """`{scrap = "macro_f1", beats = "baseline"}`: superiority, by more than `by`."""

    scrap: MetricName
    beats: Rival
    by: Annotated[float, Field(ge=0.0)] = 0.0
    detect: Annotated[float, Field(gt=0.0)] = 0.02
    """The smallest gain over `by` worth finding: it tells a failed gate from too few examples."""
    confidence: Confidence = 0.95

    def title(self) -> str:
        """Return e.g. "macro_f1 beats baseline by 0.01"."""
        return f"{self.scrap} beats {self.beats}" + (f" by {self.by:g}" if self.by else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Candidate and rival on the same rows."""

    role: Role  #: the rival's
    sample: Sample
    own: float  #: the candidate's score
    its: float  #: the rival's score
    gain: Gain
    method: str


def not_worse_than(options: NotWorseThan, case: Case) -> Verdict:
    """Pass when the candidate is shown to be less than `margin` worse."""
    role = Role(options.not_worse_than)
    early = settled(options.title(), case, role, when_same=Outcome.PASSED)
    if early is not None:
        return early
    found = _compare(options, case, role, is_test_of_zero=False)
    limit = -options.margin
    outcome, needed = decide(found.gain, limit=limit, target=0.0)
    aim = "to show an equally good model not worse"
    return _verdict(options, case, found, outcome, needed=needed, aim=aim, limit=limit)


def beats(options: Beats, case: Case) -> Verdict:
    """Pass when the candidate is shown to be better by more than `by`."""
    role = Role(options.beats)
    early = settled(options.title(), case, role, when_same=Outcome.FAILED)
    if early is not None:
        return early
    found = _compare(options, case, role, is_test_of_zero=options.by == 0)
    outcome, needed = decide(found.gain, limit=options.by, target=options.by + options.detect)
    aim = f"to show a gain of {options.detect:g}" + (f" over {options.by:g}" if options.by else "")
    return _verdict(options, case, found, outcome, needed=needed, aim=aim, limit=options.by)


def _compare(
    options: NotWorseThan | Beats, case: Case, role: Role, *, is_test_of_zero: bool
) -> Comparison:
    sample = case.sample(role)
    metric = METRICS[options.scrap]
    own = case.estimate(metric)
    if metric.name in ("accuracy", "error_rate") and sample.group is None:
        gain, method = _of_answers(
            sample, role, options.confidence, is_test_of_zero=is_test_of_zero
        )
    else:
        gain = bounds(case.gain(metric, role), confidence=options.confidence, is_difference=True)
        sure = percent(options.confidence)
        method = f"paired {case.resampling(sample)}, seed {case.seed}, one-sided {sure}"
    its = own - metric.sign * gain.estimate
    return Comparison(role=role, sample=sample, own=own, its=its, gain=gain, method=method)


def _of_answers(
    sample: Sample, role: Role, confidence: float, *, is_test_of_zero: bool
) -> tuple[Gain, str]:
    """Compare right and wrong answers row by row: exactly, where there is an exact test."""
    mine, its = sample.right(Role.CANDIDATE), sample.right(role)
    gained, lost = int((mine & ~its).sum()), int((its & ~mine).sum())
    low, high = tango(gained, lost, sample.n, confidence=confidence)
    estimate = (gained - lost) / sample.n
    z = z_value(confidence)
    floor = z / (sample.n + z**2)  # the spread that is left when no row differs
    error = math.sqrt(max(gained + lost - sample.n * estimate**2, 0.0)) / sample.n
    gain = Gain(
        estimate=estimate,
        low=low,
        high=high,
        error=max(error, floor),
        confidence=confidence,
        n=sample.n,
        p=mcnemar(gained, lost) if is_test_of_zero else None,
    )
    test = "exact McNemar test, bounds by " if is_test_of_zero else ""
    rows = f"{gained:,} rows right only by the candidate, {lost:,} only by the {role}"
    return gain, f"{test}Tango's score interval, one-sided {percent(confidence)} ({rows})"


def _verdict(
    options: NotWorseThan | Beats,
    case: Case,
    found: Comparison,
    outcome: Outcome,
    *,
    needed: int,
    aim: str,
    limit: float,
) -> Verdict:
    gain, n = found.gain, found.sample.n
    head = ""
    if outcome is Outcome.UNKNOWN:
        head = f"Too few examples: n = {n:,}, about {needed:,} are needed {aim}. "
    shown = (
        f"{options.scrap} {found.own:.4f} against the {found.role}'s {found.its:.4f} on the same "
        f"{examples(found.sample)}: gain {gain.estimate:+.4f}, with {percent(gain.confidence)} "
        f"confidence at least {gain.low:+.4f}; required is more than {limit:g}"
    )
    tested = f" (p = {gain.p:.2g})." if gain.p is not None else "."
    seen = f" It could have seen a difference of {gain.detectable():.4f}."
    return Verdict(
        gate=options.title(),
        outcome=outcome,
        reason=head + shown + tested + seen + validity.caveat(case.evidence, found.role),
        method=found.method,
        numbers={
            "candidate": found.own,
            found.role.value: found.its,
            **numbers_of(gain, needed=needed),
            "seed": case.seed,
        },
    )
