"""The notebooks of notebooks/ run from a clean start, as a reader would run them."""

import shutil
from pathlib import Path

import papermill
import pytest
from template_runs import ROOT, Executed


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This repository's workspace as a fresh clone has it: no run, no store."""
    for name in ("templates", "notebooks", "scheduler"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "nbprod.toml", tmp_path)
    for name in ("NBPROD_WORKSPACE", "NBPROD_RUN_FOLDER", "NBPROD_RUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "runs", "pictures"), [("01_first_run", 2, 0), ("02_sweep_and_compare", 4, 1)]
)
def test_a_worked_example_runs_from_a_clean_start(
    workspace: Path, name: str, runs: int, pictures: int
) -> None:
    output = workspace / "executed.ipynb"

    papermill.execute_notebook(
        str(workspace / "notebooks" / f"{name}.ipynb"),
        str(output),
        kernel_name="python3",
        progress_bar=False,
        cwd=str(workspace / "notebooks"),
    )

    executed = Executed(output, workspace)
    assert executed.streams == []
    assert executed.pictures == pictures
    assert len(list((workspace / ".nbprod" / "runs").iterdir())) == runs
    before = (ROOT / "notebooks" / f"{name}.ipynb").read_bytes()
    assert (workspace / "notebooks" / f"{name}.ipynb").read_bytes() == before
