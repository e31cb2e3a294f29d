"""Labelled texts arrive in one shape from every source, and what is wrong with them is said."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from labelled_texts import make_examples

from nbprod.core.errors import MLError
from nbprod.ml.data import load_examples

Write = Callable[[str, str | bytes], str]


def refusal(source: str, **columns: str) -> str:
    """Return the text of the error, after a journey through pickle as between processes."""
    with pytest.raises(MLError) as caught:
        load_examples(source, **columns)
    return str(pickle.loads(pickle.dumps(caught.value)))


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet", "dataset", "data_files"])
def source(request: pytest.FixtureRequest, here: Path) -> str:
    frame = make_examples(30)
    match request.param:
        case "csv":
            frame.to_csv(here / "texts.csv", index=False)
        case "tsv":
            frame.to_csv(here / "texts.tsv", index=False, sep="\t")
        case "jsonl":
            frame.to_json(here / "texts.jsonl", orient="records", lines=True)
        case "parquet":
            frame.to_parquet(here / "texts.parquet")
        case "dataset":
            save_dataset(frame, here / "texts")
            return "texts#train"
        case "data_files":
            (here / "texts").mkdir()
            frame.to_parquet(here / "texts" / "train-00000-of-00001.parquet")
            return "texts"
    return f"texts.{request.param}"


def save_dataset(frame: pd.DataFrame, folder: Path) -> None:
    """Save with the classes as numbers and names, as published datasets have them."""
    import datasets

    names = sorted(frame["label"].unique())
    features = datasets.Features(
        {
            "example_id": datasets.Value("string"),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=names),
        }
    )
    numbered = frame.assign(label=frame["label"].map(names.index))
    rows = datasets.Dataset.from_dict(numbered.to_dict("list"), features=features)
    splits = datasets.DatasetDict({"test": rows.select(range(5)), "train": rows})
    splits.save_to_disk(str(folder))


def test_every_source_gives_the_same_examples(
    source: str, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", here / "cache")
    expected = make_examples(30)

    loaded = load_examples(source)

    pd.testing.assert_frame_equal(loaded.frame.astype("str"), expected.astype("str"))
    assert loaded.labels == ["animal", "food", "tool"]


def test_rows_in_another_order_have_the_same_fingerprint(write: Write) -> None:
    first = write("a.csv", "id,text,label\n1,one,x\n2,two,y\n")
    second = write("b.csv", "id,text,label\n2,two,y\n1,one,x\n")

    assert load_examples(first).fingerprint == load_examples(second).fingerprint


def test_columns_are_found_by_their_usual_names_or_as_told(write: Write) -> None:
    source = write("a.csv", "subject,description,body\nx,short,long one\ny,brief,long two\n")

    found = load_examples(source).columns
    told = load_examples(source, text_column="body").columns

    assert found == {"text": "description", "label": "subject"}
    assert told == {"text": "body", "label": "subject"}


def test_ids_made_from_texts_stay_when_rows_are_added_before_them(write: Write) -> None:
    rows = "one,x\ntwo,y\none,x\n"
    before = load_examples(write("a.csv", f"text,label\n{rows}"))
    after = load_examples(write("b.csv", f"text,label\nthree,x\n{rows}"))

    assert after.frame["example_id"].tolist()[1:] == before.frame["example_id"].tolist()
    assert before.frame["example_id"].is_unique


def test_nothing_in_a_csv_is_taken_for_a_number_or_a_gap(write: Write) -> None:
    source = write("a.csv", "text,label\nNA,007\nnull,1e5\n")

    loaded = load_examples(source)

    assert loaded.frame[["text", "label"]].to_numpy().tolist() == [["NA", "007"], ["null", "1e5"]]


def test_whole_numbers_beside_gaps_stay_whole(write: Write) -> None:
    source = write("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}\n{"text": "c", "label": 2}')

    assert load_examples(source).frame["label"].tolist() == ["1", "", "2"]


def test_a_file_that_is_not_there(write: Write, here: Path) -> None:
    write("data/texts.csv", "text,label\na,x\nb,y\n")

    assert refusal("data/text.csv") == (
        "There is no data at 'data/text.csv'.\n"
        f"Looked for {here}/data/text.csv; relative paths start at the workspace root. "
        "Data files beside it: data/texts.csv.\n"
        "Name a file that exists: nbprod run explore_text -p data=data/texts.csv"
    )


def test_a_file_without_a_byte(write: Write) -> None:
    assert refusal(write("a.csv", "")) == (
        "'a.csv' holds no examples.\n"
        "The file has no bytes.\n"
        "Name data with at least one row: nbprod run explore_text -p data=FILE"
    )


def test_a_file_with_a_header_only(write: Write) -> None:
    assert refusal(write("a.csv", "text,label\n")) == (
        "'a.csv' holds no examples.\n"
        "It has a header and no rows.\n"
        "Name data with at least one row: nbprod run explore_text -p data=FILE"
    )


def test_a_single_class(write: Write) -> None:
    assert refusal(write("a.csv", "text,label\nb,spam\nc,spam\n")) == (
        "All 2 examples of 'a.csv' have the one label 'spam'.\n"
        "A classifier needs at least two classes to tell apart.\n"
        "Name the column that holds the classes: "
        "nbprod run explore_text -p data=a.csv -p label_column=COLUMN"
    )


def test_other_column_names_are_listed(write: Write) -> None:
    source = write("a.csv", "headline,body,kind\nx,y,z\n")

    assert refusal(source) == (
        "'a.csv' has no column 'text' or 'sentence' or 'content' for the text.\n"
        "Columns found: headline, body, kind.\n"
        "Say which one it is: nbprod run explore_text -p data=a.csv -p text_column=headline"
    )
    assert refusal(source, text_column="boddy", label_column="kind") == (
        "'a.csv' has no column 'boddy' for the text.\n"
        "Columns found: headline, body, kind.\n"
        "Say which one it is: nbprod run explore_text -p data=a.csv -p text_column=body"
    )


def test_bytes_that_are_not_utf8(write: Write) -> None:
    source = write("a.csv", b"text,label\nfine,x\ncaf\xe9,y\n")

    assert refusal(source) == (
        "'a.csv' is not UTF-8: line 3 holds the byte 0xe9.\n"
        "Guessing an encoding would change letters silently.\n"
        "Convert it, if it is from Windows: "
        "iconv -f WINDOWS-1252 -t UTF-8 a.csv > utf8-a.csv"
    )


def test_a_cell_of_a_hundred_megabytes(write: Write) -> None:
    source = write("a.csv", 'text,label\nfine,x\n"' + "long " * 20_000_000 + '",y\n')

    assert refusal(source) == (
        "'a.csv' holds 99,999,999 characters in one cell: column 'text', row 2.\n"
        "The limit is 1,000,000. Such a cell is mostly a quote that was never closed, "
        "so that the rest of the file became one text.\n"
        "Look at that row: sed -n '3p' a.csv | head -c 300"
    )


def test_a_line_that_is_not_json(write: Write) -> None:
    assert refusal(write("a.jsonl", '{"text": "a", "label": "x"}\n{"text": }\n')) == (
        "'a.jsonl' could not be read.\n"
        "Line 2 is not JSON: Expecting value at column 10.\n"
        "Look at how it begins: head -c 300 a.jsonl"
    )


def test_a_parquet_file_that_is_none(write: Write) -> None:
    assert refusal(write("a.parquet", "text,label\n")) == (
        "'a.parquet' could not be read.\n"
        "It is no Parquet file, or it was cut short while it was copied.\n"
        "Look at how it begins: head -c 300 a.parquet"
    )


def test_an_ending_that_says_nothing(write: Write) -> None:
    assert refusal(write("a.xls", "text")) == (
        "'a.xls' cannot be read: its ending '.xls' is not known.\n"
        "Read are .csv, .tsv, .jsonl, .ndjson, .parquet, and Hugging Face datasets.\n"
        "Convert it, say to JSON lines: nbprod run explore_text -p data=a.xls.jsonl"
    )


def test_ids_that_are_not_unique(write: Write) -> None:
    source = write("a.csv", "key,text,label\n1,a,x\n1,b,y\n2,c,y\n")

    assert refusal(source, id_column="key") == (
        "'a.csv' repeats 2 ids in column 'key', such as '1'.\n"
        "Splits and comparisons join models' predictions by example id.\n"
        "Leave the column out, and ids are made from the texts: "
        "nbprod run explore_text -p data=a.csv"
    )


def test_rows_without_a_group(write: Write) -> None:
    source = write("a.csv", "text,label,author\na,x,ann\nb,y,\nc,x,\n,x,\nd,,\n")

    assert refusal(source, group_column="author") == (
        "Column 'author' of 'a.csv' holds no group in row 2 and 1 more: ''.\n"
        "Rows without a group would pass for one large group.\n"
        "Fill or drop such rows, or do without the column: nbprod run explore_text -p data=a.csv"
    )


@pytest.mark.parametrize("value", ["someday", ""])
def test_rows_without_a_time(write: Write, value: str) -> None:
    source = write("a.csv", f"text,label,made\na,x,2026-01-02\nb,y,{value}\n,y,never\n")

    assert refusal(source, time_column="made") == (
        f"Column 'made' of 'a.csv' holds no time in row 2: {value!r}.\n"
        "Rows without a time would be learned from, however new they are.\n"
        "Fill or drop such rows, or do without the column: nbprod run explore_text -p data=a.csv"
    )


def test_a_dataset_without_the_split_that_was_asked_for(here: Path) -> None:
    save_dataset(make_examples(30), here / "texts")

    assert refusal("texts#dev") == (
        "The Hugging Face dataset 'texts' could not be loaded.\n"
        "It has no split 'dev'; it has: test, train.\n"
        "Where there is no network, fetch it elsewhere once, copy the folder here and name it: "
        "nbprod run explore_text -p data=FOLDER"
    )


def test_a_hub_dataset_without_a_network(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", here / "cache")

    first, _, last = refusal("some-team/texts").splitlines()

    assert first == "The Hugging Face dataset 'some-team/texts' could not be loaded."
    assert last.endswith("nbprod run explore_text -p data=FOLDER")
