"""How far a metric, or a difference of two, may be from what the sample shows.

The bootstrap alone is too sure of itself where few rows tell two models apart: a sample that
happens to show few losses shows a small spread as well. With a true difference of exactly the
margin, 6 to 7 % of 200-row evaluations passed instead of 5 %, under percentile, normal and
skewness-corrected bounds alike, and 9 % under BCa. Score intervals ask how likely the sample is
*at the limit* and keep their level. So every bound is the widest of three:

- percentiles of the resamples (Efron 1979), which follow a skewed metric;
- the estimate +- its bootstrap standard error, by Student's t where groups were drawn;
- the score interval of a proportion (Wilson 1927), or of a difference of paired proportions
  (Tango 1998), that has the same estimate and the same standard error on as many rows.

`make bench-gates` simulates what comes of it.
"""

import math
from dataclasses import dataclass

import numpy as np

from nbprod.gates.decision import Gain
from nbprod.gates.exact import tango, wilson, z_value
from nbprod.gates.metrics import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """One quantity on the sample and on its resamples."""

    estimate: float
    drawn: Floats  #: (resamples,)
    n: int  #: examples
    groups: int | None  #: that were drawn whole; None where examples were drawn
    effective_n: float  #: how many independent examples those are worth; n without groups
    is_bounded: bool  #: a share, or a difference of shares: the score interval applies


def bounds(draws: Draws, *, confidence: float, is_difference: bool) -> Gain:
    """Return the estimate with one-sided bounds, the widest of the three above."""
    z = z_value(confidence)
    error, reach = float(draws.drawn.std()), z
    if draws.groups is not None:
        error *= math.sqrt(draws.groups / (draws.groups - 1))
        reach += (z**3 + z) / (4 * (draws.groups - 1))  # Student's t, to first order
    low, high = outer_quantiles(draws.drawn, confidence=confidence)
    lows, highs = [low, draws.estimate - reach * error], [high, draws.estimate + reach * error]
    if draws.is_bounded:
        score = matched_tango if is_difference else matched_wilson
        # t for z, as a larger standard error
        low, high = score(draws, error * reach / z, confidence=confidence)
        lows.append(low)
        highs.append(high)
    return Gain(
        estimate=draws.estimate,
        low=min(lows),
        high=max(highs),
        error=max(error, z / (draws.effective_n + z**2)) if draws.is_bounded else error,
        confidence=confidence,
        n=draws.n,
        groups=draws.groups,
    )


def matched_tango(draws: Draws, error: float, *, confidence: float) -> tuple[float, float]:
    """Return Tango's bounds for paired answers with this difference and standard error."""
    n = draws.effective_n
    differing = min(n * error**2 + draws.estimate**2, 1.0)  # as a share of the rows
    gained = max(n * (differing + draws.estimate) / 2, 0.0)
    lost = max(n * (differing - draws.estimate) / 2, 0.0)
    return tango(gained, lost, n, confidence=confidence)


def matched_wilson(draws: Draws, error: float, *, confidence: float) -> tuple[float, float]:
    """Return Wilson's bounds for a proportion with this estimate and standard error."""
    n = draws.effective_n
    if error > 0:
        n = min(n, draws.estimate * (1 - draws.estimate) / error**2)
    return wilson(draws.estimate, max(n, 1.0), confidence=confidence)


def outer_quantiles(drawn: Floats, *, confidence: float) -> tuple[float, float]:
    """Return the order statistics at both levels, rounded outwards."""
    low = np.quantile(drawn, 1 - confidence, method="lower")
    high = np.quantile(drawn, confidence, method="higher")
    return float(low), float(high)
