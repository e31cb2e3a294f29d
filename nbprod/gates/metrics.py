"""The metrics that gates compute anew from predictions, for many resamples at once.

Definitions are scikit-learn's. Classes are those of the `label` column: an average over classes
never counts one that no evaluated example has (a prediction of such a class is just wrong).
Undefined ratios, 0/0, are 0 as in scikit-learn with `zero_division=0`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]


class Needs(StrEnum):
    """What a metric is computed from."""

    COUNTS = "counts"  #: labels and predictions
    LOSSES = "losses"  #: one number a row, averaged
    RANKS = "ranks"  #: an order of all rows by score


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Confusion counts, leading axes free: one entry a resample."""

    right: Floats  #: (..., K) rows of class k predicted as k
    predicted: Floats  #: (..., K) rows predicted as k
    labelled: Floats  #: (..., K) rows of class k

    @property
    def total(self) -> Floats:
        """Return the number of rows, (...,)."""
        return np.asarray(self.labelled.sum(axis=-1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number about one model on one set of rows."""

    name: str
    needs: Needs
    higher_is_better: bool = True
    from_counts: Callable[[Counts], Floats] | None = None
    is_bounded: bool = True  #: lies in [0, 1]

    @property
    def sign(self) -> int:
        """Return 1 where higher is better, else -1."""
        return 1 if self.higher_is_better else -1


def _ratio(above: Floats, below: Floats) -> Floats:
    zeros = np.zeros_like(above, dtype=float)
    return np.asarray(np.divide(above, below, out=zeros, where=below > 0))


def accuracy(counts: Counts) -> Floats:
    """Return the share of rows predicted right."""
    return _ratio(counts.right.sum(axis=-1), counts.total)


def recalls(counts: Counts) -> Floats:
    """Return the recall of every class, (..., K)."""
    return _ratio(counts.right, counts.labelled)


def precisions(counts: Counts) -> Floats:
    """Return the precision of every class, (..., K)."""
    return _ratio(counts.right, counts.predicted)


def f1s(counts: Counts) -> Floats:
    """Return the F1 of every class, (..., K)."""
    return _ratio(2 * counts.right, counts.predicted + counts.labelled)


def _macro(per_class: Callable[[Counts], Floats]) -> Callable[[Counts], Floats]:
    return lambda counts: np.asarray(per_class(counts).mean(axis=-1))


def _weighted_f1(counts: Counts) -> Floats:
    return _ratio((f1s(counts) * counts.labelled).sum(axis=-1), counts.total)


def _present_recall(counts: Counts) -> Floats:
    """Average recall over the classes present: in a resample, a rare class may be missing."""
    present = (counts.labelled > 0).sum(axis=-1).astype(float)
    return _ratio(recalls(counts).sum(axis=-1), present)


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="accuracy", needs=Needs.COUNTS, from_counts=accuracy),
        Metric(
            name="error_rate",
            needs=Needs.COUNTS,
            higher_is_better=False,
            from_counts=lambda counts: 1.0 - accuracy(counts),
        ),
        Metric(name="balanced_accuracy", needs=Needs.COUNTS, from_counts=_present_recall),
        Metric(name="macro_f1", needs=Needs.COUNTS, from_counts=_macro(f1s)),
        Metric(name="macro_precision", needs=Needs.COUNTS, from_counts=_macro(precisions)),
        Metric(name="macro_recall", needs=Needs.COUNTS, from_counts=_macro(recalls)),
        Metric(name="weighted_f1", needs=Needs.COUNTS, from_counts=_weighted_f1),
        Metric(name="log_loss", needs=Needs.LOSSES, higher_is_better=False, is_bounded=False),
        Metric(name="brier", needs=Needs.LOSSES, higher_is_better=False),
        Metric(name="roc_auc", needs=Needs.RANKS),
    )
}


def log_losses(probability_of_label: Floats) -> Floats:
    """Return the log loss of every row; probabilities are kept 1e-12 away from 0."""
    return np.asarray(-np.log(np.clip(probability_of_label, 1e-12, 1.0)))


def brier_scores(probability_of_positive: Floats, is_positive: npt.NDArray[np.bool_]) -> Floats:
    """Return the squared error of every row's probability, for two classes."""
    return np.asarray((probability_of_positive - is_positive) ** 2)


def roc_auc(score: Floats, is_positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the area under the ROC curve of every resample: (b, n) weights to (b,).

    It is P(positive scores higher) + P(tie) / 2, by cumulated weights over the sorted scores;
    0.5 in a resample with one class only.
    """
    distinct, position = np.unique(score, return_inverse=True)
    order = np.argsort(position, kind="stable")
    starts = np.searchsorted(position[order], np.arange(len(distinct)))
    sorted_weights = weights[:, order]
    positive = np.add.reduceat(sorted_weights * is_positive[order], starts, axis=1)
    negative = np.add.reduceat(sorted_weights * ~is_positive[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    halves = np.full(len(weights), 0.5)
    return np.asarray(np.divide(wins, pairs, out=halves, where=pairs > 0))
