"""The demo's data is what LICENSES.md and its script say."""

import runpy
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from template_runs import ROOT

from nbprod.ml.checks import clean
from nbprod.ml.data import load_examples

DATA = ROOT / "notebooks" / "data" / "definitions.parquet"

#: Lines of data.noun end in two spaces.
SYNSETS = "  \n".join(
    [
        "  1 This software and database is being provided to you, the LICENSEE, by",
        "  2 ",
        "  3 WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved.",
        '00001740 03 n 01 entity 0 003 ~ 00001930 n 0000 | that which is perceived; "it exists"',
        '00034778 04 n 02 hit_man 0 hitter 0 000 | a professional killer; one of many; "hit"; "h"',
        "00035041 04 n 01 rally 0 001 @ 00034778 n 0000 | the feat of mustering strength",
        "",
    ]
)


def test_the_data_is_small_and_as_described() -> None:
    frame = pd.read_parquet(DATA)

    assert DATA.stat().st_size <= 3_000_000
    assert list(frame.columns) == ["example_id", "word", "text", "subject"]
    assert frame["example_id"].is_unique
    assert frame["subject"].nunique() == 21
    assert frame["subject"].value_counts().min() >= 600


def test_the_licence_travels_with_the_data_and_is_quoted_whole() -> None:
    licence = pq.read_schema(DATA).metadata[b"licence"].decode()

    assert "WordNet 3.1 Copyright 2011 by Princeton University" in licence
    assert licence in (ROOT / "LICENSES.md").read_text()


def test_templates_find_their_columns_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBPROD_WORKSPACE", str(ROOT))

    examples = load_examples("notebooks/data/definitions.parquet")
    kept, cleaning = clean(examples.frame)

    assert examples.columns == {"text": "text", "label": "subject"}
    assert cleaning.empty == cleaning.unlabelled == 0
    assert len(kept) == cleaning.rows - cleaning.repeated


def test_the_script_reads_wordnets_own_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dict").mkdir()
    (tmp_path / "dict" / "data.noun").write_text(SYNSETS)
    script = runpy.run_path(str(DATA.parent / "build_definitions.py"))
    monkeypatch.setitem(script["build"].__globals__, "MINIMUM_PER_SUBJECT", 2)

    table = script["build"](tmp_path)

    assert table.to_pylist() == [
        {
            "example_id": "n00034778",
            "word": "hit man",
            "text": "a professional killer; one of many",
            "subject": "act",
        },
        {
            "example_id": "n00035041",
            "word": "rally",
            "text": "the feat of mustering strength",
            "subject": "act",
        },
    ]
    assert table.schema.metadata[b"licence"].decode() == (
        "This software and database is being provided to you, the LICENSEE, by\n\n"
        "WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved."
    )
