"""papermill's own test notebooks come out of our engine as they come out of papermill's.

They are in papermill's source distribution alone; `make test` fetches it. Two things differ on
purpose and are left out here: notes that say of a cell why it was not run, and into how many
pieces a stream came.
"""

import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError

UNPACKED = Path(sys.prefix) / "papermill-tests"
FOLDER = UNPACKED / "papermill" / "tests" / "notebooks"
#: What is known of each, so that one that is new, or gone, is noticed.
NOTEBOOKS = (
    "binder",
    "blank-vscode",
    "broken",
    "broken1",
    "broken2",
    "complex_parameters",
    "keyboard_interrupt",
    "line_magic_error",
    "nb_version_4.4",
    "no_parameters",
    "notimplemented_translator",
    "read_check",
    "report_mode_test",
    "result_no_exec",
    "simple_execute",
    "sysexit",
    "sysexit0",
    "sysexit1",
    "systemexit",
    "test_autosave",
    "test_logging",
    "test_notebooknode_io",
)
#: Sleeps for a minute; in papermill's tests it is interrupted from outside.
ENDLESS = "keyboard_interrupt"
#: What of papermill's metadata no two runs have alike.
MEASURED = ("start_time", "end_time", "duration", "output_path")
PARAMETERS = {"simple_execute": {"msg": "Hello"}, "complex_parameters": {"msg": "Hello"}}


@pytest.fixture
def notebooks(tmp_path: Path) -> Path:
    if not FOLDER.is_dir():
        text = "papermill's notebooks are not here: make papermill-tests"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return shutil.copytree(UNPACKED, tmp_path / "unpacked") / FOLDER.relative_to(UNPACKED)


def execute(source: Path, engine: str | None, **options: Any) -> tuple[Any, Any]:
    """Return the error that papermill raised and the notebook that it wrote."""
    output = source.with_name(f"{source.stem}-{engine}.ipynb")
    error: Exception | None = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old notebooks, and papermill's way with asyncio
        try:
            papermill.execute_notebook(
                str(source),
                str(output),
                engine_name=engine,
                kernel_name="python3",
                cwd=str(source.parent),
                progress_bar=False,
                **options,
            )
        except (PapermillExecutionError, CellTimeoutError) as raised:
            error = raised
        return error, nbformat.read(output, as_version=4)


def essence(error: Any, notebook: Any) -> dict[str, Any]:
    """Return what two engines must agree on."""
    raised = ("ename", "evalue", "cell_index", "exec_count")
    ours = ("papermill", "nbprod")
    return {
        "error": error and [type(error).__name__, *(getattr(error, name) for name in raised)],
        "metadata": {key: told for key, told in notebook.metadata.items() if key not in ours},
        "papermill": {
            key: told for key, told in notebook.metadata.papermill.items() if key not in MEASURED
        },
        "cells": [
            {
                "type": cell.cell_type,
                "source": cell.source,
                "count": cell.get("execution_count"),
                "tags": cell.metadata.get("tags"),
                "status": cell.metadata.get("papermill", {}).get("status"),
                "exception": cell.metadata.get("papermill", {}).get("exception"),
                "outputs": merged(cell.get("outputs", [])),
            }
            for cell in notebook.cells
        ],
    }


def merged(outputs: list[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for output in outputs:
        if output.get("metadata", {}).get("nbprod", {}).get("note"):
            continue
        last = found[-1] if found else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            last["text"] += output.text
        else:
            found.append(dict(output))
    return found


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if name != ENDLESS])
def test_a_notebook_of_papermills_tests_has_the_same_result(notebooks: Path, name: str) -> None:
    source = notebooks / f"{name}.ipynb"
    options = {"parameters": PARAMETERS.get(name)}

    ours = essence(*execute(source, "nbprod", **options))
    theirs = essence(*execute(source, None, **options))

    assert ours == theirs


def test_a_cell_that_takes_too_long_raises_the_same_and_says_more(notebooks: Path) -> None:
    source = notebooks / f"{ENDLESS}.ipynb"

    theirs, untrue = execute(source, None, execution_timeout=2)
    ours, true = execute(source, "nbprod", execution_timeout=2)

    assert type(ours) is type(theirs) is CellTimeoutError
    assert untrue.cells[0].metadata.papermill.status == "completed"
    assert true.metadata.papermill.exception is True
    assert true.cells[-1].metadata.papermill.status == "failed"


def test_every_notebook_of_papermills_is_known(notebooks: Path) -> None:
    assert sorted(path.stem for path in notebooks.glob("*.ipynb")) == sorted(NOTEBOOKS)
