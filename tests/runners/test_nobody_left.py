"""When someone dies, everyone below dies; whoever is killed when, the truth can be told."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import psutil
import pytest

from nbprod.core.events import EventType
from nbprod.core.runner import JOURNAL_FILE
from nbprod.core.runs import RunStatus
from nbprod.notebook.journal import read_events
from nbprod.runners.finish import finish
from nbprod.runners.processes import end_all, members
from tests.runners.conftest import Attempt, Make, notebook

#: A cell that starts a process of its own session, and would go on for long.
LONG = """\
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("started", flush=True)
time.sleep(600)
"""
SUPERVISOR = """\
import json, sys, threading
from pathlib import Path
from nbprod.core.runner import AttemptRequest
from nbprod.runners.local import LocalRunner
request = AttemptRequest.from_json(json.loads(Path(sys.argv[1]).read_text()))
result = LocalRunner().execute(request, on_event=lambda event: None, cancel=threading.Event())
print(result.status.value, result.reason)
"""


def wait_for(condition: Callable[[], object], what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)  # other processes are watched here, which tell nobody


def supervise(made: Attempt) -> "subprocess.Popen[str]":
    """Run the attempt under a supervisor process that can be killed."""
    import json

    path = made.request.folder.parent / "request.json"
    path.write_text(json.dumps(made.request.to_json()))
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(path)], stdout=subprocess.PIPE, text=True
    )


def happened(folder: Path, kind: EventType) -> bool:
    return any(event.type is kind for event in read_events(folder / JOURNAL_FILE))


def test_a_supervisor_killed_dead_leaves_no_process_behind(attempt: Make) -> None:
    made = attempt("x = 1", LONG, "3")
    folder = made.request.folder
    supervisor = supervise(made)
    wait_for(lambda: happened(folder, EventType.OUTPUT), "the cell's output")
    assert len(members(folder)) >= 2  # the kernel and what its cell started

    supervisor.kill()
    supervisor.wait()
    supervisor.communicate()

    wait_for(lambda: not members(folder), "the end of every process", seconds=15)
    result = finish(folder, status=RunStatus.LOST)
    assert result.status is RunStatus.LOST
    assert result.reason == "The process that watched this run vanished while cell 2 was running."
    made.result = result
    assert [ours for ours, _ in made.statuses()] == ["ok", "interrupted", "not_run"]


def test_what_a_cell_started_ends_with_a_successful_run_too(attempt: Make) -> None:
    made = attempt(LONG.replace("time.sleep(600)\n", "pass\n"))

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED
    assert members(made.request.folder) == []


def test_a_chain_of_forks_is_not_followed_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain: list[subprocess.Popen[bytes]] = []

    def forked(folder: Path) -> list[psutil.Process]:
        if len(chain) == 100:
            return []
        chain.append(subprocess.Popen(["sleep", "600"]))
        return [psutil.Process(chain[-1].pid)]

    monkeypatch.setattr("nbprod.runners.processes.members", forked)

    left = end_all(tmp_path, patience=0)

    for process in chain:
        process.kill()
        process.wait()
    assert left == [chain[-1].pid]
    assert len(chain) < 10


def test_a_kernel_dies_with_an_attempt_killed_dead(attempt: Make) -> None:
    made = attempt(LONG)
    folder = made.request.folder

    def kill(event: object) -> None:
        for fields in made.seen(EventType.OUTPUT) and made.seen(EventType.RUN_STARTED):
            os.kill(fields["pid"], signal.SIGKILL)

    result = made.execute(on_event=kill)

    assert result.status is RunStatus.FAILED
    assert result.reason == (
        "The attempt process ended (killed by SIGKILL) while cell 1 was running."
    )
    assert members(folder) == []


@pytest.mark.parametrize(
    "moment",
    [
        EventType.RUN_STARTED,
        EventType.METADATA,
        EventType.CELL_STARTED,
        EventType.OUTPUT,
        EventType.CELL_FINISHED,
        EventType.RUN_FINISHED,
    ],
)
def test_an_attempt_killed_at_any_event_is_told_truthfully(
    attempt: Make, moment: EventType
) -> None:
    made = attempt("print('one')", "print('two')")

    def kill(event: object) -> None:
        if getattr(event, "type", None) is moment:
            pid = made.seen(EventType.RUN_STARTED)[0]["pid"]
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)

    result = made.execute(on_event=kill)

    ours = [status for status, _ in made.statuses()]
    if ours == ["ok", "ok"] and made.seen(EventType.RUN_FINISHED):
        # It had said how it ended before it was killed, and that stays true.
        assert result.status is RunStatus.SUCCEEDED
    else:
        assert result.status is RunStatus.FAILED
        assert result.reason.startswith("The attempt process ended (killed by SIGKILL)")
        assert set(ours) <= {"ok", "interrupted", "not_run"}
        assert sorted(ours, key=["ok", "interrupted", "not_run"].index) == ours
    assert result.notebook is not None
    nbformat.validate(nbformat.read(result.notebook, as_version=4))
    assert list(result.notebook.parent.glob(".executed*")) == []
    assert members(made.request.folder) == []


DISK = """\
import sys, threading, nbformat
from pathlib import Path
from datetime import timedelta
from nbprod.core.runner import AttemptRequest
from nbprod.runners.local import LocalRunner
folder = Path("/mnt/run"); folder.mkdir()
template = folder / "template.ipynb"
template.write_text(Path(sys.argv[1]).read_text())
request = AttemptRequest(run="r", template="t", fence=1, folder=folder, notebook=template,
    parameters={}, injected="", cwd=Path("/tmp"), workspace=Path("/mnt"))
result = LocalRunner().execute(request, on_event=lambda event: None, cancel=threading.Event())
print(result.status.value)
print(result.reason)
cells = nbformat.read(result.notebook, as_version=4).cells
print([cell.metadata.nbprod.status for cell in cells if cell.cell_type == "code"])
print(nbformat.validate(nbformat.read(result.notebook, as_version=4)))
"""


def test_a_full_disk_fails_the_run_and_its_notebook_says_so(
    tmp_path: Path, python_on_small_disk: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    template = tmp_path / "t.ipynb"
    fill = "for i in range(200):\n    print(str(i) * 20_000)\nimport time; time.sleep(600)"
    nbformat.write(notebook("print('fine')", fill, "3"), template)

    done = python_on_small_disk(DISK, template, kib=2048)

    assert done.stdout.splitlines() == [
        "failed",
        "The disk of /mnt/run is full: the run ended while cell 2 was running.",
        "['ok', 'interrupted', 'not_run']",
        "None",
    ], done.stderr
