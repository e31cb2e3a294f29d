"""Latency: within a limit, or not much slower than another model, from interleaved rounds."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Outcome, Verdict

MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., tuple[Verdict, ...]]
MakeLatency = Callable[..., pd.DataFrame]

RATIO = {"scrap": "latency_p95_ms", "not_worse_than": "champion", "ratio": 1.2}


def test_a_limit_is_held_by_the_percentile_of_all_calls(
    make_latency: MakeLatency, make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    frame = make_latency(100)
    times = frame.loc[frame["role"] == "candidate", "milliseconds"]
    p95 = float(np.percentile(times, 95))
    evidence = make_evidence(latency=frame, scraps={"latency_p95_ms": p95})

    passed, failed, mean = verdicts(
        evidence,
        {"scrap": "latency_p95_ms", "max": 150},
        {"scrap": "latency_p95_ms", "max": p95 - 0.01, "confidence": 0.95},
        {"scrap": "latency_mean_ms", "max": 21, "confidence": 0.95},
    )

    assert passed.reason == (
        f"latency_p95_ms is {p95:.4g} over 100 rounds, with 95 % confidence at most "
        f"{passed.numbers['high']:.4g}; required is at most 150."
    )
    assert passed.numbers["estimate"] == pytest.approx(p95)
    assert [verdict.outcome for verdict in (passed, failed, mean)] == [
        Outcome.PASSED,
        Outcome.FAILED,
        Outcome.PASSED,
    ]


@pytest.mark.parametrize(
    ("scale", "outcome"), [(1.0, Outcome.PASSED), (1.4, Outcome.FAILED), (1.19, Outcome.FAILED)]
)
def test_a_ratio_is_decided_by_paired_rounds(
    scale: float,
    outcome: Outcome,
    make_latency: MakeLatency,
    make_evidence: MakeEvidence,
    verdicts: Judge,
) -> None:
    evidence = make_evidence(latency=make_latency(300, candidate=20 * scale))

    (verdict,) = verdicts(evidence, RATIO)

    assert verdict.outcome is outcome
    assert verdict.numbers["ratio"] == pytest.approx(scale, rel=0.03)


def test_a_slow_minute_of_the_machine_hits_both(
    make_latency: MakeLatency, make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    frame = make_latency(200)
    frame.loc[frame["round"] < 40, "milliseconds"] *= 10

    (verdict,) = verdicts(make_evidence(latency=frame), RATIO)

    assert verdict.outcome is Outcome.PASSED
    assert "over 200 interleaved rounds: " in verdict.reason


def test_several_calls_a_round_are_all_counted(
    make_latency: MakeLatency, make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    once, again = make_latency(100), make_latency(100, seed=1)
    frame = pd.concat([once, again])
    times = frame.loc[frame["role"] == "candidate", "milliseconds"]

    (verdict,) = verdicts(make_evidence(latency=frame), {"scrap": "latency_p95_ms", "max": 150})

    assert verdict.numbers["estimate"] == pytest.approx(np.percentile(times, 95))
    assert verdict.numbers["n"] == 100


@pytest.mark.parametrize(
    ("bend", "table", "reason"),
    [
        (
            lambda frame: frame[(frame["role"] != "champion") | (frame["round"] >= 10)],
            RATIO,
            "The candidate and the champion were not timed in the same rounds, so a slow minute of "
            "the machine may have hit only one of them.",
        ),
        (
            lambda frame: frame[frame["role"] != "champion"],
            RATIO,
            "The latency frame has no calls of the champion.",
        ),
        (
            lambda frame: frame[frame["round"] < 40],
            RATIO,
            "Too few rounds: n = 40, 59 are needed for latency_p95_ms.",
        ),
        (
            lambda frame: frame[frame["round"] < 10],
            {"scrap": "latency_p95_ms", "max": 150},
            "Too few rounds: n = 10, 20 are needed for latency_p95_ms.",
        ),
        (
            lambda frame: frame.drop(columns="round"),
            RATIO,
            "The latency frame lacks 'round'.",
        ),
        (
            lambda frame: frame.assign(milliseconds=np.nan),
            RATIO,
            "200 of the candidate's 200 calls have no valid duration.",
        ),
        (
            lambda frame: pd.concat([frame, frame[frame["round"] == 3]]),
            RATIO,
            "The rounds of the latency frame hold differing numbers of calls.",
        ),
    ],
)
def test_times_that_may_not_decide_are_unknown(
    bend: Callable[[pd.DataFrame], pd.DataFrame],
    table: dict[str, object],
    reason: str,
    make_latency: MakeLatency,
    make_evidence: MakeEvidence,
    verdicts: Judge,
) -> None:
    (verdict,) = verdicts(make_evidence(latency=bend(make_latency())), table)

    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, reason)


def test_a_scrap_that_disagrees_with_the_calls_is_unknown(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    (verdict,) = verdicts(
        make_evidence(scraps={"latency_p95_ms": 5.0}), {"scrap": "latency_p95_ms", "max": 150}
    )

    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reason.startswith(
        "The scrap 'latency_p95_ms' says 5.0000, but the evaluation's own rows give "
    )
