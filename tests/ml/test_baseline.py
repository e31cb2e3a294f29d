"""The baseline comes back from its folder as it was, and nothing in the folder is a pickle."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from labelled_texts import SUBJECTS

from nbprod.core.digest import digest_folder
from nbprod.core.evidence import hash_id
from nbprod.ml.baseline import TfidfBaseline
from nbprod.ml.models import read_card
from nbprod.ml.predictors import open_predictor


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("longest_phrase", [1, 2])
def test_loading_reproduces_scikit_learn_to_the_last_bit(
    examples: pd.DataFrame, here: Path, classes: int, longest_phrase: int
) -> None:
    examples = examples[examples["label"].isin(sorted(examples["label"].unique())[:classes])]
    train, asked = examples.iloc[:150], [*examples["text"].iloc[150:], "", "Älte Wörter", "dog"]
    model = TfidfBaseline.fit(train["text"], train["label"], longest_phrase=longest_phrase)
    model.save(here / "model", facts={}, training_ids=train["example_id"])

    loaded, folder = open_predictor("model")

    assert folder == here / "model"
    assert loaded.labels == model.labels
    assert np.array_equal(loaded.probabilities(asked), model.probabilities(asked))


def test_the_folder_holds_numbers_and_text(examples: pd.DataFrame, here: Path) -> None:
    model = TfidfBaseline.fit(examples["text"], examples["label"])

    model.save(here / "model", facts={"split": {"seed": 0}}, training_ids=examples["example_id"])

    assert sorted(path.name for path in (here / "model").iterdir()) == [
        "model.safetensors",
        "nbprod.json",
        "training_ids.npy",
        "vocabulary.json",
    ]
    card = read_card(here / "model")
    assert (card.kind, card.labels) == ("tfidf", ("animal", "food", "tool"))
    assert card.facts == {"format": 1, "split": {"seed": 0}}
    recorded = np.load(here / "model" / "training_ids.npy", allow_pickle=False)
    assert recorded.tolist() == sorted(hash_id(f"e{number}") for number in range(300))


def test_the_same_training_gives_the_same_digest(examples: pd.DataFrame, here: Path) -> None:
    for name in ("one", "two"):
        model = TfidfBaseline.fit(examples["text"], examples["label"])
        model.save(here / name, facts={}, training_ids=examples["example_id"])

    assert digest_folder(here / "one") == digest_folder(here / "two")


def test_strongest_words_speak_for_their_class(examples: pd.DataFrame) -> None:
    two = examples[examples["label"] != "tool"]

    for frame in (examples, two):
        words = TfidfBaseline.fit(frame["text"], frame["label"]).strongest_words(3)

        assert set(words["animal"]) < set(SUBJECTS["animal"].split())
        assert set(words["food"]) < set(SUBJECTS["food"].split())


def test_fitting_warns_of_nothing(examples: pd.DataFrame) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TfidfBaseline.fit(examples["text"], examples["label"])
