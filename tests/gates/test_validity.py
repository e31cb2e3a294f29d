"""Evidence that may not decide gives `unknown`, with the sentence that says why."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Outcome, Verdict

MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., tuple[Verdict, ...]]
Bend = Callable[[pd.DataFrame], pd.DataFrame]

LEVEL = {"scrap": "accuracy", "not_worse_than": "champion", "margin": 0.02}
FLOOR = {"scrap": "accuracy", "min": 0.5}


def of(role: str, frame: pd.DataFrame) -> pd.Series:
    return frame["role"] == role


@pytest.mark.parametrize(
    ("changes", "table", "reason"),
    [
        (
            {"predictions": None, "scored": {}, "run": None},
            FLOOR,
            "No evaluation run has scored the candidate.",
        ),
        ({"predictions": None}, FLOOR, "The evaluation left no predictions frame."),
        (
            {"scored": {}},
            FLOOR,
            "The evidence does not say by digest which candidate it scored.",
        ),
        (
            {"candidate": "another-one--digest"},
            FLOOR,
            "The evidence is of another model: it scored candidate---, to be promoted is "
            "another-one-.",
        ),
        (
            {"champion": "new-champion-digest"},
            LEVEL,
            "The champion has changed since the evaluation: it compared with champion----, serving "
            "now is new-champion. Evaluate again.",
        ),
        (
            {"champion": None},
            LEVEL,
            "The evidence compares with champion---- as champion, but there is none now: evaluate "
            "again.",
        ),
        (
            {"scored": {"candidate": "candidate---digest"}},
            LEVEL,
            "The evaluation did not score the champion.",
        ),
        (
            {"fingerprints": {"candidate": "a" * 64, "champion": "b" * 64}},
            LEVEL,
            "The models were scored on different data; fingerprints: candidate aaaaaaaaaaaa, "
            "champion bbbbbbbbbbbb.",
        ),
        (
            {"fingerprints": {"candidate": "a" * 64}},
            LEVEL,
            "The evaluation recorded no data fingerprint for the champion.",
        ),
        (
            {"seen_in_training": {"candidate": 7, "champion": 0}},
            LEVEL,
            "The candidate was trained on 7 of the evaluation rows: its score on them says nothing "
            "about rows it has not seen.",
        ),
        (
            {"seen_in_training": {"candidate": 0, "champion": 1_200}},
            LEVEL,
            "The champion was trained on 1,200 of the evaluation rows: its score on them says "
            "nothing about rows it has not seen.",
        ),
        (
            {"seen_in_training": {"candidate": None, "champion": 0}},
            FLOOR,
            "The candidate left no record of the rows it was trained on (training_ids.npy in its "
            "folder), so it may have seen the evaluation rows.",
        ),
        (
            {"scraps": {"accuracy": 0.99}},
            FLOOR,
            "The scrap 'accuracy' says 0.9900, but the evaluation's own rows give 0.8500.",
        ),
        (
            {"scraps": {"accuracy": float("nan")}},
            FLOOR,
            "The scrap 'accuracy' says nan, but the evaluation's own rows give 0.8500.",
        ),
        (
            {"scraps": {"accuracy": "0.865"}},
            FLOOR,
            "The scrap 'accuracy' is not a number: '0.865'.",
        ),
        (
            {"scraps": {"rmse": 1.0, "mae": 2.0}},
            {"scrap": "rsme", "max": 3},
            "The evaluation left no scrap 'rsme'; it left mae, rmse.",
        ),
        (
            {"scraps": {"rmse": float("inf")}},
            {"scrap": "rmse", "min": 3},
            "The scrap 'rmse' is not a finite number: inf.",
        ),
        ({"latency": None}, {"scrap": "latency_p95_ms", "max": 150}, None),
    ],
)
def test_evidence_that_may_not_decide_is_unknown(
    changes: dict[str, Any],
    table: Mapping[str, object],
    reason: str | None,
    make_evidence: MakeEvidence,
    verdicts: Judge,
) -> None:
    (verdict,) = verdicts(make_evidence(**changes), table)

    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.outcome.blocks
    assert verdict.reason == (
        reason or "The evaluation left no latency frame (round, role, milliseconds)."
    )


def _without_a_label(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[frame.index[of("champion", frame)][:3], "label"] = np.nan
    return frame


def _with_an_example_twice(frame: pd.DataFrame) -> pd.DataFrame:
    first = frame[of("candidate", frame) & (frame["example_id"] == "e00003")]
    return pd.concat([frame, first])


def _with_other_examples(frame: pd.DataFrame) -> pd.DataFrame:
    gone = of("champion", frame) & (frame["example_id"] < "e00010")
    return frame[~gone]


def _with_other_labels(frame: pd.DataFrame) -> pd.DataFrame:
    changed = of("champion", frame) & frame["example_id"].isin(["e00007", "e00009"])
    return frame.assign(label=frame["label"].where(~changed, "class 99"))


def _with_other_groups(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(group=np.where(of("champion", frame), "one", "other"))


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (
            lambda frame: frame.drop(columns=["label"]),
            "The predictions frame lacks 'label'; it has example_id, role, predicted, score, "
            "length.",
        ),
        (
            lambda frame: frame[~of("champion", frame)],
            "The predictions frame has no rows of the champion.",
        ),
        (_without_a_label, "3 of the champion's 400 rows have no 'label' (NaN or null)."),
        (
            _with_an_example_twice,
            "The candidate has several rows for the same example: 1 too many, the first with "
            "example_id 'e00003'.",
        ),
        (
            _with_other_examples,
            "The candidate and the champion were not scored on the same examples: 10 only by the "
            "candidate, 0 only by the champion.",
        ),
        (
            _with_other_labels,
            "The labels that the candidate and the champion were scored against differ in 2 of "
            "400 examples, the first with example_id 'e00007'.",
        ),
        (_with_other_groups, "The candidate and the champion disagree about the examples' groups."),
    ],
)
def test_rows_that_do_not_fit_together_are_unknown(
    bend: Bend,
    reason: str,
    make_predictions: Callable[..., pd.DataFrame],
    make_evidence: MakeEvidence,
    verdicts: Judge,
) -> None:
    evidence = make_evidence()
    frame = bend(make_predictions())

    (verdict,) = verdicts(make_evidence(frame, **_fields(evidence)), LEVEL)

    assert (verdict.outcome, verdict.reason) == (Outcome.UNKNOWN, reason)


def _fields(evidence: Evidence) -> dict[str, Any]:
    """Return what the evidence says of the roles, whatever rows the frame has lost."""
    names = ("scored", "champion", "fingerprints", "seen_in_training")
    return {name: getattr(evidence, name) for name in names}


def test_too_few_groups_are_unknown(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(make_predictions(400, groups=12))

    (verdict,) = verdicts(evidence, {**LEVEL, "scrap": "macro_f1"})

    assert (verdict.outcome, verdict.reason) == (
        Outcome.UNKNOWN,
        "Too few groups: 400 examples in 12 groups; 20 groups are needed, because rows of one "
        "group are alike.",
    )
    assert (verdict.numbers["n"], verdict.numbers["needed"]) == (400, 20)


def test_a_rival_without_a_training_record_may_still_be_beaten_and_it_is_said(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(seen_in_training={"candidate": 0, "baseline": None, "champion": 0})

    (verdict,) = verdicts(evidence, {"scrap": "accuracy", "beats": "baseline"})

    assert verdict.outcome is Outcome.PASSED
    assert verdict.reason.endswith(
        " The baseline left no record of its training rows; had it seen these, that could only "
        "flatter it."
    )


def test_a_stale_champion_does_not_spoil_the_other_gates(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(champion="new-champion-digest")

    outcomes = [
        verdict.outcome
        for verdict in verdicts(evidence, FLOOR, {"scrap": "accuracy", "beats": "baseline"}, LEVEL)
    ]

    assert outcomes == [Outcome.PASSED, Outcome.PASSED, Outcome.UNKNOWN]
