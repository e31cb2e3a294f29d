"""Ask several models about the same rows, and count.

Frames follow `nbprod.core.evidence`: one row per example and role, joined by example id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nbprod.core.digest import digest_json
from nbprod.core.errors import ModelMismatchError
from nbprod.ml.predictors import Predictor

if TYPE_CHECKING:
    from nbprod.core.json import JSON

#: Upper ends of the length buckets, in words. Fixed, so that slices mean the same in every run.
LENGTHS = (5, 10, 20)
CONFIDENCE_95 = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What every model answered on the same rows."""

    predictions: pd.DataFrame
    #: example_id, role, label, predicted, score, label_score, length, group?
    probabilities: Mapping[str, np.ndarray]  #: role -> one row an example, one column a label
    labels: tuple[str, ...]  #: the classes, in the order of those columns
    truth: np.ndarray  #: the label of each example, as text

    def of(self, role: str) -> pd.DataFrame:
        """Return one model's rows."""
        return self.predictions[self.predictions["role"] == role]


def evaluate(examples: pd.DataFrame, predictors: Mapping[str, Predictor]) -> Evaluation:
    """Ask each model about each example.

    Models may know different classes, as a champion does not know one that is new, nor a model
    one too rare for its training rows. To a class that it does not know a model gives no chance.

    Raises:
        ModelMismatchError: a model knows none of the examples' classes.
    """
    asked = set(examples["label"])
    for role, predictor in predictors.items():
        if asked.isdisjoint(predictor.labels):
            raise ModelMismatchError(role, sorted(predictor.labels), sorted(asked))
    labels = tuple(sorted({name for model in predictors.values() for name in model.labels}))
    texts = examples["text"].tolist()
    columns: dict[str, pd.Series] = {
        "example_id": examples["example_id"],
        "label": examples["label"],
        "length": length_bucket(examples["text"]),
    }
    if "group" in examples:
        columns["group"] = examples["group"]
    shared = pd.DataFrame(columns)
    parts: list[pd.DataFrame] = []
    probabilities: dict[str, np.ndarray] = {}
    for role, predictor in predictors.items():
        answer = np.zeros((len(texts), len(labels)))
        answer[:, [labels.index(label) for label in predictor.labels]] = predictor.probabilities(
            texts
        )
        probabilities[role] = answer
        parts.append(
            shared.assign(
                role=role,
                predicted=np.array(labels, dtype=object)[answer.argmax(axis=1)],
                score=answer.max(axis=1),
                label_score=_of_label(answer, examples["label"], labels),
            )
        )
    first = ["example_id", "role", "label", "predicted", "score", "label_score"]
    predictions = pd.concat(parts, ignore_index=True)
    predictions = predictions[[*first, *(name for name in predictions if name not in first)]]
    return Evaluation(
        predictions=predictions,
        probabilities=probabilities,
        labels=labels,
        truth=examples["label"].to_numpy(dtype=object),
    )


def _of_label(answer: np.ndarray, truth: pd.Series, labels: Sequence[str]) -> np.ndarray:
    """Return the probability given to each example's own label; 0 where no model knows it."""
    places = {label: index for index, label in enumerate(labels)}
    found = np.array([places.get(label, -1) for label in truth])
    return np.where(found < 0, 0.0, answer[np.arange(len(answer)), found])


def length_bucket(texts: pd.Series) -> pd.Series:
    """Return each text's bucket by its number of words, such as "6-10 words"."""
    starts = (1, *(end + 1 for end in LENGTHS))
    names = [f"{start}-{end} words" for start, end in zip(starts, LENGTHS, strict=False)]
    names.append(f"over {LENGTHS[-1]} words")
    places = np.searchsorted(LENGTHS, texts.map(lambda text: len(text.split())).to_numpy())
    return pd.Series(np.array(names, dtype=object)[places], index=texts.index)


def evaluation_digest(examples: pd.DataFrame) -> str:
    """Return the sha256 over sorted example ids and labels: which question was asked."""
    pairs = examples[["example_id", "label"]].itertuples(index=False, name=None)
    ordered: list[JSON] = [list(pair) for pair in sorted(pairs)]
    return digest_json(ordered)


def summary(evaluation: Evaluation) -> pd.DataFrame:
    """Return accuracy, macro-F1, log loss and calibration error, one row a model."""
    from sklearn.metrics import accuracy_score, f1_score

    rows = {}
    for role in evaluation.probabilities:
        answers = evaluation.of(role)
        rows[role] = {
            "accuracy": float(accuracy_score(answers["label"], answers["predicted"])),
            "macro_f1": float(
                f1_score(
                    answers["label"],
                    answers["predicted"],
                    labels=sorted(set(answers["label"])),  # as gates count: the classes there are
                    average="macro",
                    zero_division=0,
                )
            ),
            # In nats; a class that the model does not know counts as next to impossible.
            "log_loss": float(-np.log(np.clip(answers["label_score"], 1e-12, 1)).mean()),
            "calibration_error": calibration_error(answers),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def calibration(answers: pd.DataFrame, *, bins: int = 10) -> pd.DataFrame:
    """Return, for ranges of the score, how sure the model was and how often it was right."""
    is_right = answers["label"] == answers["predicted"]
    bucket = np.minimum((answers["score"] * bins).astype(int), bins - 1)
    table = pd.DataFrame({"score": answers["score"], "right": is_right}).groupby(bucket)
    return pd.DataFrame(
        {"rows": table.size(), "score": table["score"].mean(), "right": table["right"].mean()}
    ).reset_index(drop=True)


def calibration_error(answers: pd.DataFrame, *, bins: int = 10) -> float:
    """Return the expected calibration error: the mean gap between score and success."""
    table = calibration(answers, bins=bins)
    return float(((table["score"] - table["right"]).abs() * table["rows"]).sum() / len(answers))


def by_class(evaluation: Evaluation, role: str) -> pd.DataFrame:
    """Return precision, recall and F1 of each class, the weakest first, and its usual mistake."""
    from sklearn.metrics import precision_recall_fscore_support

    answers = evaluation.of(role)
    labels = sorted(answers["label"].unique())
    precision, recall, f1, rows = precision_recall_fscore_support(
        answers["label"], answers["predicted"], labels=labels, zero_division=0
    )
    wrong = answers[answers["label"] != answers["predicted"]]
    mistakes = wrong.groupby("label")["predicted"].agg(lambda names: names.value_counts().index[0])
    return (
        pd.DataFrame(
            {
                "rows": rows,
                "precision": precision,
                "recall": recall,
                "f1": f1,
                "most often taken for": mistakes.reindex(labels).fillna(""),
            },
            index=pd.Index(labels, name="class"),
        )
        .sort_values("f1")
        .round(3)
    )


def slices(predictions: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return accuracy by the values of `column` and by model, with 95 % intervals (Wilson's)."""
    is_right = predictions["label"] == predictions["predicted"]
    groups = is_right.groupby([predictions[column], predictions["role"]])
    table = groups.agg(["size", "sum"]).reset_index()
    low, high = wilson(table["sum"].to_numpy(), table["size"].to_numpy())
    return pd.DataFrame(
        {
            column: table[column],
            "role": table["role"],
            "rows": table["size"],
            "accuracy": table["sum"] / table["size"],
            "low": low,
            "high": high,
        }
    )


def wilson(right: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Wilson's 95 % interval of a share; right also for few rows and shares near 1."""
    z = CONFIDENCE_95
    share = right / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    # Rounding puts the ends of 0 and 1 a hair beyond the share itself.
    return np.minimum(middle - half, share), np.maximum(middle + half, share)
