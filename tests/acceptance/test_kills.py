"""kill -9 at each state change of a run: whatever happened, the next command tells the truth.

Every run is of one notebook with a scrap, a slow cell and an end. All are killed in one
workspace; then a single ordinary command has to find them.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbprod.core.digest import digest_file
from tests.acceptance.conftest import (
    Cli,
    cells_started,
    make_workspace,
    processes_of,
    wait_for,
    write_notebook,
)

PROGRAM = Path(__file__).with_name("killing.py")
RUNS, SUPERVISOR = "nbprod.store.runs:Runs", "nbprod.workspace.supervise:Supervisor"
STARTER = "nbprod.runners.local:LocalRunner"


@dataclass(frozen=True)
class Kill:
    """A moment, and what has to be found after it."""

    moment: str
    place: str
    status: str | None  #: None: no run was ever on record
    cells: tuple[str, ...] | None = None  #: of the executed notebook, where there is one


LOST = "Its supervisor stopped renewing its lease: the process or its machine went away."
NOT_RUN = ("not_run",) * 3
ALL = ("ok",) * 4  # the cell with the given parameters is the fourth
KILLS = {
    "before it is on record": Kill("before", f"{RUNS}.insert", None),
    "queued and claimed": Kill("after", f"{RUNS}.insert", "lost"),
    "its folder is ready": Kill("after", f"{SUPERVISOR}._prepare", "lost", NOT_RUN),
    "its process starts": Kill("after", f"{STARTER}._start", "lost", NOT_RUN),
    "before its process is on record": Kill("before", f"{RUNS}.started", "lost"),
    "its process is on record": Kill("after", f"{RUNS}.started", "lost"),
    "its attempt has ended": Kill("before", f"{SUPERVISOR}._finish", "lost", ALL),
    "before it is final": Kill("before", f"{RUNS}.finish", "lost", ALL),
    "it is final": Kill("after", f"{RUNS}.finish", "succeeded", ALL),
}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return make_workspace(tmp_path_factory.mktemp("kills") / "team", lease=0.5)


@pytest.fixture(scope="module")
def killed(team: Cli) -> dict[str, Any]:
    """Kill a run at each moment; return what one later command shows of each."""
    path = write_notebook(
        team.folder / "notebooks" / "three.ipynb",
        "import nbprod; nbprod.glue('found', 7)",
        "import time; time.sleep(seconds)",
        parameters="moment = ''\nseconds = 0.0",
    )
    for name, kill in KILLS.items():
        program = [sys.executable, PROGRAM, kill.moment, kill.place]
        done = subprocess.run(
            [*program, "run", path, "-p", f"moment={name}", "--quiet"],
            cwd=team.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, f"{name}: {done.stdout}{done.stderr}"
    wait_for(lambda: not processes_of(team.folder), "every process below the workspace is gone")

    def settled() -> list[dict[str, Any]] | None:
        found = team.json("runs", "list", "--limit", 100)
        return None if any(run["status"] == "running" for run in found) else found

    runs = wait_for(settled, "no run is left running")
    return {run["parameters"]["moment"]: team.json("runs", "show", run["id"]) for run in runs}


@pytest.mark.parametrize("name", KILLS)
def test_a_run_killed_at_any_moment_is_told_truthfully(killed: dict[str, Any], name: str) -> None:
    kill = KILLS[name]
    run = killed.get(name)

    assert (run and run["status"]) == kill.status
    if run is None:
        return
    notebook = Path(run["notebook"])
    if kill.status == "lost":
        assert run["reason"] == LOST
    if kill.cells is None:
        assert notebook.is_file() == (name != "queued and claimed")
    else:
        cells = nbformat.read(notebook, as_version=4).cells
        shown = [cell.metadata.nbprod.status for cell in cells if "nbprod" in cell.metadata]
        assert tuple(shown) == kill.cells
    if notebook.is_file():
        assert digest_file(notebook) == run["notebook_digest"]
        assert notebook.stat().st_mode & 0o222 == 0
    if kill.cells == ALL:
        assert run["scraps"]["found"]["value"] == 7


def test_a_run_that_was_lost_before_it_began_says_that_there_is_no_notebook(
    team: Cli, killed: dict[str, Any]
) -> None:
    run = killed["queued and claimed"]["id"]

    opened, shown = team("runs", "open", run), team("runs", "show", run)

    assert (opened.code, opened.out) == (2, "")
    assert opened.err == (
        f"Run {run} has no executed notebook; it is lost.\n{LOST}\n"
        f"See what is known of it: nbprod runs show {run}\n"
    )
    assert shown.err == ""
    assert shown.out.endswith(
        "files\n  notebook  none: it ended before that\n  log       none: it ended before that\n"
    )


def test_a_killed_command_loses_its_run_but_not_what_it_found(tmp_path: Path) -> None:
    team: Cli = make_workspace(tmp_path / "team", lease=0.5)
    path = write_notebook(
        team.folder / "notebooks" / "slow.ipynb",
        "import nbprod; nbprod.glue('found', 7)",
        "import subprocess; subprocess.run(['sleep', '600'])",
        "print('never')",
    )
    process = team.start("run", path, "--quiet")
    wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
    assert len(processes_of(team.folder)) >= 3  # the command, the attempt, the kernel

    process.kill()
    process.communicate(timeout=60)

    wait_for(lambda: not processes_of(team.folder), "every process below the workspace is gone")
    run = wait_for(
        lambda: next((r for r in team.json("runs", "list") if r["status"] != "running"), None),
        "the run is not running any more",
    )
    shown = team.json("runs", "show", run["id"])
    assert shown["status"] == "lost"
    assert shown["reason"] == LOST
    assert shown["scraps"]["found"]["value"] == 7
    cells = nbformat.read(shown["notebook"], as_version=4).cells
    statuses = [cell.metadata.nbprod.status for cell in cells if "nbprod" in cell.metadata]
    assert statuses == ["ok", "interrupted", "not_run"]
    assert digest_file(Path(shown["notebook"])) == shown["notebook_digest"]
    assert Path(shown["notebook"]).stat().st_mode & 0o222 == 0
