"""The bootstrap: what the metrics of several models would have been on other samples of rows.

Efron & Tibshirani, An Introduction to the Bootstrap (1993). Rows, or whole groups where rows come
in groups, are drawn with replacement; every model is scored on the same draw, which keeps the
comparison paired. Rows that are alike (same label, same predictions) are drawn together as counts,
so that time goes with distinct cells, not with rows.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nbprod.core.evidence import Role
from nbprod.gates.metrics import (
    Counts,
    Floats,
    Ints,
    Metric,
    Needs,
    brier_scores,
    log_losses,
    roc_auc,
)
from nbprod.gates.sample import Sample, Unjudgeable

RESAMPLES = 9_999
#: numbers held at once while drawing: 32 MB
CHUNK = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A metric of each role as a function of how often every unit was drawn."""

    counts: Ints  #: (C,) how many units of each kind the sample has
    evaluate: Callable[[Floats], Floats]  #: (b, C) weights to (b, roles)

    @property
    def estimate(self) -> Floats:
        """Return the metric on the sample itself, (roles,)."""
        return np.asarray(self.evaluate(self.counts[None, :].astype(float))[0])


def statistic(sample: Sample, metric: Metric) -> Statistic:
    """Return `metric` of every role of `sample`, ready to be resampled.

    Raises:
        Unjudgeable: the metric needs probabilities that the predictions frame does not hold.
    """
    match metric.needs:
        case Needs.COUNTS:
            return _count_statistic(sample, metric)
        case Needs.LOSSES:
            return _loss_statistic(sample, metric)
        case Needs.RANKS:
            return _rank_statistic(sample)


def is_computable(sample: Sample, metric: Metric) -> bool:
    """Say whether the predictions frame has the columns that `metric` is computed from."""
    if metric.needs is Needs.COUNTS:
        return True
    by_score = len(sample.classes) == 2 and sample.score.keys() >= set(sample.roles)
    by_label = metric.name == "log_loss" and sample.label_score.keys() >= set(sample.roles)
    return by_score or by_label


def seed_of(evaluation_digest: str) -> int:
    """Return the seed that belongs to an evaluation set: judging again gives the same verdict."""
    return int.from_bytes(hashlib.sha256(evaluation_digest.encode()).digest()[:4], "big")


def resample(stat: Statistic, *, seed: int, resamples: int = RESAMPLES) -> Floats:
    """Return the metric of every role on `resamples` draws, (resamples, roles)."""
    rng = np.random.default_rng(seed)
    return np.concatenate([stat.evaluate(draw) for draw in _draws(rng, stat.counts, resamples)])


def _draws(rng: np.random.Generator, counts: Ints, resamples: int) -> Iterator[Floats]:
    kinds, units = len(counts), int(counts.sum())
    # numpy draws a multinomial as one binomial a kind, about eight times as dear as one integer
    is_sparse = kinds * 8 < units
    kind_of_unit = None if is_sparse else np.repeat(np.arange(kinds), counts)
    step = max(1, CHUNK // (kinds if is_sparse else units))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        if kind_of_unit is None:
            yield rng.multinomial(units, counts / units, size=size).astype(float)
        else:
            drawn = kind_of_unit[rng.integers(0, units, size=(size, units))]
            drawn += kinds * np.arange(size)[:, None]
            tally = np.bincount(drawn.ravel(), minlength=kinds * size)
            yield tally.reshape(size, kinds).astype(float)


def _count_statistic(sample: Sample, metric: Metric) -> Statistic:
    from_counts = metric.from_counts
    assert from_counts is not None
    width = len(sample.classes)
    columns = np.stack([sample.label, *sample.predicted.values()], axis=1)
    cells, cell = np.unique(columns, axis=0, return_inverse=True)
    cell = cell.reshape(-1)
    label, answers = cells[:, 0], cells[:, 1:]
    features = [_one_hot(label, width)]
    for answer in answers.T:
        features.append(_one_hot(answer, width))
        features.append(_one_hot(np.where(answer == label, label, width), width))
    table = np.concatenate(features, axis=1)
    if sample.group is None:
        counts = np.bincount(cell, minlength=len(cells))
    else:
        table = sum_by(sample.group, table[cell])
        counts = np.ones(len(table), dtype=np.int64)

    def evaluate(weights: Floats) -> Floats:
        sums = (weights @ table).reshape(len(weights), -1, width)
        labelled = sums[:, 0]
        models = [
            Counts(labelled=labelled, predicted=sums[:, place], right=sums[:, place + 1])
            for place in range(1, sums.shape[1], 2)
        ]
        return np.stack([from_counts(counts) for counts in models], axis=1)

    return Statistic(counts=counts.astype(np.int64), evaluate=evaluate)


def _loss_statistic(sample: Sample, metric: Metric) -> Statistic:
    def losses(role: Role) -> Floats:
        if metric.name == "brier":
            return brier_scores(_of_positive(sample, role, metric), sample.label == 1)
        return log_losses(_of_label(sample, role, metric))

    table = np.stack([np.ones(sample.n), *(losses(role) for role in sample.roles)], axis=1)
    if sample.group is None:
        table, counts = np.unique(table, axis=0, return_counts=True)
    else:
        table = sum_by(sample.group, table)
        counts = np.ones(len(table), dtype=np.int64)

    def evaluate(weights: Floats) -> Floats:
        sums = weights @ table
        return np.asarray(sums[:, 1:] / sums[:, :1])

    return Statistic(counts=counts.astype(np.int64), evaluate=evaluate)


def _rank_statistic(sample: Sample) -> Statistic:
    metric_name = "roc_auc"
    scores = [_of_positive(sample, role, metric_name) for role in sample.roles]
    is_positive = sample.label == 1
    unit = np.arange(sample.n) if sample.group is None else sample.group

    def evaluate(weights: Floats) -> Floats:
        by_row = weights[:, unit]
        return np.stack([roc_auc(score, is_positive, by_row) for score in scores], axis=1)

    counts = np.ones(int(unit.max()) + 1, dtype=np.int64)
    return Statistic(counts=counts, evaluate=evaluate)


def _one_hot(index: Ints, width: int) -> Floats:
    """Return (n, width) indicators; an index of `width` has none."""
    return np.asarray(index[:, None] == np.arange(width), dtype=float)


def sum_by(group: Ints, table: Floats) -> Floats:
    """Return the sums of `table`'s rows, (n, F), by group number, (G, F)."""
    sums = np.zeros((int(group.max()) + 1, table.shape[1]))
    np.add.at(sums, group, table)
    return sums


def _of_label(sample: Sample, role: Role, metric: Metric) -> Floats:
    """Return the probability each row gave to its label."""
    if role in sample.label_score:
        return _checked(sample.label_score[role], role, "label_score")
    if len(sample.classes) != 2:
        raise Unjudgeable(
            f"{metric.name} of {len(sample.classes)} classes needs the column 'label_score' in the "
            "predictions frame: the probability given to the label."
        )
    positive = _of_positive(sample, role, metric.name)
    return np.where(sample.label == 1, positive, 1 - positive)


def _of_positive(sample: Sample, role: Role, metric: Metric | str) -> Floats:
    """Return the probability of the second of two classes."""
    name = metric if isinstance(metric, str) else metric.name
    if len(sample.classes) != 2:
        raise Unjudgeable(f"{name} needs two classes; the labels have {len(sample.classes)}.")
    if role not in sample.score:
        raise Unjudgeable(f"{name} needs the column 'score' in the predictions frame.")
    score = _checked(sample.score[role], role, "score")
    if np.any(sample.predicted[role] == 2):
        raise Unjudgeable(f"The {role} predicted a class that no label has; {name} is undefined.")
    return np.where(sample.predicted[role] == 1, score, 1 - score)


def _checked(values: Floats, role: Role, name: str) -> Floats:
    bad = int(np.count_nonzero(~((values >= 0) & (values <= 1))))
    if bad:
        raise Unjudgeable(
            f"{bad:,} of the {role}'s {len(values):,} rows have no {name!r} between 0 and 1 "
            "(the probability given to the predicted class)."
            if name == "score"
            else f"{bad:,} of the {role}'s {len(values):,} rows have no {name!r} between 0 and 1."
        )
    return values
