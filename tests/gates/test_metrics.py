"""Metrics computed from predictions are scikit-learn's."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from nbprod.core.evidence import Role
from nbprod.gates.bootstrap import statistic
from nbprod.gates.metrics import METRICS, roc_auc
from nbprod.gates.sample import Sample, Unjudgeable, join

ROLES = (Role.CANDIDATE, Role.BASELINE, Role.CHAMPION)


def rows(frame: pd.DataFrame, role: Role) -> pd.DataFrame:
    return frame[frame["role"] == role.value]


EXPECTED: dict[str, Callable[[pd.DataFrame], float]] = {
    "accuracy": lambda part: metrics.accuracy_score(part["label"], part["predicted"]),
    "error_rate": lambda part: metrics.zero_one_loss(part["label"], part["predicted"]),
    "balanced_accuracy": lambda part: metrics.balanced_accuracy_score(
        part["label"], part["predicted"]
    ),
    "macro_f1": lambda part: metrics.f1_score(
        part["label"],
        part["predicted"],
        labels=sorted(part["label"].unique()),
        average="macro",
        zero_division=0,
    ),
    "macro_precision": lambda part: metrics.precision_score(
        part["label"],
        part["predicted"],
        labels=sorted(part["label"].unique()),
        average="macro",
        zero_division=0,
    ),
    "macro_recall": lambda part: metrics.recall_score(
        part["label"],
        part["predicted"],
        labels=sorted(part["label"].unique()),
        average="macro",
        zero_division=0,
    ),
    "weighted_f1": lambda part: metrics.f1_score(
        part["label"],
        part["predicted"],
        labels=sorted(part["label"].unique()),
        average="weighted",
        zero_division=0,
    ),
}


# scikit-learn warns in balanced_accuracy_score of what this test is about
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("classes", [2, 4, 21])
def test_a_metric_of_counts_is_scikit_learns(
    name: str, classes: int, make_predictions: Callable[..., pd.DataFrame]
) -> None:
    frame = make_predictions(300, classes=classes)
    # A class that is predicted and never labelled, and one labelled and never predicted.
    frame.loc[frame.index[:3], "predicted"] = "no label has this"
    frame.loc[frame["label"] == "class 0", "predicted"] = "class 1"

    found = statistic(join(frame, ROLES), METRICS[name]).estimate

    expected = [EXPECTED[name](rows(frame, role)) for role in ROLES]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["log_loss", "brier", "roc_auc"])
def test_a_metric_of_probabilities_is_scikit_learns(
    name: str, make_predictions: Callable[..., pd.DataFrame]
) -> None:
    frame = make_predictions(300, classes=2)
    frame["score"] = frame["score"].round(2)  # ties

    found = statistic(join(frame, ROLES), METRICS[name]).estimate

    expected = []
    for role in ROLES:
        part = rows(frame, role)
        truth = part["label"] == "class 1"
        probability = np.where(part["predicted"] == "class 1", part["score"], 1 - part["score"])
        score = {
            "log_loss": lambda t, p: metrics.log_loss(t, np.clip(p, 1e-12, 1 - 1e-12)),
            "brier": metrics.brier_score_loss,
            "roc_auc": metrics.roc_auc_score,
        }[name]
        expected.append(score(truth, probability))
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_weighted_auc_is_the_auc_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    score, truth = rng.random(60).round(1), rng.random(60) < 0.4
    weights = rng.integers(0, 4, size=(5, 60)).astype(float)

    found = roc_auc(score, truth, weights)

    expected = [
        metrics.roc_auc_score(np.repeat(truth, w.astype(int)), np.repeat(score, w.astype(int)))
        for w in weights
    ]
    assert found == pytest.approx(expected, abs=1e-12)


def test_log_loss_of_many_classes_uses_the_probability_given_to_the_label(
    make_predictions: Callable[..., pd.DataFrame],
) -> None:
    frame = make_predictions(100, classes=5)
    frame["label_score"] = np.random.default_rng(0).uniform(0.1, 1.0, len(frame))

    found = statistic(join(frame, ROLES), METRICS["log_loss"]).estimate

    expected = [-np.log(rows(frame, role)["label_score"]).mean() for role in ROLES]
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "classes", "change", "reason"),
    [
        (
            "log_loss",
            5,
            {},
            "log_loss of 5 classes needs the column 'label_score' in the predictions frame: the "
            "probability given to the label.",
        ),
        ("roc_auc", 3, {}, "roc_auc needs two classes; the labels have 3."),
        (
            "brier",
            2,
            {"score": float("nan")},
            "60 of the candidate's 60 rows have no 'score' between 0 and 1 (the probability given "
            "to the predicted class).",
        ),
        ("brier", 2, {"score": None}, "brier needs the column 'score' in the predictions frame."),
    ],
)
def test_a_metric_of_probabilities_says_what_it_lacks(
    name: str,
    classes: int,
    change: dict[str, float | None],
    reason: str,
    make_predictions: Callable[..., pd.DataFrame],
) -> None:
    frame = make_predictions(60, classes=classes)
    for column, value in change.items():
        frame = frame.drop(columns=column) if value is None else frame.assign(**{column: value})
    sample: Sample = join(frame, ROLES)

    with pytest.raises(Unjudgeable) as raised:
        statistic(sample, METRICS[name])

    assert raised.value.reason == reason
