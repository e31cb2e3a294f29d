"""papermill alone with our engine: its options hold, and so do the notebook's own limits."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from nbclient.exceptions import CellTimeoutError
from papermill.exceptions import PapermillExecutionError

from tests.runners.conftest import notebook

HURRIED = "---\nresources: {timeout: %s}\n---"  # of the whole run: a cold kernel's start counts
FRONT_MATTER = "---\noutputs: {max_bytes: 1KB}\n---"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "in.ipynb"


def write(path: Path, *cells: str | tuple[str, str], front_matter: str = "") -> Path:
    made = notebook(*cells)
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    if front_matter:
        made.cells.insert(0, nbformat.v4.new_raw_cell(front_matter))
    nbformat.write(made, path)
    return path.with_name("out.ipynb")


def run(source: Path, output: Path | None, **options: Any) -> nbformat.NotebookNode:
    return papermill.execute_notebook(
        source, output, engine_name="nbprod", progress_bar=False, **options
    )


def statuses(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell.metadata.nbprod.status for cell in cells if cell.cell_type == "code"]


def test_the_front_matters_timeout_is_of_the_whole_run(source: Path) -> None:
    cells = ["import time", *["time.sleep(3)"] * 9]
    output = write(source, *cells, front_matter=HURRIED % "10s")

    with pytest.raises(PapermillExecutionError, match="KeyboardInterrupt"):
        run(source, output)

    written = nbformat.read(output, as_version=4)
    assert written.metadata.nbprod.status == "failed"
    assert written.metadata.nbprod.reason.startswith("The run took longer than its timeout of 10 s")
    assert statuses(output)[-1] == "not_run"


def test_an_argument_of_the_engine_stands_above_the_front_matter(source: Path) -> None:
    output = write(source, "import time; time.sleep(2.5)", front_matter=HURRIED % "2s")

    run(source, output, run_timeout="1min")

    assert statuses(output) == ["ok"]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"run_timeout": "soon"}, "run_timeout is seconds or a duration such as 2h, not 'soon'."),
        ({"outputs": {"max_count": -1}}, "outputs.max_count is a whole number, or none, not -1."),
    ],
)
def test_an_argument_that_makes_no_sense_is_refused(
    source: Path, options: dict[str, Any], what: str
) -> None:
    output = write(source, "1")

    with pytest.raises(ValueError, match="is ") as caught:
        run(source, output, **options)

    assert str(caught.value) == what


def test_papermills_own_timeout_is_of_each_cell(source: Path) -> None:
    output = write(source, "import time; time.sleep(.6)", "time.sleep(.6)", "time.sleep(600)", "4")

    with pytest.raises(CellTimeoutError) as caught:
        run(source, output, execution_timeout=5)

    assert str(caught.value) == "Cell 3 took longer than the 5 s that a cell may take."
    assert statuses(output) == ["ok", "ok", "error", "not_run"]


def test_a_cell_that_floods_us_with_outputs_is_timed_out_all_the_same(source: Path) -> None:
    output = write(source, "while True: display(1)")
    began = time.monotonic()

    with pytest.raises(CellTimeoutError, match="longer than the 2 s that a cell may take"):
        run(source, output, execution_timeout=2)

    assert time.monotonic() - began < 60
    assert statuses(output) == ["error"]


def test_what_is_cut_is_whole_beside_the_notebook(source: Path) -> None:
    output = write(source, "print('x' * 5_000)", front_matter=FRONT_MATTER)

    run(source, output)

    mark = nbformat.read(output, as_version=4).cells[1].outputs[1]
    assert mark.metadata.nbprod.cut.file == "out_outputs/cell-2-stdout.txt"
    assert (source.parent / mark.metadata.nbprod.cut.file).read_text() == "x" * 5_000 + "\n"


def test_caps_of_the_workspace_hold_and_arguments_stand_above_them(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source.parent / "nbprod.toml").write_text('[runs]\noutputs = {max_bytes = "1KB"}\n')
    monkeypatch.chdir(source.parent)
    output = write(source, "print('x' * 5_000)")

    run(source, output)
    assert len(nbformat.read(output, as_version=4).cells[0].outputs) == 2

    run(source, output, outputs={"max_bytes": "none"})
    assert len(nbformat.read(output, as_version=4).cells[0].outputs) == 1


def test_without_a_file_to_write_nothing_is_cut(source: Path) -> None:
    write(source, "print('x' * 5_000)", front_matter=FRONT_MATTER)

    executed = run(source, None)

    assert executed.cells[1].outputs[0].text == "x" * 5_000 + "\n"


def test_papermills_files_get_everything(source: Path) -> None:
    output = write(
        source,
        "import sys; print('x' * 5_000); print('e', file=sys.stderr)",
        front_matter=FRONT_MATTER,
    )
    folder = source.parent

    with (folder / "o").open("w") as stdout, (folder / "e").open("w") as stderr:
        run(source, output, stdout_file=stdout, stderr_file=stderr)

    assert (folder / "o").read_text() == "x" * 5_000 + "\n"
    assert (folder / "e").read_text() == "e\n"


def test_the_notebook_comes_back_when_the_kernel_has_ended(source: Path) -> None:
    left = source.parent / "left"
    output = write(source, f"import atexit; atexit.register(open, {str(left)!r}, 'w')")

    run(source, output)

    assert left.exists()


def test_ctrl_c_leaves_a_notebook_that_says_so(source: Path) -> None:
    output = write(
        source,
        "print('done')",
        f"open({str(source.parent / 'in')!r}, 'w').close()\nimport time; time.sleep(600)",
        "3",
    )
    command = [sys.executable, "-m", "papermill", str(source), str(output), "--engine", "nbprod"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (source.parent / "in").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)  # the kernel tells nobody but its client

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)

    assert process.returncode != 0
    written = json.loads(output.read_text())
    assert written["metadata"]["nbprod"] == {
        "status": "cancelled",
        "reason": "The run was interrupted while cell 2 was running.",
    }
    assert statuses(output) == ["ok", "interrupted", "not_run"]


def test_a_notebook_under_papermill_can_be_read_while_it_runs(source: Path) -> None:
    output = write(source, "print('done')", "import time; time.sleep(600)")
    command = [sys.executable, "-m", "papermill", str(source), str(output), "--engine", "nbprod"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not output.exists() or statuses(output) != ["ok", "running"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # papermill tells nobody
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    assert statuses(output) == ["ok", "running"]
