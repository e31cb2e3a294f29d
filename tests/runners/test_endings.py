"""However an attempt ends, its status is the truth and its notebook says so."""

import json
import signal
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from nbprod.core.events import EventType
from nbprod.core.runner import LOG_FILE
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.scraps import ScrapDeclaration, ScrapType
from nbprod.runners.kernel_run import KernelRun
from nbprod.runners.reserve import RESERVE_FILE
from nbprod.runners.watch import Watch
from tests.runners.conftest import Make, notebook, read

OK, ERROR = ("ok", "completed"), ("error", "failed")
NOT_RUN, INTERRUPTED = ("not_run", "pending"), ("interrupted", "failed")


def test_a_run_whose_cells_all_finish_succeeds(attempt: Make) -> None:
    made = attempt("print('one')", "# prose", "2")

    result = made.execute()

    assert (result.status, result.reason) == (RunStatus.SUCCEEDED, "Every cell finished.")
    assert made.statuses() == [OK, OK]
    assert [made.text(0), made.text(1)] == ["one\n", "2"]
    assert len(read(made.request.folder)) == 3


def test_the_executed_notebook_is_read_only_and_its_digest_returned(attempt: Make) -> None:
    import hashlib

    result = attempt("1").execute()

    assert result.notebook is not None
    assert result.notebook.stat().st_mode & 0o777 == 0o444
    assert hashlib.sha256(result.notebook.read_bytes()).hexdigest() == result.notebook_digest


def test_the_template_is_never_written(attempt: Make) -> None:
    made = attempt("x = 1", injected="x = 2", parameters={"x": 2})
    before = made.request.notebook.read_bytes()

    made.execute()

    assert made.request.notebook.read_bytes() == before


def test_a_raising_cell_fails_the_run_and_carries_its_traceback(attempt: Make) -> None:
    made = attempt(
        "print('before')", "def f():\n    raise ValueError('bad')\nf()", "print('after')"
    )

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason == "Cell 2 raised ValueError: bad"
    assert result.error is not None
    assert (result.error.type, result.error.message, result.error.cell) == ("ValueError", "bad", 1)
    assert "ValueError: bad" in result.error.traceback
    assert "\x1b" not in result.error.traceback
    assert made.statuses() == [OK, ERROR, NOT_RUN]
    assert "ValueError" in made.text(1)
    assert made.text(2) == "Not run: Cell 2 raised ValueError: bad"


def test_a_failed_notebook_links_from_its_top_to_the_cell(attempt: Make) -> None:
    made = attempt("1", "raise ValueError('<b>')")

    made.execute()

    cells = read(made.request.folder)
    banner, anchor = cells[0], cells[2]
    assert "This run failed. Cell 2 raised ValueError: &lt;b&gt;" in "".join(banner["source"])
    assert '<a href="#papermill-error-cell">' in "".join(banner["source"])
    assert 'id="papermill-error-cell"' in "".join(anchor["source"])
    assert "".join(cells[3]["source"]) == "raise ValueError('<b>')"


def test_a_killed_kernel_fails_the_run_by_name(attempt: Make) -> None:
    # The kernel sends what it prints from a thread, which a kill on the same instant overtakes.
    dies = (
        "import os, time\nprint('last words', flush=True)\ntime.sleep(1)\nos.kill(os.getpid(), 9)"
    )
    made = attempt("1", dies, "3")

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason == "The kernel died (killed by SIGKILL) while cell 2 was running."
    assert result.error is not None
    assert result.error.type == "KernelDied"
    assert made.statuses() == [OK, ERROR, NOT_RUN]
    assert made.text(1) == f"last words\n{result.reason}"


def test_a_killed_attempt_fails_and_its_notebook_comes_from_the_journal(attempt: Make) -> None:
    kill = "import os, time\nprint('here', flush=True)\ntime.sleep(2)\nos.kill(os.getppid(), 9)"
    made = attempt("1", kill + "\ntime.sleep(60)", "3")

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason == (
        "The attempt process ended (killed by SIGKILL) while cell 2 was running."
    )
    assert made.statuses() == [OK, INTERRUPTED, NOT_RUN]
    assert made.text(1) == f"here\n{result.reason}"
    assert result.notebook is not None
    assert result.notebook.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("call", ["import sys; sys.exit(0)", "exit()", "raise SystemExit"])
def test_leaving_half_way_fails_and_names_the_way_to_stop(attempt: Make, call: str) -> None:
    made = attempt(call, "2")

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason.startswith("Cell 1 called ")
    assert result.reason.endswith(
        "so the cells below it were not run. "
        "To end a run early on purpose, call nbprod.stop(reason)."
    )
    assert made.statuses() == [ERROR, NOT_RUN]


def test_stop_ends_a_run_early_as_succeeded_and_names_the_cells_not_run(attempt: Make) -> None:
    made = attempt("import nbprod", "nbprod.stop('no new rows')", "3", "4")

    result = made.execute()

    assert (result.status, result.stopped, result.error) == (
        RunStatus.SUCCEEDED,
        "no new rows",
        None,
    )
    assert result.reason == "nbprod.stop ended the run in cell 2: no new rows"
    assert made.statuses() == [OK, OK, NOT_RUN, NOT_RUN]
    assert made.text(1) == "Stopped here: no new rows"
    assert made.text(2) == "Not run: nbprod.stop ended the run in cell 2 (no new rows)."


def test_cells_tagged_skip_are_not_executed(attempt: Make) -> None:
    made = attempt("1", ("raise ValueError", "skip"), "3")

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED
    assert made.statuses() == [OK, ("skipped", "completed"), OK]


def test_an_expected_exception_does_not_end_the_run(attempt: Make) -> None:
    made = attempt(("1 / 0", "raises-exception"), "2")

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED
    assert made.statuses() == [OK, OK]
    assert "ZeroDivisionError" in made.text(0)


def test_cancel_interrupts_the_running_cell(attempt: Make) -> None:
    cancel = threading.Event()
    made = attempt("import time", "print('in'); time.sleep(600)", "3")
    started = time.monotonic()

    result = made.execute(
        cancel, lambda event: (event.type is EventType.OUTPUT and cancel.set()) or None
    )

    assert result.status is RunStatus.CANCELLED
    assert result.reason == "The run was cancelled while cell 2 was running."
    assert made.statuses() == [OK, INTERRUPTED, NOT_RUN]
    assert "KeyboardInterrupt" in made.text(1)
    assert time.monotonic() - started < 20


def test_cancel_kills_a_cell_that_ignores_interrupts(attempt: Make) -> None:
    cancel = threading.Event()
    stubborn = "import time, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('in')\n"
    made = attempt(stubborn + "time.sleep(600)", "2", grace=timedelta(seconds=0.5))

    result = made.execute(
        cancel, lambda event: (event.type is EventType.OUTPUT and cancel.set()) or None
    )

    assert result.status is RunStatus.CANCELLED
    assert made.statuses() == [INTERRUPTED, NOT_RUN]


def test_the_timeout_is_of_the_whole_run(attempt: Make) -> None:
    made = attempt("import time", *["time.sleep(2)"] * 9, timeout=timedelta(seconds=4))

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason.startswith("The run took longer than its timeout of 4 s; it ended ")
    assert result.error is not None
    assert result.error.type == "TimedOut"
    assert made.statuses()[-1] == NOT_RUN


def test_a_kernel_that_does_not_exist_fails_the_run(attempt: Make) -> None:
    made = attempt("1", kernel="nope")

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason == ("The kernel 'nope' could not be started: No such kernel named nope")
    assert made.statuses() == [NOT_RUN]


@pytest.mark.parametrize("deaths", [1, 99])
def test_a_kernel_that_dies_as_it_starts_is_started_again_but_not_for_ever(
    attempt: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    starts = tmp_path / "starts"
    folder = tmp_path / "jupyter" / "kernels" / "frail"
    folder.mkdir(parents=True)
    code = (
        "import os, sys; "
        f"open({str(starts)!r}, 'a').write('x'); "
        f"os.path.getsize({str(starts)!r}) > {deaths} or sys.exit(1); "
        "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
    )
    argv = [sys.executable, "-c", code, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Frail", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))

    result = attempt("1", kernel="frail").execute()

    if deaths == 1:
        assert result.status is RunStatus.SUCCEEDED
        assert starts.read_text() == "xx"
    else:
        assert result.status is RunStatus.FAILED
        assert result.reason.startswith("The kernel 'frail' could not be started: ")
        assert starts.read_text() == "xxx"


def test_a_message_of_a_comm_that_makes_no_sense_ends_no_run(attempt: Make) -> None:
    made = attempt(
        "from comm import create_comm\ncreate_comm(target_name='x').send({'state': 'done'})", "2"
    )

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED, result.reason
    assert made.statuses() == [OK, OK]
    log = (made.request.folder / LOG_FILE).read_text()
    assert "cell 1: a comm was not understood: " in log


def test_a_kernel_whose_outputs_cannot_be_taken_had_been_started() -> None:
    def fail(output: object) -> None:
        raise LookupError("nowhere to put it")

    run = KernelRun(
        notebook("1"),
        kernel_name="",
        note=lambda event: None,
        watch=Watch(),
        start_timeout=120,
        started={},
        heard=fail,
    )

    status, reason, error = run.execute()

    run.end_kernel()
    assert status is RunStatus.FAILED
    assert reason == "The kernel 'python3' could no longer be listened to: nowhere to put it"
    assert error == CellError(type="LookupError", message=reason)


def test_a_missing_scrap_fails_the_run_and_the_notebook_says_so(attempt: Make) -> None:
    contract = (ScrapDeclaration(name="f1", type=ScrapType.NUMBER, required=True),)
    made = attempt("1", contract=contract)

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason == "The scrap 'f1' is required and was never glued."
    assert result.reason in "".join(read(made.request.folder)[0]["source"])


def test_a_folder_that_cannot_be_written_fails_without_an_exception(attempt: Make) -> None:
    made = attempt("1")
    (made.request.folder / "scraps").write_text("a file where a folder should be")

    result = made.execute()

    assert result.status is RunStatus.FAILED
    assert result.reason.startswith("The attempt could not be started: [Errno 17]")


def test_an_attempt_that_cannot_be_started_keeps_no_space_back(
    attempt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("nbprod.runners.start._start", refuse)
    made = attempt("1")

    result = made.execute()

    assert result.reason == (
        "The attempt could not be started: [Errno 11] Resource temporarily unavailable."
    )
    assert not (made.request.folder / RESERVE_FILE).exists()


def test_a_supervisor_that_is_interrupted_cancels_the_attempt(attempt: Make) -> None:
    made = attempt("print('in')\nimport time; time.sleep(600)")

    def interrupt(event: object) -> None:
        if made.seen(EventType.OUTPUT):
            signal.raise_signal(signal.SIGINT)

    result = made.execute(on_event=interrupt)

    assert result.status is RunStatus.CANCELLED
    assert made.statuses() == [INTERRUPTED]
