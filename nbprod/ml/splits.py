"""Divide examples into training, validation and test parts so that they stay divided.

An example's part follows from a keyed hash of its own id (or group), never from its position or
from how many others there are. So all templates agree without passing lists around, and when
rows are added, those that were training rows stay training rows: a new test set holds nothing
that the champion learned from. Two exceptions, both counted by the evaluation: a class so small
that a part would lack it moves its nearest row there, and a time-ordered split moves on.

Parts may be large. `draw` takes a sample with the classes in their true proportions.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from nbprod.core.errors import MissingSplitColumnError, OneClassError, TooFewExamplesError

How: TypeAlias = Literal["stratified", "grouped", "time"]
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three parts that share no example."""

    train: pd.DataFrame
    validation: pd.DataFrame  #: decides when to stop; never reported as the result
    test: pd.DataFrame  #: looked at by the evaluation only

    def sizes(self) -> pd.DataFrame:
        """Return rows and classes of each part."""
        parts = [getattr(self, name) for name in PARTS]
        return pd.DataFrame(
            {
                "rows": [len(part) for part in parts],
                "classes": [part["label"].nunique() for part in parts],
            },
            index=list(PARTS),
        ).rename_axis("part")


def split(
    frame: pd.DataFrame,
    *,
    how: How = "stratified",
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
    source: str = "the data",
) -> Split:
    """Divide the examples.

    Args:
        frame: examples as `load_examples` and `clean` left them.
        how: `stratified` puts every class of three rows or more into every part; `grouped` keeps
            rows with the same `group` together; `time` tests on the newest.
        test: share of the test part, as a probability: parts vary a little, and never move.
        validation: share of the validation part.
        seed: key of the hash; another one divides differently.
        source: what errors call the data.

    Raises:
        MissingSplitColumnError: `grouped` or `time` without its column.
        TooFewExamplesError: a part would be empty.
        OneClassError: the training part has a single class.
    """
    if how == "time":
        parts = _by_time(_require(frame, "time", source), test=test, validation=validation)
    else:
        column = "group" if how == "grouped" else "example_id"
        places = position(_require(frame, column, source)[column].tolist(), seed=seed)
        parts = _by_position(places, test=test, validation=validation)
        if how == "stratified":
            parts = _with_every_class(parts, frame["label"].to_numpy(), places)
    found = {name: frame[parts == name].reset_index(drop=True) for name in PARTS}
    for name, part in found.items():
        if part.empty:
            detail = f"There are {len(frame):,} examples in all; a {how} split left none for it."
            raise TooFewExamplesError(name, 0, detail)
    if found["train"]["label"].nunique() < 2:
        label = str(found["train"]["label"].iloc[0])
        raise OneClassError(source, label, len(found["train"]), part="training")
    return Split(**found)


def draw(part: pd.DataFrame, rows: int | None, *, seed: int = 0) -> pd.DataFrame:
    """Return `rows` examples with the classes in the part's proportions; all for None.

    Within a class the order is the hash's, so a larger draw contains the smaller one's rows but
    for rounding. The result is ordered by hash too, not by class.
    """
    places = pd.Series(position(part["example_id"].tolist(), seed=seed), index=part.index)
    order = places.sort_values(kind="stable").index
    if rows is None or rows >= len(part):
        return part.loc[order].reset_index(drop=True)
    counts = part["label"].value_counts().sort_index()
    exact = counts * (rows / len(part))
    quota = exact.astype(int)
    remainder = (exact - quota).sort_values(ascending=False, kind="stable")
    quota.loc[remainder.index[: rows - int(quota.sum())]] += 1
    ranked = part.loc[order]
    rank = ranked.groupby("label").cumcount()
    return ranked[rank < ranked["label"].map(quota)].reset_index(drop=True)


def position(ids: Sequence[str], *, seed: int) -> np.ndarray:
    """Return where each id lies between 0 and 1: uniform, and the same on every machine."""
    key = f"nbprod split {seed}".encode()
    digests = (
        hashlib.blake2b(example.encode(), digest_size=8, key=key).digest() for example in ids
    )
    return np.fromiter((int.from_bytes(digest, "big") / 2**64 for digest in digests), float)


def _by_position(places: np.ndarray, *, test: float, validation: float) -> np.ndarray:
    return np.select([places < test, places < test + validation], ["test", "validation"], "train")


def _with_every_class(parts: np.ndarray, labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Move single rows so that classes of three or more stand in every part."""
    parts = parts.copy()
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if len(rows) < len(PARTS) or len(np.unique(parts[rows])) == len(PARTS):
            continue
        ordered = rows[np.argsort(places[rows], kind="stable")]
        first, second, last = ordered[0], ordered[1], ordered[-1]
        # Twice: the last row may have been the only one of validation before it went to train.
        for row, part in 2 * ((first, "test"), (second, "validation"), (last, "train")):
            if part not in parts[rows]:
                parts[row] = part
    return parts


def _by_time(frame: pd.DataFrame, *, test: float, validation: float) -> np.ndarray:
    """Return parts by age: oldest to train. Rows of one moment stay in one part."""
    ages = frame["time"].rank(method="min", pct=True).to_numpy()
    is_newest, is_newer = ages > 1 - test, ages > 1 - test - validation
    return np.select([is_newest, is_newer], ["test", "validation"], "train")


def _require(frame: pd.DataFrame, column: str, source: str) -> pd.DataFrame:
    if column not in frame.columns:
        how = "grouped" if column == "group" else "time"
        raise MissingSplitColumnError(source, how, column)
    return frame
