"""What is wrong with the rows, and the one way in which all templates put it right.

Every template calls `clean` before it splits, so that all of them see the same examples.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from nbprod.ml.features import word_features


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """How many rows there were, and why some of them are not used."""

    rows: int  #: as read
    empty: int  #: dropped: no text
    unlabelled: int  #: dropped: a text without a label
    repeated: int  #: dropped: a text that stands in an earlier row
    conflicting: int  #: of the repeated, those under another label than the earlier row
    kept: int

    def frame(self) -> pd.DataFrame:
        """Return it as a table to look at."""
        words = {
            "rows": "as read",
            "empty": "dropped, no text",
            "unlabelled": "dropped, no label",
            "repeated": "dropped, text stands in an earlier row",
            "conflicting": "of these, under another label",
            "kept": "used",
        }
        counts = asdict(self)
        return pd.DataFrame(
            {"rows": list(counts.values())}, index=[words[name] for name in counts]
        ).rename_axis("what")


def normalise(texts: pd.Series) -> pd.Series:
    """Return the texts without case and with single spaces: what makes two of them the same."""
    return texts.str.casefold().str.split().str.join(" ")


def clean(frame: pd.DataFrame) -> tuple[pd.DataFrame, Cleaning]:
    """Drop rows without text or label, and repeats of an earlier text; say how many.

    The first of equal texts is kept: appending rows never removes one that was used before. A
    text in both the training and the test part would be scored from memory.
    """
    is_empty = frame["text"] == ""
    is_unlabelled = ~is_empty & (frame["label"] == "")
    usable = frame[~is_empty & ~is_unlabelled]
    texts = normalise(usable["text"])
    first_label = usable.groupby(texts)["label"].transform("first")
    is_repeated = texts.duplicated()
    kept = usable[~is_repeated].reset_index(drop=True)
    return kept, Cleaning(
        rows=len(frame),
        empty=int(is_empty.sum()),
        unlabelled=int(is_unlabelled.sum()),
        repeated=int(is_repeated.sum()),
        conflicting=int((is_repeated & (usable["label"] != first_label)).sum()),
        kept=len(kept),
    )


def repeated_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """Return every text that occurs more than once: how often, and under which labels."""
    texts = normalise(frame.loc[frame["text"] != "", "text"])
    groups = frame.loc[texts.index].groupby(texts)
    table = pd.DataFrame(
        {
            "times": groups.size(),
            "labels": groups["label"].agg(lambda labels: ", ".join(sorted(set(labels)))),
            "conflict": groups["label"].nunique() > 1,
        }
    ).rename_axis("text")
    table = table[table["times"] > 1].sort_values(
        ["conflict", "times"], ascending=False, kind="stable"
    )
    return table.reset_index()


def near_repeats(train: pd.DataFrame, test: pd.DataFrame, *, at_least: float = 0.9) -> pd.DataFrame:
    """Return test texts that are almost a training text: the leakage that equality misses.

    Two texts are compared by the cosine of their TF-IDF words, so order and small words count
    little.
    """
    features = word_features(stop_words=None)
    known = features.fit_transform(train["text"])
    asked = features.transform(test["text"])
    rows: list[tuple[int, int, float]] = []
    for start in range(0, asked.shape[0], 500):  # 500 dense rows at a time bound the memory
        likeness = (asked[start : start + 500] @ known.T).toarray()
        nearest = likeness.argmax(axis=1)
        best = likeness[np.arange(len(nearest)), nearest]
        rows += [
            (start + int(row), int(nearest[row]), float(best[row]))
            for row in np.flatnonzero(best >= at_least)
        ]
    rows.sort(key=lambda row: -row[2])
    return pd.DataFrame(
        {
            "likeness": [row[2] for row in rows],
            "test text": [test["text"].iloc[row[0]] for row in rows],
            "training text": [train["text"].iloc[row[1]] for row in rows],
            "same label": [
                test["label"].iloc[row[0]] == train["label"].iloc[row[1]] for row in rows
            ],
        }
    )


def suspicious_labels(frame: pd.DataFrame, *, folds: int = 3, seed: int = 0) -> pd.DataFrame:
    """Return examples whose label a model that never saw them doubts, the most doubted first.

    Confident learning in its plainest form: cross-validated probabilities of a linear model; a
    label is doubted where another class is likelier than that class's own average confidence.
    (Northcutt, Jiang, Chuang: Confident Learning, JAIR 2021.)

    Returns:
        Columns example_id, text, label, suggested, doubt (difference of probabilities, 0 to 1).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    sizes = frame["label"].map(frame["label"].value_counts())
    frame = frame[sizes >= folds].reset_index(drop=True)  # fewer cannot stand in every fold
    model = make_pipeline(word_features(), LogisticRegression(C=10, max_iter=200))
    labels = np.array(sorted(frame["label"].unique()))
    probabilities = cross_val_predict(
        model,
        frame["text"],
        frame["label"],
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
        method="predict_proba",
    )
    given = np.searchsorted(labels, frame["label"].to_numpy())
    own = probabilities[np.arange(len(given)), given]
    usual = np.array([own[given == index].mean() for index in range(len(labels))])
    other = probabilities.copy()
    other[np.arange(len(given)), given] = -1
    suggested = other.argmax(axis=1)
    likelihood = other.max(axis=1)
    doubted = likelihood > np.maximum(usual[suggested], own)
    table = frame[["example_id", "text", "label"]].assign(
        suggested=labels[suggested], doubt=likelihood - own
    )
    ordered: pd.DataFrame = table[doubted].sort_values("doubt", ascending=False)
    return ordered.reset_index(drop=True)
