"""Parts share no example, agree everywhere, and keep their rows when data grows."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_texts import make_examples

from nbprod.core.errors import MissingSplitColumnError, OneClassError, TooFewExamplesError
from nbprod.ml.splits import PARTS, Split, draw, position, split


def ids(parts: Split) -> dict[str, set[str]]:
    return {name: set(getattr(parts, name)["example_id"]) for name in PARTS}


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(60, 300), more=st.integers(0, 300), seed=st.integers(0, 5), data=st.data())
def test_training_rows_stay_training_rows_when_data_grows(
    rows: int, more: int, seed: int, data: st.DataObject
) -> None:
    larger = make_examples(rows + more)
    smaller = larger.iloc[:rows]
    shuffled = larger.sample(frac=1, random_state=data.draw(st.integers(0, 99)))

    before = ids(split(smaller, seed=seed))
    after = ids(split(shuffled, seed=seed))

    assert set.union(*after.values()) == set(larger["example_id"])
    assert sum(map(len, after.values())) == len(larger)
    assert before["train"] <= after["train"]


def test_positions_are_the_same_on_every_machine_and_run() -> None:
    assert position(["n00034778", "ü"], seed=0).round(12).tolist() == [
        0.400145036736,
        0.665255374257,
    ]


def test_shares_are_about_what_was_asked_for() -> None:
    parts = split(make_examples(3000), test=0.2, validation=0.1)

    assert parts.sizes()["rows"].tolist() == pytest.approx([2100, 300, 600], abs=60)


def test_small_classes_stand_in_every_part() -> None:
    common = make_examples(300)
    rare = pd.DataFrame(
        {"example_id": [f"r{n}" for n in range(3)], "text": ["x", "y", "z"], "label": "rare"}
    )
    for seed in range(30):
        parts = split(pd.concat([common, rare], ignore_index=True), seed=seed)

        assert parts.sizes()["classes"].tolist() == [4, 4, 4]


def test_groups_are_never_torn_apart() -> None:
    frame = make_examples(600)
    frame["group"] = [f"author {number // 5}" for number in range(600)]

    parts = split(frame, how="grouped")

    groups = [set(getattr(parts, name)["group"]) for name in PARTS]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]


def test_a_split_by_time_tests_on_the_newest() -> None:
    frame = make_examples(100)
    frame["time"] = pd.date_range("2026-01-01", periods=100, tz="UTC")

    parts = split(frame.sample(frac=1, random_state=1), how="time")

    assert parts.sizes()["rows"].tolist() == [70, 10, 20]
    assert parts.train["time"].max() < parts.validation["time"].min()
    assert parts.validation["time"].max() < parts.test["time"].min()


def test_rows_of_one_moment_stay_in_one_part() -> None:
    frame = make_examples(100)
    frame["time"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(
        [number // 25 for number in range(100)], unit="D"
    )

    parts = split(frame, how="time", test=0.3, validation=0.3)

    moments = [set(getattr(parts, name)["time"]) for name in PARTS]
    assert sum(map(len, moments)) == len(set.union(*moments)) == 4


def test_a_draw_has_the_classes_in_their_proportions() -> None:
    frame = make_examples(900)
    frame = frame[(frame["label"] != "tool") | (frame.index < 300)]  # 300, 300, 100

    drawn = draw(frame, 70)

    assert drawn["label"].value_counts().to_dict() == {"animal": 30, "food": 30, "tool": 10}


def test_a_larger_draw_contains_the_smaller() -> None:
    frame = make_examples(900)

    assert set(draw(frame, 90)["example_id"]) < set(draw(frame, 300)["example_id"])


def test_a_draw_of_more_than_there_is_takes_everything() -> None:
    frame = make_examples(30)

    assert sorted(draw(frame, 100)["example_id"]) == sorted(frame["example_id"])
    assert len(draw(frame, None)) == 30


def test_a_split_by_a_column_that_was_not_named() -> None:
    with pytest.raises(MissingSplitColumnError) as group:
        split(make_examples(30), how="grouped", source="a.csv")
    with pytest.raises(MissingSplitColumnError) as time:
        split(make_examples(30), how="time", source="a.csv")

    assert str(group.value) == (
        "A split of 'a.csv' by group needs a column of groups; none was named.\n"
        "Rows of one group stay in one part, and nothing says which rows those are.\n"
        "Name it: nbprod run explore_text -p data=a.csv -p split_by=grouped "
        "-p group_column=COLUMN"
    )
    assert str(time.value) == (
        "A split of 'a.csv' by time needs a column of times; none was named.\n"
        "The newest rows become the test, and nothing says how old a row is.\n"
        "Name it: nbprod run explore_text -p data=a.csv -p split_by=time -p time_column=COLUMN"
    )


def test_too_few_rows_to_divide() -> None:
    with pytest.raises(TooFewExamplesError) as caught:
        split(make_examples(2))

    assert str(caught.value) == (
        "The validation part of the split has 0 examples.\n"
        "There are 2 examples in all; a stratified split left none for it.\n"
        "See the sizes of the classes: nbprod run explore_text -p data=FILE"
    )


def test_a_training_part_of_one_class() -> None:
    frame = make_examples(60)
    frame["label"] = ["new" if number >= 50 else "old" for number in range(60)]
    frame["time"] = pd.date_range("2026-01-01", periods=60, tz="UTC")

    with pytest.raises(OneClassError) as caught:
        split(frame, how="time", source="a.csv")

    assert str(caught.value).splitlines()[0] == (
        "All 42 examples of its training part of 'a.csv' have the one label 'old'."
    )
