"""What is wrong with rows is found, counted and put right in one way."""

import pandas as pd
from labelled_texts import make_examples

from nbprod.ml.checks import Cleaning, clean, near_repeats, repeated_texts, suspicious_labels


def frame_of(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        [(f"e{number}", *row) for number, row in enumerate(rows)],
        columns=["example_id", "text", "label"],
    )


ROWS = frame_of(
    ("A dog", "animal"),
    ("", "animal"),
    ("a  DOG", "animal"),
    ("bread", "food"),
    ("Bread", "plant"),
    ("soup", ""),
)


def test_cleaning_keeps_the_first_of_equal_texts_and_counts_the_rest() -> None:
    kept, cleaning = clean(ROWS)

    assert kept["example_id"].tolist() == ["e0", "e3"]
    assert cleaning == Cleaning(rows=6, empty=1, unlabelled=1, repeated=2, conflicting=1, kept=2)
    assert cleaning.frame()["rows"].tolist() == [6, 1, 1, 2, 1, 2]


def test_cleaning_clean_rows_changes_nothing() -> None:
    frame = make_examples(300)
    frame = frame[~frame["text"].duplicated()].reset_index(drop=True)

    kept, cleaning = clean(frame)

    pd.testing.assert_frame_equal(kept, frame)
    assert (cleaning.repeated, cleaning.conflicting) == (0, 0)


def test_repeated_texts_show_conflicts_first() -> None:
    table = repeated_texts(ROWS)

    assert table.to_dict("list") == {
        "text": ["bread", "a dog"],
        "times": [2, 2],
        "labels": ["food, plant", "animal"],
        "conflict": [True, False],
    }


def test_near_repeats_find_what_equality_misses() -> None:
    train = frame_of(("the basic unit of money in Peru", "money"), ("a large old horse", "animal"))
    test = frame_of(("a horse, large and old", "animal"), ("a kind of cheese", "food"))

    table = near_repeats(train, test, at_least=0.6)

    assert table["test text"].tolist() == ["a horse, large and old"]
    assert table["training text"].tolist() == ["a large old horse"]
    assert table["same label"].tolist() == [True]


def test_no_near_repeats_give_an_empty_table() -> None:
    train, test = frame_of(("dog", "animal")), frame_of(("bread", "food"))

    assert near_repeats(train, test).to_dict("list") == {
        "likeness": [],
        "test text": [],
        "training text": [],
        "same label": [],
    }


def test_labels_that_were_swapped_are_doubted_first() -> None:
    frame = make_examples(300)
    swapped = [10, 100, 200]  # food, food, tool
    frame.loc[swapped, "label"] = "animal"

    doubts = suspicious_labels(frame)

    assert set(doubts["example_id"].head(3)) == {"e10", "e100", "e200"}
    found = doubts.set_index("example_id")["suggested"]
    assert found[["e10", "e100", "e200"]].tolist() == ["food", "food", "tool"]


def test_classes_too_small_to_check_are_left_out() -> None:
    frame = pd.concat([make_examples(90), frame_of(("lonely words", "rare"))], ignore_index=True)

    assert "rare" not in set(suspicious_labels(frame)["label"])
