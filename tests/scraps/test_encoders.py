"""Encoders against the reader and against scrapbook itself, for any value there is."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import scrapbook
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nbprod.core.errors import (
    MissingPathScrapError,
    OutputNameError,
    ScrapNameError,
    SidecarDamagedError,
    UnencodableScrapError,
)
from nbprod.core.scraps import Scrap
from nbprod.notebook.encoders import SIDECAR_BYTES, encode, file_name
from nbprod.notebook.glue import glue
from nbprod.notebook.kernel import output
from nbprod.notebook.scraps import load_value, read_scraps

lasting = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
numbers = st.integers() | st.floats() | st.booleans() | st.none()
values = st.recursive(
    numbers | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def nowhere() -> Path:
    raise AssertionError("a small value needs no folder")


def glued(value: object, *, folder: Callable[[], Path] = nowhere) -> nbformat.NotebookNode:
    """A notebook that holds the value as a scrap, by way of a saved file's text."""
    encoded = encode("x", value, folder=folder)
    payload = {"name": "x", "data": encoded.data, "encoder": encoded.encoder, "version": 1}
    cell = nbformat.v4.new_code_cell()
    cell.outputs = [
        nbformat.v4.new_output(
            "display_data",
            data={f"application/scrapbook.scrap.{encoded.encoder}+json": payload},
            metadata={"scrapbook": {"name": "x", "data": True, "display": False}},
        )
    ]
    saved = nbformat.v4.new_notebook(cells=[cell])
    json.dumps(saved, allow_nan=False)  # the file must be JSON to every reader
    return nbformat.reads(nbformat.writes(saved), as_version=4)


def same(one: Any, other: Any) -> bool:
    """Equality in which NaN equals itself."""
    match one, other:
        case float(), float():
            return one == other or (math.isnan(one) and math.isnan(other))
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
        case _:
            return type(one) is type(other) and one == other


@lasting
@given(values)
def test_any_json_like_value_comes_back_to_us(value: object) -> None:
    scrap = read_scraps(glued(value))["x"]

    assert same(load_value(scrap, Path()), value)
    json.dumps(scrap.value, allow_nan=False)  # as a database wants it


@lasting
@given(values)
def test_any_json_like_value_comes_back_to_scrapbook(value: object) -> None:
    read = scrapbook.models.Notebook(glued(value)).scraps["x"]

    assert same(read.data, value)


@lasting
@given(
    hnp.arrays(
        hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(),
        hnp.array_shapes(min_dims=1, min_side=0),
    )
)
def test_any_array_comes_back_with_its_type_and_shape(
    tmp_path: Path, array: "np.ndarray[Any, Any]"
) -> None:
    scrap = read_scraps(glued(array, folder=lambda: tmp_path))["x"]
    loaded = load_value(scrap, tmp_path)

    assert isinstance(loaded, np.ndarray)
    assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(loaded, array)


@lasting
@given(hnp.from_dtype(np.dtype("float32")) | hnp.from_dtype(np.dtype("int16")))
def test_numpy_scalars_are_numbers(value: "np.generic[Any]") -> None:
    scrap = read_scraps(glued(value))["x"]

    assert same(load_value(scrap, Path()), value.item())


@pytest.mark.parametrize("rows", [3, 100_000])
def test_frames_come_back_from_the_notebook_or_from_a_sidecar(tmp_path: Path, rows: int) -> None:
    frame = pd.DataFrame({"a": np.random.default_rng(0).random(rows), "b": ["é"] * rows})

    scrap = read_scraps(glued(frame, folder=lambda: tmp_path))["x"]

    pd.testing.assert_frame_equal(load_value(scrap, tmp_path), frame)  # type: ignore[arg-type]
    assert (scrap.sidecar is None) is (rows == 3)


def test_arrays_beyond_64_kib_go_to_a_sidecar(tmp_path: Path) -> None:
    below, beyond = np.zeros(SIDECAR_BYTES, dtype="u1"), np.zeros(SIDECAR_BYTES + 1, dtype="u1")

    found = [read_scraps(glued(array, folder=lambda: tmp_path))["x"] for array in (below, beyond)]

    assert [scrap.sidecar is None for scrap in found] == [True, False]
    assert [path.name for path in (tmp_path / "scraps").iterdir()] == ["x.npy"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), "it is an object."),
        ({"a": [1, {2, 3}]}, "it is a set (at ['a'][1])."),
        (1j, "it is a complex."),
        (b"bytes", "it is a bytes."),
        ({(1, 2): 3}, "it is a mapping with the key (1, 2)."),
        (np.array([object()]), "it is a NumPy array of Python objects."),
        (pd.DataFrame({"a": [1, "x"]}), "it is a DataFrame that Parquet cannot hold."),
    ],
)
def test_what_cannot_be_stored_is_named_with_its_place(value: object, words: str) -> None:
    with pytest.raises(UnencodableScrapError) as raised:
        encode("x", value, folder=nowhere)

    assert raised.value.what == f"The scrap 'x' cannot be stored: {words}"


def test_a_path_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingPathScrapError) as raised:
        encode("model", tmp_path / "none", folder=lambda: tmp_path)
    assert str(raised.value) == (
        f"The scrap 'model' cannot be stored: {tmp_path}/none does not exist.\n"
        "A glued Path stands for the files behind it; they are digested and kept.\n"
        "Write the files before gluing them:\n"
        '    model.save_pretrained(nbprod.output("model")); '
        "nbprod.glue('model', nbprod.output(\"model\"))"
    )

    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingPathScrapError, match="is a folder without files"):
        encode("model", tmp_path / "empty", folder=lambda: tmp_path)


def test_a_folder_below_scraps_is_not_copied(tmp_path: Path) -> None:
    model = tmp_path / "scraps" / "model"
    model.mkdir(parents=True)
    (model / "weights").write_bytes(b"x")
    before = (model / "weights").stat()

    encode("model", model, folder=lambda: tmp_path)

    assert [path.name for path in (tmp_path / "scraps").iterdir()] == ["model"]
    assert (model / "weights").stat().st_ino == before.st_ino


def test_a_folder_elsewhere_is_copied_and_copied_anew(tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    (source / "weights").write_bytes(b"one")
    encode("model", source, folder=lambda: tmp_path / "run")
    (source / "weights").write_bytes(b"two")

    data = encode("model", source, folder=lambda: tmp_path / "run").data

    assert isinstance(data, dict)
    assert data["path"] == "scraps/model"
    assert (tmp_path / "run/scraps/model/weights").read_bytes() == b"two"
    assert source.exists()


def test_a_changed_sidecar_is_refused_by_name(tmp_path: Path) -> None:
    model = tmp_path / "scraps" / "model"
    model.mkdir(parents=True)
    (model / "weights").write_bytes(b"x")
    (model / "config").write_bytes(b"y")
    scrap = read_scraps(glued(model, folder=lambda: tmp_path))["x"]
    (model / "weights").write_bytes(b"z")
    (model / "config").unlink()
    (model / "new").write_bytes(b"n")

    with pytest.raises(SidecarDamagedError) as raised:
        load_value(scrap, tmp_path)

    assert str(raised.value) == (
        "The files of scrap 'x' are not what the run left: "
        "config is missing; weights was changed; new was added.\n"
        f"{model} was changed, or part of it deleted, after the run.\n"
        "Run the template again:\n    nbprod runs list"
    )


@given(st.text(min_size=1))
def test_a_scraps_name_is_a_safe_file_name(name: str) -> None:
    made = file_name(name.encode("utf-8", "replace").decode())

    assert "/" not in made
    assert made not in (".", "..")
    assert not made.startswith(".")


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 201, 5])
def test_names_that_are_none_are_refused(name: Any) -> None:
    with pytest.raises(ScrapNameError) as raised:
        glue(name, 1)

    assert raised.value.what == f"{name!r} is no name for a scrap."


@pytest.mark.parametrize("name", ["../x", "/etc/x", "", "a/../../b", "."])
def test_an_output_stays_below_the_runs_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBPROD_RUN_FOLDER", str(tmp_path))

    with pytest.raises(OutputNameError) as raised:
        output(name)

    assert raised.value.what == f"{name!r} is no name for an output."


def test_an_output_outside_a_run_goes_to_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nbprod.toml").write_text("[workspace]\nname = 'team'\n")
    (tmp_path / "templates").mkdir()
    monkeypatch.chdir(tmp_path / "templates")
    for name in ("NBPROD_RUN_FOLDER", "NBPROD_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)

    path = output("plots/curve.png")

    assert path.parent.is_dir()
    assert path.relative_to(tmp_path / ".nbprod/scratch").parts[1:] == (
        "scraps",
        "plots",
        "curve.png",
    )


def test_papermills_old_records_are_read() -> None:
    cell = nbformat.v4.new_code_cell()
    cell.outputs = [
        nbformat.v4.new_output(
            "display_data", data={"application/papermill.record+json": {"loss": 0.5}}
        )
    ]

    scraps = read_scraps(nbformat.v4.new_notebook(cells=[cell]))

    assert [type(scrap) for scrap in scraps.values()] == [Scrap]
    assert scraps["loss"].value == 0.5
