"""Models are asked about the same rows, and counted as textbooks count."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from nbprod.core.digest import digest_json
from nbprod.core.errors import ModelMismatchError
from nbprod.ml.evaluation import (
    Evaluation,
    by_class,
    calibration_error,
    evaluate,
    evaluation_digest,
    length_bucket,
    slices,
    summary,
    wilson,
)

ROWS = pd.DataFrame(
    {
        "example_id": ["1", "2", "3", "4"],
        "text": ["a b", "a b c d e f", "a", " ".join("x" * 21)],
        "label": ["x", "y", "x", "y"],
        "group": ["g", "g", "h", "h"],
    }
)


class Scripted:
    """Answers with fixed probabilities, in its own order of classes."""

    def __init__(self, labels: tuple[str, ...], rows: Sequence[Sequence[float]]) -> None:
        self.labels = labels
        self.rows = np.array(rows)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        return self.rows[: len(texts)]


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluate(
        ROWS,
        {
            "candidate": Scripted(("x", "y"), [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]]),
            "baseline": Scripted(("y", "x"), [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]]),
        },
    )


def test_predictions_have_one_row_per_example_and_model(evaluation: Evaluation) -> None:
    assert list(evaluation.predictions.columns) == [
        "example_id",
        "role",
        "label",
        "predicted",
        "score",
        "label_score",
        "length",
        "group",
    ]
    assert evaluation.predictions["label_score"].round(9).tolist() == [
        *(0.9, 0.8, 0.4, 0.7),
        *(0.1, 0.8, 0.6, 0.3),
    ]
    rows = evaluation.predictions[["example_id", "role", "label", "predicted", "score"]]
    assert rows.to_numpy().tolist() == [
        ["1", "candidate", "x", "x", 0.9],
        ["2", "candidate", "y", "y", 0.8],
        ["3", "candidate", "x", "y", 0.6],
        ["4", "candidate", "y", "y", 0.7],
        ["1", "baseline", "x", "y", 0.9],
        ["2", "baseline", "y", "y", 0.8],
        ["3", "baseline", "x", "x", 0.6],
        ["4", "baseline", "y", "x", 0.7],
    ]


def test_the_summary_counts_as_by_hand(evaluation: Evaluation) -> None:
    table = summary(evaluation)

    assert table["accuracy"].tolist() == [0.75, 0.5]
    # candidate: x has precision 1 and recall 1/2, y has precision 2/3 and recall 1
    assert table.loc["candidate", "macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    surprise = -np.log([0.9, 0.8, 0.4, 0.7]).mean()
    assert table.loc["candidate", "log_loss"] == pytest.approx(surprise)
    gaps = [abs(0.9 - 1), abs(0.8 - 1), abs(0.6 - 0), abs(0.7 - 1)]
    assert table.loc["candidate", "calibration_error"] == pytest.approx(np.mean(gaps))


def test_a_class_that_no_model_knows_counts_as_an_error() -> None:
    rows = ROWS.assign(label=["x", "y", "z", "y"])

    found = evaluate(rows, {"candidate": Scripted(("x", "y"), [[0.9, 0.1]] * 4)})

    assert summary(found)["accuracy"].tolist() == [0.25]
    assert np.isfinite(summary(found)["log_loss"]).all()


def test_a_model_is_asked_among_the_classes_it_knows() -> None:
    rows = ROWS.assign(label=["x", "y", "new", "y"])

    found = evaluate(
        rows,
        {
            "candidate": Scripted(
                ("x", "y", "new"), [[1, 0, 0], [0, 1, 0], [0.2, 0.3, 0.5], [0, 1, 0]]
            ),
            "champion": Scripted(("y", "old", "x"), [[0.1, 0, 0.9]] * 3 + [[0.3, 0.6, 0.1]]),
        },
    )

    assert found.labels == ("new", "old", "x", "y")
    assert found.of("champion")["predicted"].tolist() == ["x", "x", "x", "old"]
    assert found.probabilities["champion"][0].tolist() == [0, 0, 0.9, 0.1]
    assert found.probabilities["candidate"][2].tolist() == [0.5, 0, 0.2, 0.3]
    assert summary(found)["accuracy"].tolist() == [1, 0.25]
    assert np.isfinite(summary(found)["log_loss"]).all()


@pytest.mark.parametrize(
    ("role", "do"),
    [
        (
            "candidate",
            "Evaluate it on rows of its classes: "
            "nbprod run evaluate_classifier -p model=FOLDER -p data=FILE",
        ),
        (
            "baseline",
            "Train it on the same data: nbprod run baseline_text_classifier -p data=FILE",
        ),
        (
            "champion",
            "Nothing compares with it here. Evaluate without a champion, and let a person decide: "
            "nbprod models promote NAME VERSION --override "
            '--reason "it answers another question"',
        ),
    ],
)
def test_a_model_that_answers_another_question_is_not_compared(role: str, do: str) -> None:
    digits = Scripted(tuple("654321"), [[1, 0, 0, 0, 0, 0]] * 4)
    fitting = Scripted(("x", "y"), [[1, 0]] * 4)

    with pytest.raises(ModelMismatchError) as caught:
        evaluate(ROWS, {"candidate": fitting, "baseline": fitting, role: digits})

    assert str(caught.value) == (
        f"The {role} knows none of the classes of these rows.\n"
        "It knows 1, 2, 3, 4, 5 and 1 more; the rows have x, y.\n"
        f"{do}"
    )


def test_length_buckets_are_fixed() -> None:
    texts = pd.Series([" ".join("x" * words) for words in (1, 5, 6, 10, 11, 20, 21, 400)])

    assert length_bucket(texts).tolist() == [
        "1-5 words",
        "1-5 words",
        "6-10 words",
        "6-10 words",
        "11-20 words",
        "11-20 words",
        "over 20 words",
        "over 20 words",
    ]


def test_the_digest_names_the_question_whatever_the_order() -> None:
    expected = digest_json([["1", "x"], ["2", "y"], ["3", "x"], ["4", "y"]])

    assert evaluation_digest(ROWS) == expected
    assert evaluation_digest(ROWS.iloc[::-1]) == expected
    assert evaluation_digest(ROWS.assign(label="x")) != expected


def test_by_class_puts_the_weakest_first_and_names_its_usual_mistake(
    evaluation: Evaluation,
) -> None:
    table = by_class(evaluation, "candidate")

    assert table.index.tolist() == ["x", "y"]
    assert table.loc["x"].tolist() == [2, 1.0, 0.5, 0.667, "y"]


def test_slices_carry_their_size_and_interval(evaluation: Evaluation) -> None:
    table = slices(evaluation.predictions, "length")

    candidate = table[table["role"] == "candidate"].set_index("length")
    assert candidate["rows"].to_dict() == {"1-5 words": 2, "6-10 words": 1, "over 20 words": 1}
    assert candidate["accuracy"].to_dict() == {
        "1-5 words": 0.5,
        "6-10 words": 1.0,
        "over 20 words": 1.0,
    }
    assert (candidate["low"] < candidate["accuracy"]).all()


def test_wilsons_interval_is_the_published_one() -> None:
    # R: prop.test(81, 263, correct = FALSE)$conf.int
    low, high = wilson(np.array([81]), np.array([263]))

    assert [low[0], high[0]] == pytest.approx([0.2553, 0.3662], abs=1e-4)


def test_wilsons_interval_holds_the_share_itself() -> None:
    total = np.arange(1, 400)
    for right in (np.zeros_like(total), total):
        low, high = wilson(right, total)

        assert (low <= right / total).all()
        assert (high >= right / total).all()


def test_a_model_that_is_always_sure_and_right_is_calibrated() -> None:
    answers = pd.DataFrame({"label": ["x"] * 5, "predicted": ["x"] * 5, "score": [1.0] * 5})

    assert calibration_error(answers) == 0.0
