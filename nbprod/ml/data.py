"""Read labelled texts from a file, a folder or a Hugging Face dataset into one shape.

Whatever the source, what comes out is a frame with the columns `example_id`, `text`, `label`
(all text), and `group` and `time` where columns were named for them. Nothing is dropped here:
see `nbprod.ml.checks` for what is wrong with the rows, and what is done about it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pandas as pd

from nbprod.core.errors import (
    DuplicateIdsError,
    EmptyDataError,
    MissingColumnsError,
    OneClassError,
    OversizedTextError,
    UnusableColumnError,
)
from nbprod.ml.sources import read_table

#: Names under which columns are found when the parameter leaves them out, best first.
TEXT_NAMES = ("text", "sentence", "content", "description", "document", "review", "title")
LABEL_NAMES = ("label", "subject", "category", "class", "topic", "target", "sentiment")
ID_NAMES = ("example_id", "id", "uuid")
#: Longer texts are no examples, but files read wrongly.
LONGEST_TEXT = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Labelled texts, and where they came from."""

    frame: pd.DataFrame  #: example_id, text, label, and group, time where they were named
    source: str  #: the parameter's value
    fingerprint: str  #: sha256 over all rows, whatever their order or file format
    columns: dict[str, str]  #: role -> name of the source's column

    @property
    def labels(self) -> list[str]:
        """Return the classes, sorted."""
        return sorted(label for label in self.frame["label"].unique() if label)


def load_examples(
    source: str,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    group_column: str | None = None,
    time_column: str | None = None,
) -> Examples:
    """Read labelled texts; a column left out is looked for under the usual names.

    Args:
        source: a .csv, .tsv, .jsonl or .parquet file, a dataset folder, or a hub dataset's name.
        text_column: what the classifier reads.
        label_column: the class it should find.
        id_column: lasting ids; without one they are made from the texts, so that they stay the
            same when rows are added or reordered.
        group_column: rows that belong together, such as one author's; see `splits`.
        time_column: when an example was made; see `splits`.

    Raises:
        MLError: one of its subclasses, naming the file, the row or the columns found.
    """
    table = read_table(source)
    if table.empty:
        raise EmptyDataError(source, "It has a header and no rows." if len(table.columns) else "")
    named = {
        "text": _column(source, table, "text", text_column, TEXT_NAMES),
        "label": _column(source, table, "label", label_column, LABEL_NAMES),
    }
    for role, column in (("group", group_column), ("time", time_column)):
        if column is not None:
            named[role] = _column(source, table, role, column, ())
    frame = pd.DataFrame(
        {role: _as_text(table[name]) for role, name in named.items() if role != "time"}
    )
    _refuse_oversized(source, named["text"], frame["text"])
    if "time" in named:
        frame["time"] = pd.to_datetime(
            table[named["time"]], utc=True, format="mixed", errors="coerce"
        )
    for role in ("group", "time"):
        if role in named:
            _refuse_gaps(source, role, named[role], frame, table[named[role]])
    ids = _ids(source, table, id_column, frame["text"])
    frame.insert(0, "example_id", ids)
    labels = frame.loc[frame["label"] != "", "label"]
    if labels.nunique() < 2:
        raise OneClassError(source, next(iter(labels), ""), len(frame))
    return Examples(frame=frame, source=source, fingerprint=fingerprint(frame), columns=named)


def fingerprint(frame: pd.DataFrame) -> str:
    """Return the sha256 over ids, texts and labels: equal rows share it in any order."""
    lines = sorted(
        "\x1f".join(row)
        for row in frame[["example_id", "text", "label"]].itertuples(index=False, name=None)
    )
    return hashlib.sha256("\x1e".join(lines).encode(errors="surrogatepass")).hexdigest()


def _column(
    source: str, table: pd.DataFrame, role: str, name: str | None, usual: Sequence[str]
) -> str:
    wanted = [name] if name is not None else list(usual)
    found = [str(column) for column in table.columns]
    for candidate in wanted:
        if candidate in found:
            return candidate
    near = get_close_matches(name or role, found, n=1)
    guess = next((column for column in found if column.lower() in usual), None)
    raise MissingColumnsError(
        source, role, wanted[:3], found, guess=guess or next(iter(near or found), "COLUMN")
    )


def _as_text(column: pd.Series) -> pd.Series:
    """Return the column as text, with "" for what is missing and no spaces around."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")  # labels 0, 1 beside a gap were read as 0.0, 1.0
    return column.astype(object).where(column.notna(), "").map(str).str.strip()


def _ids(source: str, table: pd.DataFrame, name: str | None, texts: pd.Series) -> pd.Series:
    if name is not None:
        _column(source, table, "id", name, ())
        ids = _as_text(table[name])
        repeated = ids[ids.duplicated(keep=False)]
        if len(repeated):
            raise DuplicateIdsError(source, name, repeated.iloc[0], len(repeated))
        return ids
    for usual in ID_NAMES:
        if usual in table.columns and table[usual].is_unique:
            return _as_text(table[usual])
    return _ids_from(texts)


def _ids_from(texts: pd.Series) -> pd.Series:
    """Return an id for each text: its digest, and a count where the text is repeated."""
    digests = texts.map(lambda text: hashlib.blake2b(text.encode(), digest_size=8).hexdigest())
    repeats = digests.groupby(digests).cumcount()
    return digests.where(repeats == 0, digests + "-" + repeats.astype(str))


def _refuse_gaps(
    source: str, role: str, column: str, frame: pd.DataFrame, given: pd.Series
) -> None:
    """Refuse rows without a group or time, unless they lack a text or label and are dropped."""
    is_used = (frame["text"] != "") & (frame["label"] != "")
    is_gap = frame[role] == "" if role == "group" else frame[role].isna()
    rows = np.flatnonzero(is_used & is_gap)
    if len(rows):
        value = _as_text(given.iloc[rows[:1]]).iloc[0]
        raise UnusableColumnError(source, role, column, [int(row) + 1 for row in rows], value)


def _refuse_oversized(source: str, column: str, texts: pd.Series) -> None:
    sizes = texts.str.len()
    if sizes.max() > LONGEST_TEXT:
        row = int(sizes.to_numpy().argmax())
        raise OversizedTextError(source, column, row + 1, int(sizes.iloc[row]), LONGEST_TEXT)
