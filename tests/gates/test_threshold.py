"""Floors and ceilings: of the number itself, or of its bound."""

from collections.abc import Callable

import pandas as pd
import pytest
from scipy import stats

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Outcome, Verdict

MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., tuple[Verdict, ...]]


@pytest.mark.parametrize(
    ("table", "outcome", "reason"),
    [
        (
            {"scrap": "rmse", "min": 1, "max": 3},
            Outcome.PASSED,
            "rmse is 2.5; required is from 1 to 3.",
        ),
    ],
)
def test_a_scrap_that_rows_do_not_bear_is_compared_as_it_was_glued(
    table: dict[str, object],
    outcome: Outcome,
    reason: str,
    make_evidence: MakeEvidence,
    verdicts: Judge,
) -> None:
    (verdict,) = verdicts(make_evidence(scraps={"rmse": 2.5, "accuracy": 0.85}), table)

    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.method == "the value itself, without allowance for chance"


def test_a_metric_whose_columns_are_missing_is_taken_as_glued(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    glued, resampled = verdicts(
        make_evidence(scraps={"log_loss": 0.61}),  # of four classes, without label_score
        {"scrap": "log_loss", "max": 0.7},
        {"scrap": "log_loss", "max": 0.7, "confidence": 0.95},
    )

    assert (glued.outcome, glued.reason) == (
        Outcome.PASSED,
        "log_loss is 0.61; required is at most 0.7.",
    )
    assert (resampled.outcome, resampled.reason) == (
        Outcome.UNKNOWN,
        "log_loss of 4 classes needs the column 'label_score' in the predictions frame: the "
        "probability given to the label.",
    )


def test_with_confidence_the_lower_bound_is_compared(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence()
    low = stats.binomtest(340, 400, alternative="greater").proportion_ci(0.95).low

    passed, unsure, failed = verdicts(
        evidence,
        *({"scrap": "accuracy", "min": limit, "confidence": 0.95} for limit in (0.81, 0.83, 0.9)),
    )

    assert passed.numbers["low"] == pytest.approx(low)
    assert passed.reason == (
        "accuracy is 0.8500 on 400 examples, with 95 % confidence at least 0.8175; required is at "
        "least 0.81."
    )
    assert unsure.reason == (
        "Too few examples: n = 400, about 2,000 are needed to be sure. accuracy is 0.8500 on 400 "
        "examples, with 95 % confidence at least 0.8175; required is at least 0.83."
    )
    outcomes = [verdict.outcome for verdict in (passed, unsure, failed)]
    assert outcomes == [Outcome.PASSED, Outcome.UNKNOWN, Outcome.FAILED]


def test_a_metric_without_an_exact_bound_is_resampled(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    tables = [{"scrap": "macro_f1", "min": limit, "confidence": 0.95} for limit in (0.82, 0.86)]

    passed, blocked = verdicts(make_evidence(make_predictions(1_000)), *tables)

    assert (passed.outcome, blocked.outcome) == (Outcome.PASSED, Outcome.FAILED)
    assert passed.method == "bootstrap of examples, 9,999 resamples, one-sided 95 %"
    assert 0.82 < float(str(passed.numbers["low"])) < float(str(passed.numbers["estimate"]))


def test_an_error_rate_has_an_upper_bound(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    (verdict,) = verdicts(make_evidence(), {"scrap": "error_rate", "max": 0.2, "confidence": 0.95})

    assert (verdict.outcome, verdict.reason) == (
        Outcome.PASSED,
        "error_rate is 0.1500 on 400 examples, with 95 % confidence at most 0.1825; required is at "
        "most 0.2.",
    )


@pytest.mark.parametrize(
    ("table", "outcome", "reason"),
    [
        (
            {"scrap": "accuracy", "min": 0.80},
            Outcome.PASSED,
            "accuracy is 0.8500 on 400 examples, with 95 % confidence at least 0.8175; "
            "required is at least 0.8.",
        ),
        (
            {"scrap": "accuracy", "min": 0.84},
            Outcome.UNKNOWN,
            "Too few examples: n = 400, about 7,900 are needed to be sure. accuracy is 0.8500 on "
            "400 examples, with 95 % confidence at least 0.8175; required is at least 0.84.",
        ),
        (
            {"scrap": "accuracy", "min": 0.87},
            Outcome.FAILED,
            "accuracy is 0.8500 on 400 examples, with 95 % confidence at least 0.8175; "
            "required is at least 0.87.",
        ),
        (
            {"scrap": "error_rate", "max": 0.1},
            Outcome.FAILED,
            "error_rate is 0.1500 on 400 examples, with 95 % confidence at most 0.1825; "
            "required is at most 0.1.",
        ),
    ],
)
def test_a_metric_of_rows_is_shown_to_be_within_its_limits_not_only_seen(
    table: dict[str, object],
    outcome: Outcome,
    reason: str,
    make_evidence: MakeEvidence,
    verdicts: Judge,
) -> None:
    (verdict,) = verdicts(make_evidence(scraps={"accuracy": 0.85}), table)

    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.method == "Clopper-Pearson, one-sided 95 %"
