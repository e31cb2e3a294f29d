"""Turn what the `data` parameter names into a table: by file ending, folder or dataset name."""

import csv
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from nbprod.core.errors import (
    DataNotFoundError,
    DatasetNotAvailableError,
    EmptyDataError,
    MissingExtraError,
    UndecodableDataError,
    UnknownDataFormatError,
    UnreadableDataError,
)
from nbprod.notebook.kernel import path as resolve_path
from nbprod.notebook.kernel import workspace_root

if TYPE_CHECKING:
    import datasets

#: `NAME`, `OWNER/NAME`, either with `:CONFIG`; what `datasets.load_dataset` takes.
HUB_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(:(?P<config>[\w.-]+))?")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def read_table(source: str) -> pd.DataFrame:
    """Return the whole table. `SOURCE#SPLIT` names a dataset's split; without it, train."""
    place, _, split = source.partition("#")
    path = resolve_path(place)
    if path.is_dir():
        return _read_dataset(place, path, split)
    if path.suffix.lower() in SUFFIXES:
        if not path.is_file():
            raise DataNotFoundError(source, str(path), _data_files_near(path))
        return _read_file(source, path)
    if path.is_file():
        raise UnknownDataFormatError(source, path.suffix)
    if HUB_NAME.fullmatch(place):
        return _read_dataset(place, None, split)
    raise DataNotFoundError(source, str(path), _data_files_near(path))


def _data_files_near(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return []
    near = sorted(file for file in path.parent.iterdir() if file.suffix.lower() in SUFFIXES)
    root = workspace_root()
    return [str(file.relative_to(root) if file.is_relative_to(root) else file) for file in near[:5]]


def _read_file(source: str, path: Path) -> pd.DataFrame:
    if path.stat().st_size == 0:
        raise EmptyDataError(source, "The file has no bytes.")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return _read_parquet(source, path)
        if suffix in (".jsonl", ".ndjson"):
            return _read_json_lines(source, path)
        # Everything stays text: "NA" is a country, "007" a code, "1e5" a part number.
        return pd.read_csv(
            path,
            sep="\t" if suffix == ".tsv" else ",",
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            quoting=csv.QUOTE_MINIMAL,
        )
    except UnicodeDecodeError as error:
        line, byte = _first_undecodable(path)
        raise UndecodableDataError(source, line, byte) from error
    except pd.errors.EmptyDataError as error:
        raise EmptyDataError(source, "The file has no columns.") from error
    except pd.errors.ParserError as error:
        raise UnreadableDataError(source, f"{str(error).strip()}.") from error


def _read_parquet(source: str, path: Path) -> pd.DataFrame:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow") from error
    try:
        return pd.read_parquet(path)
    except (pa.ArrowInvalid, pa.ArrowIOError) as error:
        reason = "It is no Parquet file, or it was cut short while it was copied."
        raise UnreadableDataError(source, reason) from error


def _read_json_lines(source: str, path: Path) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                reason = f"Line {number} is not JSON: {error.msg} at column {error.colno}."
                raise UnreadableDataError(source, reason) from error
            if not isinstance(row, dict):
                raise UnreadableDataError(source, f"Line {number} is not a JSON object.")
            rows.append(row)
    return pd.DataFrame(rows)


def _first_undecodable(path: Path) -> tuple[int, int]:
    """Return the line, from 1, and the byte at which UTF-8 ends."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return number, line[error.start]
    return 1, path.read_bytes()[-1]


def _read_dataset(source: str, folder: Path | None, split: str) -> pd.DataFrame:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("datasets") from error
    datasets.disable_progress_bars()
    try:
        loaded = _load_dataset(source, folder)
    except Exception as error:  # datasets raises its own, requests', fsspec's and pyarrow's
        raise DatasetNotAvailableError(source, f"{type(error).__name__}: {error}") from error
    if isinstance(loaded, dict):  # a DatasetDict is one
        wanted = split or ("train" if "train" in loaded else next(iter(loaded)))
        if wanted not in loaded:
            reason = f"It has no split {wanted!r}; it has: {', '.join(loaded)}."
            raise DatasetNotAvailableError(source, reason)
        loaded = loaded[wanted]
    return _with_label_names(loaded)


def _load_dataset(source: str, folder: Path | None) -> "datasets.Dataset | datasets.DatasetDict":
    import datasets

    if folder is None:
        found = HUB_NAME.fullmatch(source)
        assert found is not None  # read_table matched it
        return datasets.load_dataset(found["name"], found["config"])
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
        return datasets.load_from_disk(str(folder))
    return datasets.load_dataset(str(folder))


def _with_label_names(dataset: "datasets.Dataset") -> pd.DataFrame:
    """Return the rows with class numbers turned into the names that the dataset gives them."""
    frame: pd.DataFrame = dataset.to_pandas()
    for column, feature in dataset.features.items():
        names = getattr(feature, "names", None)
        if names:
            frame[column] = frame[column].map(dict(enumerate(names)))
    return frame
