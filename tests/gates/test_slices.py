"""No slice left behind: exact bounds, Holm's correction, small slices pooled and named."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates.slices import effective_counts, holm_levels

MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., tuple[Verdict, ...]]

GATE = {"slice": "length", "scrap": "accuracy", "min": 0.5}


def sliced(**parts: tuple[int, int]) -> pd.DataFrame:
    """Return the candidate's rows, so many right of so many in each slice."""
    right = np.concatenate([np.arange(n) < correct for correct, n in parts.values()])
    length = np.repeat(list(parts), [n for _, n in parts.values()])
    label = np.arange(len(right)) % 2
    return pd.DataFrame(
        {
            "example_id": [f"e{i}" for i in range(len(right))],
            "role": "candidate",
            "label": label,
            "predicted": np.where(right, label, 1 - label),
            "length": length,
        }
    )


def test_every_slice_above_the_floor_passes(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    evidence = make_evidence(sliced(long=(300, 400), medium=(200, 300), short=(70, 110)))

    (verdict,) = verdicts(evidence, GATE)

    # short has the largest p-value of three, so its level in Holm's procedure is 5 % in full
    low = stats.binomtest(70, 110, alternative="greater").proportion_ci(0.95).low
    assert verdict.outcome is Outcome.PASSED
    assert verdict.numbers["low"] == pytest.approx(low)
    assert verdict.reason == (
        f"All slices of length (3) are above 0.5; the weakest is short 0.636 on 110 rows (at least "
        f"{low:.3f})."
    )
    assert verdict.method == (
        "Clopper-Pearson lower bounds, Holm-corrected over 3 slices, together 95 %"
    )


def test_a_slice_below_the_floor_fails_and_is_named(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(sliced(long=(300, 400), short=(50, 120)))

    (verdict,) = verdicts(evidence, GATE)

    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == (
        "1 of 2 slices of length below 0.5: short 0.417 on 120 rows (at least 0.341)."
    )


def test_a_slice_that_cannot_be_told_from_the_floor_is_unknown(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(sliced(long=(300, 400), short=(64, 120)))

    (verdict,) = verdicts(evidence, GATE)

    assert verdict.outcome is Outcome.UNKNOWN
    assert verdict.reason == (
        "Too few examples in 1 of 2 slices of length to show 0.5: short 0.533 on 120 rows (at "
        "least 0.454), n = 120, about 1,400 are needed."
    )


def test_small_slices_are_judged_together(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    evidence = make_evidence(sliced(long=(300, 400), a=(10, 60), b=(20, 60), c=(30, 60)))

    (verdict,) = verdicts(evidence, GATE)

    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason == (
        "1 of 2 slices of length below 0.5: the small ones together (a, b, c) 0.333 on 180 rows "
        "(at least 0.275)."
    )


def test_slices_too_small_even_together_are_named(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    evidence = make_evidence(sliced(long=(300, 400), a=(1, 30), b=(2, 20)))

    (verdict,) = verdicts(evidence, GATE)

    assert verdict.outcome is Outcome.PASSED
    assert verdict.reason == (
        "All slices of length (1) are above 0.5; the weakest is long 0.750 on 400 rows (at least "
        "0.712). Not judged, under 100 rows even together: a (30), b (20); 11.1% of the rows."
    )
    assert verdict.numbers["not_judged"] == {"a": 30, "b": 20}


def test_no_slice_large_enough_is_unknown(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    (verdict,) = verdicts(make_evidence(sliced(a=(30, 40), b=(20, 30))), GATE)

    assert (verdict.outcome, verdict.reason) == (
        Outcome.UNKNOWN,
        "Too few examples: no length has 100 rows; the largest, 'a', has n = 40.",
    )


def test_a_missing_column_is_unknown(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    (verdict,) = verdicts(make_evidence(), {**GATE, "slice": "language"})

    assert (verdict.outcome, verdict.reason) == (
        Outcome.UNKNOWN,
        "The predictions frame has no column 'language' to slice by; it has example_id, role, "
        "label, predicted, score, length.",
    )


def test_rows_without_a_value_are_a_slice(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    frame = sliced(long=(300, 400), gone=(40, 120))
    frame["length"] = frame["length"].astype(object).where(frame["length"] != "gone", None)

    (verdict,) = verdicts(make_evidence(frame), GATE)

    assert verdict.reason == (
        "1 of 2 slices of length below 0.5: (no value) 0.333 on 120 rows (at least 0.262)."
    )


def test_all_slice_gates_are_corrected_together(
    make_evidence: MakeEvidence, verdicts: Judge
) -> None:
    frame = sliced(long=(300, 400), short=(70, 120))
    frame["source"] = np.where(np.arange(len(frame)) % 2, "web", "mail")
    evidence = make_evidence(frame)

    alone = verdicts(evidence, GATE)
    together = verdicts(evidence, GATE, {**GATE, "slice": "source", "min": 0.66})

    assert [verdict.numbers["tests"] for verdict in (*alone, *together)] == [2, 4, 4]
    assert alone[0].outcome is Outcome.PASSED  # p = 0.041 is the largest of two
    assert together[0].outcome is Outcome.UNKNOWN  # of four, a larger one stops the procedure


def test_the_label_can_be_the_slice(make_evidence: MakeEvidence, verdicts: Judge) -> None:
    (verdict,) = verdicts(make_evidence(), {**GATE, "slice": "label", "min_size": 50})

    assert verdict.outcome is Outcome.PASSED
    assert verdict.reason.startswith("All slices of label (4) are above 0.5;")


def test_grouped_rows_are_counted_by_their_effective_number() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(50), 8)
    alike = np.repeat(rng.random(50) < 0.7, 8).astype(np.int64)
    independent = (rng.random(400) < 0.7).astype(np.int64)

    assert effective_counts(alike, group)[0] <= 51
    assert 300 <= effective_counts(independent, group)[0] <= 400
    assert effective_counts(np.ones(400, dtype=np.int64), group) == (50, 50)  # no spread: the worst


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12))
def test_holm_rejects_what_the_textbook_procedure_rejects(p_values: list[float]) -> None:
    found = holm_levels(p_values, family=sorted(p_values), alpha=0.05)

    adjusted: dict[float, float] = {}
    highest = 0.0
    for i, p in enumerate(sorted(p_values)):  # step-down adjusted p-values
        highest = max(highest, (len(p_values) - i) * p)
        adjusted[p] = max(adjusted.get(p, 0.0), highest)
    assert [is_shown for _, is_shown in found] == [adjusted[p] <= 0.05 for p in p_values]
