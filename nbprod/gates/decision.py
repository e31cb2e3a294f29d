"""From an estimate and its bounds to an outcome: pass, fail, or too few examples to say.

Every comparison asks whether a gain (positive is better) exceeds a limit: minus the margin for
non-inferiority, `by` for superiority. It also has a target: the gain at which the gate ought to
pass (0 for non-inferiority: an equal model; `by + detect` for superiority).

- passed: the lower bound is above the limit. Wrong at most 1 - confidence of the time.
- failed: the upper bound is below the target, or the examples would have sufficed to show a gain
  as large as the target with 80 % power, and did not show it.
- unknown: neither. The examples are too few; how many would do is said.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from nbprod.core.json import JSON
from nbprod.core.verdicts import Outcome
from nbprod.gates.exact import z_value
from nbprod.gates.sample import Sample

POWER = 0.80


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """How much better the candidate is; positive is better, whatever the metric's direction."""

    estimate: float
    low: float  #: one-sided lower bound
    high: float  #: one-sided upper bound
    error: float  #: standard error
    confidence: float  #: of each bound alone
    n: int  #: examples, or rounds
    groups: int | None = None
    p: float | None = None  #: of an exact test of "no better", where there is one

    def detectable(self) -> float:
        """Return the smallest gain over the limit that would be seen with 80 % power."""
        return (z_value(self.confidence) + NormalDist().inv_cdf(POWER)) * self.error

    def needed(self, difference: float) -> int:
        """Return how many examples would show a gain of `difference` over the limit."""
        return rounded_up(self.n * (self.detectable() / difference) ** 2)


def decide(gain: Gain, *, limit: float, target: float) -> tuple[Outcome, int]:
    """Return the outcome, and the number of examples needed to show `target`, by the rule above."""
    needed = gain.needed(target - limit)
    is_shown = gain.low > limit if gain.p is None else gain.p <= 1 - gain.confidence
    if is_shown:
        return Outcome.PASSED, needed
    if gain.high < target or gain.detectable() <= target - limit:
        return Outcome.FAILED, needed
    return Outcome.UNKNOWN, needed


def rounded_up(number: float) -> int:
    """Round up to two significant digits: a power calculation knows no more."""
    if not math.isfinite(number) or number <= 0:
        return 0
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return int(math.ceil(number / unit - 1e-9) * unit)


def numbers_of(gain: Gain, *, needed: int) -> dict[str, JSON]:
    """Return what a verdict records of a comparison."""
    numbers: dict[str, JSON] = {
        "estimate": gain.estimate,
        "low": gain.low,
        "high": gain.high,
        "confidence": gain.confidence,
        "n": gain.n,
        "needed": needed,
        "detectable": gain.detectable(),
    }
    if gain.groups is not None:
        numbers["groups"] = gain.groups
    if gain.p is not None:
        numbers["p"] = gain.p
    return numbers


def examples(sample: Sample) -> str:
    """Return the size of a sample in words, e.g. "2,000 examples in 130 groups"."""
    groups = "" if sample.groups is None else f" in {sample.groups:,} groups"
    return f"{sample.n:,} examples{groups}"


def percent(confidence: float) -> str:
    """Return e.g. "95 %" or "97.5 %"."""
    return f"{100 * confidence:.6g} %"
