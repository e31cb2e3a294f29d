"""Our binomial arithmetic against scipy's, and Tango's interval against its definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from nbprod.gates.exact import (
    binomial_tail,
    clopper_pearson_high,
    clopper_pearson_low,
    mcnemar,
    tango,
    wilson,
)

COUNTS = st.integers(1, 3_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.floats(0.001, 0.999))
def test_the_binomial_tail_is_scipys(counts: tuple[int, int], p: float) -> None:
    successes, n = counts

    expected = stats.binom.sf(successes - 1, n, p)

    assert binomial_tail(successes, n, p) == pytest.approx(expected, rel=1e-8, abs=1e-12)


@given(COUNTS, st.sampled_from([0.9, 0.95, 0.9875]))
def test_clopper_pearson_is_scipys(counts: tuple[int, int], confidence: float) -> None:
    successes, n = counts
    greater = stats.binomtest(successes, n, alternative="greater")
    less = stats.binomtest(successes, n, alternative="less")

    low = clopper_pearson_low(successes, n, confidence=confidence)
    high = clopper_pearson_high(successes, n, confidence=confidence)

    assert low == pytest.approx(greater.proportion_ci(confidence, "exact").low, abs=1e-9)
    assert high == pytest.approx(less.proportion_ci(confidence, "exact").high, abs=1e-9)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_binomial_test_of_the_rows_that_differ(gained: int, lost: int) -> None:
    expected = (
        stats.binomtest(gained, gained + lost, alternative="greater").pvalue
        if gained + lost
        else 1.0
    )

    assert mcnemar(gained, lost) == pytest.approx(expected, abs=1e-12)


@given(COUNTS)
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    successes, n = counts
    # scipy's two-sided 90 % is our one-sided 95 % on each side
    expected = stats.binomtest(successes, n).proportion_ci(0.9, "wilson")

    low, high = wilson(successes / n, n, confidence=0.95)

    assert max(low, 0) == pytest.approx(expected.low, abs=1e-9)
    assert min(high, 1) == pytest.approx(expected.high, abs=1e-9)


def test_tango_with_no_row_that_differs_is_the_rule_of_three_in_short() -> None:
    z2 = stats.norm.ppf(0.95) ** 2

    low, high = tango(0, 0, 100, confidence=0.95)

    assert (low, high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)), abs=1e-9)


@pytest.mark.parametrize(
    ("gained", "lost", "n"), [(12, 2, 50), (3, 9, 200), (0, 5, 80), (40, 41, 600)]
)
def test_tango_solves_the_score_equation_with_the_restricted_likelihood(
    gained: int, lost: int, n: int
) -> None:
    def score(difference: float) -> float:
        """Tango's z by maximising the multinomial likelihood numerically, not in closed form."""

        def unlikelihood(q: float) -> float:  # q: probability of a lost row
            p = q + difference
            cells = ((gained, p), (lost, q), (n - gained - lost, 1 - p - q))
            return -sum(count * math.log(max(share, 1e-300)) for count, share in cells if count)

        edges = (max(0.0, -difference), (1 - difference) / 2)
        q = optimize.minimize_scalar(
            unlikelihood, bounds=edges, method="bounded", options={"xatol": 1e-12}
        ).x
        spread = math.sqrt(n * (2 * q + difference - difference**2))
        return (gained - lost - n * difference) / spread

    low, high = tango(gained, lost, n, confidence=0.95)

    assert score(low) == pytest.approx(stats.norm.ppf(0.95), abs=1e-3)
    assert score(high) == pytest.approx(-stats.norm.ppf(0.95), abs=1e-3)


def test_tango_covers_where_few_rows_differ() -> None:
    rng = np.random.default_rng(1)
    n, simulations = 150, 4_000
    drawn = rng.multinomial(n, [0.005, 0.025, 0.97], size=simulations)  # truth: -0.02

    low = np.array([tango(gained, lost, n, confidence=0.95)[0] for gained, lost, _ in drawn[:800]])

    missed = int((low > -0.02).sum())
    assert stats.binomtest(missed, 800, 0.06, alternative="greater").pvalue > 0.01
