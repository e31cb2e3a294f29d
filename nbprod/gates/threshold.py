"""A floor or a ceiling for one number."""

import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from nbprod.core.evidence import Role
from nbprod.core.json import JSON
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates import validity
from nbprod.gates.bootstrap import is_computable
from nbprod.gates.bounds import bounds
from nbprod.gates.case import Case
from nbprod.gates.decision import POWER, examples, percent, rounded_up
from nbprod.gates.exact import clopper_pearson_high, clopper_pearson_low, z_value
from nbprod.gates.metrics import METRICS, Metric
from nbprod.gates.options import Confidence, GateOptions
from nbprod.gates.sample import Sample, Unjudgeable

DEFAULT_CONFIDENCE = 0.95


class Threshold(GateOptions):
    """`{scrap = "macro_f1", min = 0.55}`: a number, and what it must be shown to be.

    A metric that is computed from the rows is judged by its bound, with 95 % confidence unless
    another is given: a floor that five lucky rows clear is none.
    Any other scrap is compared as it was glued.
    """

    scrap: Annotated[str, Field(min_length=1)]
    min: float | None = None
    max: float | None = None
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min = {self.min:g} is above max = {self.max:g}: nothing can pass")
        if self.confidence is not None and self.scrap not in METRICS:
            raise ValueError(
                f"confidence needs a metric that is computed from predictions, and "
                f"{self.scrap!r} is not; known: {', '.join(METRICS)}"
            )
        return self

    def title(self) -> str:
        """Return e.g. "macro_f1 at least 0.55"."""
        return f"{self.scrap} {limits(self.min, self.max)}" + (
            f" with {percent(self.confidence)} confidence" if self.confidence is not None else ""
        )


def threshold(options: Threshold, case: Case) -> Verdict:
    """Pass when the candidate's number, or its bound, is within the limits.

    A metric is computed anew from the predictions; any other scrap is taken as glued, as is one
    of probabilities that the predictions frame does not hold.
    """
    metric = METRICS.get(options.scrap)
    if metric is None:
        return _of_scrap(options, case)
    sample = case.sample()
    if options.confidence is None and not is_computable(sample, metric):
        return _of_scrap(options, case)
    return _of_bounds(options, case, metric, sample, case.estimate(metric))


def limits(low: float | None, high: float | None) -> str:
    """Return limits in words, e.g. "at least 0.55"."""
    if high is None:
        return f"at least {low:g}"
    if low is None:
        return f"at most {high:g}"
    return f"from {low:g} to {high:g}"


def _of_scrap(options: Threshold, case: Case) -> Verdict:
    validity.check_candidate(case.evidence)
    if case.evidence.seen_in_training.get(Role.CANDIDATE):
        validity.check_training(case.evidence, Role.CANDIDATE)
    value = case.evidence.scraps.get(options.scrap)
    if value is None:
        found = sorted(case.evidence.scraps)
        raise Unjudgeable(
            f"The evaluation left no scrap {options.scrap!r}; it left {', '.join(found) or 'none'}."
        )
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unjudgeable(f"The scrap {options.scrap!r} is not a finite number: {value!r}.")
    return _of_point(options, float(value), "", {})


def _of_point(options: Threshold, value: float, on: str, numbers: dict[str, JSON]) -> Verdict:
    is_inside = (options.min is None or value >= options.min) and (
        options.max is None or value <= options.max
    )
    required = limits(options.min, options.max)
    return Verdict(
        gate=options.title(),
        outcome=Outcome.PASSED if is_inside else Outcome.FAILED,
        reason=f"{options.scrap} is {value:.4g}{on}; required is {required}.",
        method="the value itself, without allowance for chance",
        numbers={"estimate": value, **numbers},
    )


def _of_bounds(
    options: Threshold, case: Case, metric: Metric, sample: Sample, value: float
) -> Verdict:
    """Decide by the bound on the side of each limit."""
    confidence = DEFAULT_CONFIDENCE if options.confidence is None else options.confidence
    if metric.name in ("accuracy", "error_rate") and sample.group is None:
        count = round(value * sample.n)
        low = clopper_pearson_low(count, sample.n, confidence=confidence)
        high = clopper_pearson_high(count, sample.n, confidence=confidence)
        error = math.sqrt(value * (1 - value) / sample.n)
        method = f"Clopper-Pearson, one-sided {percent(confidence)}"
    else:
        gain = bounds(case.level(metric), confidence=confidence, is_difference=False)
        low, high, error = gain.low, gain.high, gain.error
        method = f"{case.resampling(sample)}, one-sided {percent(confidence)}"
    is_outside = (options.min is not None and value < options.min) or (
        options.max is not None and value > options.max
    )
    is_shown = (options.min is None or low >= options.min) and (
        options.max is None or high <= options.max
    )
    outcome = Outcome.FAILED if is_outside else Outcome.PASSED if is_shown else Outcome.UNKNOWN
    room = min(abs(value - limit) for limit in (options.min, options.max) if limit is not None)
    reach = (z_value(confidence) + z_value(POWER)) * error
    needed = rounded_up(sample.n * (reach / room) ** 2) if room > 0 else 0
    reason = (
        f"{metric.name} is {value:.4f} on {examples(sample)}, with {percent(confidence)} "
        f"confidence {_side(options, low, high)}; required is {limits(options.min, options.max)}."
    )
    if outcome is Outcome.UNKNOWN:
        want = (
            f"about {needed:,} are needed" if needed else "no number suffices on the limit itself"
        )
        reason = f"Too few examples: n = {sample.n:,}, {want} to be sure. {reason}"
    return Verdict(
        gate=options.title(),
        outcome=outcome,
        reason=reason,
        method=method,
        numbers={
            "estimate": value,
            "low": low,
            "high": high,
            "confidence": confidence,
            "n": sample.n,
            "needed": needed,
        },
    )


def _side(options: Threshold, low: float, high: float) -> str:
    if options.max is None:
        return f"at least {low:.4f}"
    if options.min is None:
        return f"at most {high:.4f}"
    return f"from {low:.4f} to {high:.4f}"
