"""A job whose process is stopped or killed: what was done is on record, and nothing is left on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from nbprod.core.jobs import JobStatus, StepStatus
from nbprod.core.runs import RunStatus
from nbprod.workspace import Workspace

JOB = """\
job: slow
steps:
  - {id: look, run: look, parameters: {seconds: 300.0}}
  - {id: tune, run: train}
  - {report: true}
"""
CODE = """
import nbprod
from nbprod.jobs import find_job, run_job
workspace = nbprod.open()
run_job(workspace, find_job(workspace.jobs_folder, "slow"))
"""


@pytest.fixture
def running(workspace: Workspace) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that executes a job, caught while its first step's kernel sleeps."""
    (workspace.jobs_folder / "slow.yaml").write_text(JOB)
    process = subprocess.Popen([sys.executable, "-c", CODE], cwd=workspace.root)
    try:
        _until(lambda: any(run.status is RunStatus.RUNNING for run in workspace.runs()))
        _until(lambda: len(psutil.Process(process.pid).children(recursive=True)) >= 2)
        yield process
    finally:
        process.kill()
        process.wait()


def _until(holds: Callable[[], bool], *, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stopped_job_is_cancelled(
    workspace: Workspace, running: "subprocess.Popen[bytes]", number: int
) -> None:
    family = psutil.Process(running.pid).children(recursive=True)

    os.kill(running.pid, number)

    assert running.wait(timeout=60) != 0
    (job_run,) = workspace.store.jobs.list()
    assert (job_run.status, job_run.reason) == (JobStatus.CANCELLED, "Stopped by Ctrl-C.")
    assert [step.status for step in workspace.store.jobs.steps(job_run.id)] == [
        StepStatus.CANCELLED,
        StepStatus.SKIPPED,
        StepStatus.SKIPPED,
    ]
    assert [run.status for run in workspace.runs()] == [RunStatus.CANCELLED]
    assert [process for process in family if process.is_running()] == []


def test_a_killed_job_is_failed_by_the_next_that_opens_the_store(
    workspace: Workspace, running: "subprocess.Popen[bytes]"
) -> None:
    running.kill()
    running.wait()

    def is_over() -> bool:
        store = Workspace(workspace.root).store  # opening it is what finds the dead out
        return store.jobs.list()[0].status.is_final and store.runs.list()[0].status.is_final

    _until(is_over)  # each within its own lease of two seconds
    (job_run,) = workspace.store.jobs.list()
    assert job_run.status is JobStatus.FAILED
    assert job_run.reason == (
        "Its supervisor stopped renewing its lease: the process or its machine went away."
    )
    assert [step.status for step in workspace.store.jobs.steps(job_run.id)] == [
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.SKIPPED,
    ]
    assert [run.status for run in workspace.runs()] == [RunStatus.LOST]
