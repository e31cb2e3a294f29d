"""What a judgement says, from first promotions to shuffled labels."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nbprod.core.evidence import Evidence
from nbprod.core.json import canonical
from nbprod.core.plugins import installed
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates.declarations import GROUP
from nbprod.gates.judge import evaluation_note, is_same

MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., tuple[Verdict, ...]]

LEVEL = {"scrap": "macro_f1", "not_worse_than": "champion", "margin": 0.02}
BETTER = {"scrap": "accuracy", "beats": "champion"}
FLOOR = {"scrap": "macro_f1", "min": 0.5}
BASELINE = {"scrap": "macro_f1", "beats": "baseline"}
SPEED = {"scrap": "latency_p95_ms", "not_worse_than": "champion", "ratio": 1.2}
SLICES = {"slice": "length", "scrap": "accuracy", "min": 0.5}
ALL = (FLOOR, LEVEL, BETTER, BASELINE, SLICES, SPEED)


def test_a_better_challenger_passes_every_gate(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    found = verdicts(make_evidence(make_predictions(2_000)), *ALL)

    assert [(verdict.gate, verdict.outcome) for verdict in found] == [
        ("macro_f1 at least 0.5", Outcome.PASSED),
        ("macro_f1 not worse than champion by 0.02", Outcome.PASSED),
        ("accuracy beats champion", Outcome.PASSED),
        ("macro_f1 beats baseline", Outcome.PASSED),
        ("accuracy in every length at least 0.5", Outcome.PASSED),
        ("latency_p95_ms at most 1.2 times that of champion", Outcome.PASSED),
    ]
    for verdict in found:
        assert verdict.method
        assert canonical(dict(verdict.numbers))  # the store keeps it as JSON: no NaN, no NumPy
        assert verdict.numbers["decided"] == 2
        assert verdict.numbers["evaluation_digest"] == "5eed" * 16


def test_shuffled_labels_block(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    frame = make_predictions(2_000)
    labels = frame.drop_duplicates("example_id").set_index("example_id")["label"]
    shuffled = pd.Series(
        np.random.default_rng(0).permutation(labels.to_numpy()), index=labels.index
    )
    frame["label"] = frame["example_id"].map(shuffled)

    found = {verdict.gate: verdict for verdict in verdicts(make_evidence(frame), *ALL[:5])}

    # Nothing is left to learn from: no floor is held, nobody is beaten. That chance answers are
    # "not worse" than chance answers is true, and why a comparison alone never guards a model.
    assert found["macro_f1 at least 0.5"].outcome is Outcome.FAILED
    assert found["accuracy beats champion"].outcome.blocks
    assert found["macro_f1 beats baseline"].outcome.blocks
    assert found["accuracy in every length at least 0.5"].outcome is Outcome.FAILED


def test_labels_shuffled_for_the_candidate_alone_are_unknown(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    frame = make_predictions(400)
    rows = frame["role"] == "candidate"
    shuffled = np.random.default_rng(0).permutation(frame.loc[rows, "label"].to_numpy())
    frame.loc[rows, "label"] = shuffled

    (verdict,) = verdicts(make_evidence(frame), LEVEL)

    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reason.startswith(
        "The labels that the candidate and the champion were scored against differ in "
    )


def test_a_first_promotion_is_its_own_case(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    frame = make_predictions(1_000, accuracy={"candidate": 0.85, "baseline": 0.6})

    found = verdicts(make_evidence(frame), FLOOR, LEVEL, BASELINE, SPEED)

    assert [verdict.outcome for verdict in found] == [Outcome.PASSED] * 4
    reason = "First promotion: there is no champion to compare with; 2 other gates decide."
    assert [verdict.reason for verdict in found[1::2]] == [reason, reason]


def test_a_first_promotion_with_no_other_gate_says_so(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    frame = make_predictions(accuracy={"candidate": 0.85})

    (verdict,) = verdicts(make_evidence(frame), LEVEL)

    assert (verdict.outcome, verdict.reason) == (
        Outcome.PASSED,
        "First promotion: there is no champion to compare with; no other gate is declared, so this "
        "model is promoted without any comparison.",
    )


def test_an_identical_model_is_recognised(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    digest = "candidate---digest"
    evidence = make_evidence(
        champion=digest, scored={"candidate": digest, "champion": digest, "baseline": "b"}
    )

    found = verdicts(evidence, LEVEL, BETTER, SPEED)

    assert is_same(evidence)
    assert not is_same(replace(evidence, champion=None))
    reason = "Identical model: the candidate is the champion, byte for byte (candidate---)."
    assert [(verdict.outcome, verdict.reason) for verdict in found] == [
        (Outcome.PASSED, reason),
        (Outcome.FAILED, reason),
        (Outcome.PASSED, reason),
    ]


def test_judging_again_gives_the_same_verdicts(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence()

    assert verdicts(evidence, *ALL) == verdicts(evidence, *ALL)


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"decided": 0},
            "Evaluation set 5eed5eed5eed of 400 examples: it has decided no promotion before.",
        ),
        (
            {"decided": 1},
            "Evaluation set 5eed5eed5eed of 400 examples: it has decided 1 promotion before.",
        ),
        (
            {"decided": 12},
            "Evaluation set 5eed5eed5eed of 400 examples: it has decided 12 promotions before. A "
            "set that decides so often is learned by trial and error, and its verdicts become too "
            "kind: evaluate on new rows.",
        ),
        (
            {"evaluation_digest": "", "predictions": None},
            "No evaluation set: the evidence holds no predictions.",
        ),
    ],
)
def test_the_evaluation_set_is_named_with_its_record(
    changes: dict[str, object], note: str, make_evidence: MakeEvidence
) -> None:
    assert evaluation_note(make_evidence(**changes)) == note


def test_two_thousand_rows_of_21_classes_are_judged_in_two_seconds(
    make_predictions: Callable[..., pd.DataFrame], make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(make_predictions(2_000, classes=21))
    verdicts(evidence, FLOOR)  # imports

    started = time.process_time()
    verdicts(evidence, *ALL)

    assert time.process_time() - started < 2.0


def test_every_built_in_gate_is_registered() -> None:
    ours = {
        name: entry.value
        for name, entry in installed(GROUP).items()
        if entry.value.startswith("nbprod.")
    }

    assert ours == {
        "threshold": "nbprod.gates.threshold:threshold",
        "not_worse_than": "nbprod.gates.paired:not_worse_than",
        "beats": "nbprod.gates.paired:beats",
        "slice": "nbprod.gates.slices:slice_floor",
        "latency": "nbprod.gates.latency:latency",
    }
    assert all(entry.load().__doc__.startswith("Pass when ") for entry in installed(GROUP).values())
