"""Resampling counts of like rows is resampling rows: compared with scipy's bootstrap."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nbprod.core.evidence import Role
from nbprod.gates.bootstrap import resample, seed_of, statistic
from nbprod.gates.bounds import Draws, bounds
from nbprod.gates.metrics import METRICS
from nbprod.gates.sample import join

PAIR = (Role.CANDIDATE, Role.CHAMPION)


@pytest.mark.parametrize("method", ["percentile", "BCa"])
def test_accuracy_draws_agree_with_scipys_paired_bootstrap(
    method: str, make_predictions: Callable[..., pd.DataFrame]
) -> None:
    sample = join(make_predictions(500), PAIR)
    mine, its = (sample.right(role).astype(float) for role in PAIR)

    values = resample(statistic(sample, METRICS["accuracy"]), seed=1)
    draws = values[:, 0] - values[:, 1]

    expected = stats.bootstrap(
        (mine, its),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method=method,
        confidence_level=0.9,
        n_resamples=9_999,
        rng=np.random.default_rng(2),
    )
    assert draws.std(ddof=1) == pytest.approx(expected.standard_error, rel=0.03)
    interval = expected.confidence_interval
    assert np.quantile(draws, [0.05, 0.95]) == pytest.approx(
        [interval.low, interval.high], abs=0.1 * (interval.high - interval.low)
    )


@pytest.mark.parametrize("name", sorted(METRICS))
def test_counts_and_single_rows_give_the_same_spread(
    name: str, make_predictions: Callable[..., pd.DataFrame]
) -> None:
    sample = join(make_predictions(400, classes=2), PAIR)
    as_groups = replace(sample, group=np.arange(sample.n))  # each row a group: drawn one by one

    by_count = resample(statistic(sample, METRICS[name]), seed=1, resamples=4_000)
    by_row = resample(statistic(as_groups, METRICS[name]), seed=2, resamples=4_000)

    assert by_count.mean(axis=0) == pytest.approx(by_row.mean(axis=0), abs=0.005)
    assert by_count.std(axis=0) == pytest.approx(by_row.std(axis=0), rel=0.07)


def test_rows_of_one_group_are_drawn_together(
    make_predictions: Callable[..., pd.DataFrame],
) -> None:
    once = make_predictions(200)
    # Every example ten times under one group: ten times the rows, not one bit more knowledge.
    copies = pd.concat(
        once.assign(example_id=once["example_id"] + f"/{copy}", group=once["example_id"])
        for copy in range(10)
    )

    alone = resample(statistic(join(once, PAIR), METRICS["macro_f1"]), seed=1)
    grouped = resample(statistic(join(copies, PAIR), METRICS["macro_f1"]), seed=1)

    assert grouped.std(axis=0) == pytest.approx(alone.std(axis=0), rel=0.05)


def test_the_seed_belongs_to_the_evaluation_set() -> None:
    assert seed_of("one set") == seed_of("one set")
    assert seed_of("one set") != seed_of("another set")


def test_bounds_are_never_tighter_than_so_many_rows_allow() -> None:
    alike = Draws(
        estimate=0.0, drawn=np.zeros(999), n=100, groups=None, effective_n=100.0, is_bounded=True
    )
    z2 = stats.norm.ppf(0.95) ** 2

    gain = bounds(alike, confidence=0.95, is_difference=True)

    assert (gain.low, gain.high) == pytest.approx((-z2 / (100 + z2), z2 / (100 + z2)), abs=1e-9)
