"""Exact and score methods for counts of right and wrong answers.

Written out in numpy because promotion must work in the base install, where scipy is absent; the
tests compare every function with scipy.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from nbprod.gates.metrics import Floats


def z_value(confidence: float) -> float:
    """Return the one-sided standard normal quantile, e.g. 1.645 for 0.95."""
    return NormalDist().inv_cdf(confidence)


def binomial_tail(successes: int, n: int, p: float) -> float:
    """Return P(X >= successes) for X ~ Binomial(n, p), exactly, summed in logarithms."""
    if successes <= 0:
        return 1.0
    if p <= 0.0 or successes > n:
        return 0.0
    if p >= 1.0:
        return 1.0
    return float(np.exp(_log_terms(successes, n, p)).sum().clip(0.0, 1.0))


def clopper_pearson_low(successes: int, n: int, *, confidence: float) -> float:
    """Return the exact one-sided lower bound of a proportion (Clopper & Pearson 1934).

    It is the largest p under which `successes` or more would be seen with at most 1 - confidence.
    """
    if successes <= 0:
        return 0.0
    return _root(lambda p: binomial_tail(successes, n, p) - (1 - confidence), 0.0, 1.0)


def clopper_pearson_high(successes: int, n: int, *, confidence: float) -> float:
    """Return the exact one-sided upper bound of a proportion."""
    return 1.0 - clopper_pearson_low(n - successes, n, confidence=confidence)


def mcnemar(gained: int, lost: int) -> float:
    """Return the exact one-sided p-value of McNemar's test (1947).

    Args:
        gained: rows that only the candidate has right.
        lost: rows that only the other model has right.

    Under "no better", each row on which they differ is a fair coin.
    """
    return binomial_tail(gained, gained + lost, 0.5)


def wilson(share: float, n: float, *, confidence: float) -> tuple[float, float]:
    """Return one-sided lower and upper bounds of a proportion by the score method (Wilson 1927)."""
    z = z_value(confidence)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def tango(gained: float, lost: float, n: float, *, confidence: float) -> tuple[float, float]:
    """Return one-sided lower and upper bounds of a difference of paired proportions.

    The score interval of Tango (Statistics in Medicine 17, 1998). It keeps its level where few
    rows differ, where a bootstrap or a Wald interval would collapse to a point: with none of n
    rows differing it is +- z^2 / (n + z^2).
    """
    z = z_value(confidence)

    def score(difference: float) -> float:
        # The nuisance parameter's maximum likelihood estimate under the hypothesised difference.
        a = 2 * n
        b = -gained - lost + (2 * n - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        q = max((math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a), 0.0)
        variance = n * (2 * q + difference * (1 - difference))
        distance = gained - lost - n * difference
        if variance <= 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / math.sqrt(variance)

    estimate = (gained - lost) / n
    low = _root(lambda d: z - score(d), -1.0, estimate)
    high = _root(lambda d: -z - score(d), estimate, 1.0)
    return low, high


def _log_terms(first: int, n: int, p: float) -> Floats:
    """Return log P(X = k) for k in first..n."""
    k = np.arange(first, n + 1)
    # log C(n, k) from C(n, first) by the ratio of neighbours: no log-gamma in numpy
    start = math.lgamma(n + 1) - math.lgamma(first + 1) - math.lgamma(n - first + 1)
    steps = np.log(n - k[:-1]) - np.log(k[1:])
    choose = start + np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(choose + k * math.log(p) + (n - k) * math.log1p(-p))


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function that rises through zero between `low` and `high` does so."""
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2
