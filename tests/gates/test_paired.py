"""Candidate against champion or baseline: passed, failed, or too few examples to say."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates.decision import Gain, decide, rounded_up

MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., tuple[Verdict, ...]]


def answers(both: int, gained: int, lost: int, neither: int) -> pd.DataFrame:
    """Return rows of which so many are right by both, by one alone, by neither."""
    cells = np.repeat(np.arange(4), [both, gained, lost, neither])
    ids = [f"e{i}" for i in range(len(cells))]
    right = {"candidate": np.isin(cells, [0, 1]), "champion": np.isin(cells, [0, 2])}
    label = np.arange(len(cells)) % 2
    return pd.concat(
        pd.DataFrame(
            {
                "example_id": ids,
                "role": role,
                "label": label,
                "predicted": np.where(mask, label, 1 - label),
            }
        )
        for role, mask in right.items()
    )


def test_beating_is_decided_by_the_exact_mcnemar_test(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(answers(400, 31, 14, 55))

    (verdict,) = verdicts(evidence, {"scrap": "accuracy", "beats": "champion"})

    assert verdict.outcome is Outcome.PASSED
    expected = stats.binomtest(31, 45, alternative="greater").pvalue
    assert verdict.numbers["p"] == pytest.approx(expected)
    assert verdict.reason == (
        "accuracy 0.8620 against the champion's 0.8280 on the same 500 examples: gain +0.0340, "
        "with 95 % confidence at least +0.0123; required is more than 0 (p = 0.008). It could have "
        "seen a difference of 0.0331."
    )
    assert verdict.method == (
        "exact McNemar test, bounds by Tango's score interval, one-sided 95 % (31 rows right only "
        "by the candidate, 14 only by the champion)"
    )


def test_too_few_examples_say_how_many_are_needed(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(answers(160, 9, 7, 24))

    level, better = verdicts(
        evidence,
        {"scrap": "accuracy", "not_worse_than": "champion", "margin": 0.02},
        {"scrap": "accuracy", "beats": "champion"},
    )

    assert (level.outcome, level.reason) == (
        Outcome.UNKNOWN,
        "Too few examples: n = 200, about 1,300 are needed to show an equally good model not "
        "worse. accuracy 0.8450 against the champion's 0.8350 on the same 200 examples: gain "
        "+0.0100, with 95 % confidence at least -0.0245; required is more than -0.02. It could "
        "have seen a difference of 0.0497.",
    )
    assert (better.outcome, better.reason) == (
        Outcome.UNKNOWN,
        "Too few examples: n = 200, about 1,300 are needed to show a gain of 0.02. accuracy "
        "0.8450 against the champion's 0.8350 on the same 200 examples: gain +0.0100, with 95 % "
        "confidence at least -0.0245; required is more than 0 (p = 0.4). It could have seen a "
        "difference of 0.0497.",
    )
    assert (level.numbers["n"], level.numbers["needed"]) == (200, 1_300)


def test_a_worse_challenger_fails(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    evidence = make_evidence(answers(700, 20, 90, 190))

    outcomes = [
        verdict.outcome
        for verdict in verdicts(
            evidence,
            {"scrap": "accuracy", "not_worse_than": "champion", "margin": 0.02},
            {"scrap": "error_rate", "not_worse_than": "champion", "margin": 0.02},
            {"scrap": "macro_f1", "not_worse_than": "champion", "margin": 0.02},
            {"scrap": "accuracy", "beats": "champion"},
            {"scrap": "macro_f1", "beats": "champion", "by": 0.01},
        )
    ]

    assert outcomes == [Outcome.FAILED] * 5


def test_a_metric_where_less_is_better_counts_gains_the_right_way_round(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(answers(400, 31, 14, 55))

    (verdict,) = verdicts(evidence, {"scrap": "error_rate", "beats": "champion"})

    assert verdict.outcome is Outcome.PASSED
    assert verdict.reason.startswith(
        "error_rate 0.1380 against the champion's 0.1720 on the same 500 examples: gain +0.0340,"
    )


def test_by_asks_for_more_than_a_difference(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    evidence = make_evidence(answers(400, 31, 14, 55))

    (verdict,) = verdicts(evidence, {"scrap": "accuracy", "beats": "champion", "by": 0.03})

    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reason.startswith(
        "Too few examples: n = 500, about 1,400 are needed to show a gain of 0.02 over 0.03. "
    )


def test_models_that_agree_everywhere_need_rows_too(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    gate = {"scrap": "accuracy", "not_worse_than": "champion", "margin": 0.02}
    few, many = make_evidence(answers(90, 0, 0, 10)), make_evidence(answers(900, 0, 0, 100))

    assert verdicts(few, gate)[0].outcome is Outcome.UNKNOWN
    assert verdicts(many, gate)[0].outcome is Outcome.PASSED
    for metric in ("macro_f1", "balanced_accuracy"):
        assert verdicts(few, {**gate, "scrap": metric})[0].outcome is Outcome.UNKNOWN


def test_grouped_rows_count_for_less(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    once = make_predictions(60)
    copies = pd.concat(
        once.assign(example_id=once["example_id"] + f"/{copy}") for copy in range(20)
    )
    gate = {"scrap": "accuracy", "not_worse_than": "champion", "margin": 0.02}
    grouped = copies.assign(group=copies["example_id"].str.split("/").str[0])

    (as_rows,) = verdicts(make_evidence(copies), gate)
    (as_groups,) = verdicts(make_evidence(grouped), gate)

    assert as_rows.numbers["detectable"] < as_groups.numbers["detectable"] / 3  # type: ignore[operator]
    assert as_groups.numbers["groups"] == 60
    assert "on the same 1,200 examples in 60 groups:" in as_groups.reason
    assert as_groups.method.startswith("paired bootstrap of whole groups, 9,999 resamples, seed ")


@pytest.mark.parametrize(
    ("low", "high", "error", "outcome"),
    [
        (-0.019, 0.02, 0.012, Outcome.PASSED),  # above the limit
        (-0.019, -0.001, 0.005, Outcome.PASSED),  # worse for sure, but by less than the margin
        (-0.05, -0.001, 0.015, Outcome.FAILED),  # worse for sure
        (-0.021, 0.005, 0.008, Outcome.FAILED),  # the rows would have shown an equal model
        (-0.030, 0.030, 0.018, Outcome.UNKNOWN),  # anything may be true
    ],
)
def test_the_rule_of_decision(low: float, high: float, error: float, outcome: Outcome) -> None:
    gain = Gain(estimate=(low + high) / 2, low=low, high=high, error=error, confidence=0.95, n=500)

    assert decide(gain, limit=-0.02, target=0.0)[0] is outcome


@pytest.mark.parametrize(
    ("number", "expected"), [(0.2, 1), (7.2, 8), (99.1, 100), (1_243, 1_300), (1e6, 1_000_000)]
)
def test_needed_examples_are_rounded_up_to_two_digits(number: float, expected: int) -> None:
    assert rounded_up(number) == expected
