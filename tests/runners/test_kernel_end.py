"""The kernel ends after the run: its `atexit` handlers run, and nobody waits for them."""

from pathlib import Path

from nbprod.core.events import Event, EventType
from nbprod.core.runner import JOURNAL_FILE
from nbprod.core.runs import RunStatus
from nbprod.notebook.journal import read_events
from nbprod.runners.kernel_run import KernelRun
from nbprod.runners.watch import Watch
from tests.runners.conftest import Attempt, Make, notebook

ATEXIT = """\
import atexit, time, pathlib
def end():
    time.sleep({seconds})
    pathlib.Path({left!r}).write_text("ended")
atexit.register(end)
"""


#: What follows the cells, in this order.
LAST = (EventType.RUN_FINISHED, EventType.NOTEBOOK_WRITTEN, EventType.KERNEL_ENDED)


def last_events(made: Attempt) -> list[Event]:
    """The journal's: whoever waited for the result has not heard of all."""
    events = list(read_events(made.request.folder / JOURNAL_FILE))[-3:]
    assert tuple(event.type for event in events) == LAST
    return events


def test_atexit_handlers_run_after_the_result_is_written(attempt: Make, tmp_path: Path) -> None:
    left = tmp_path / "left"
    made = attempt(ATEXIT.format(seconds=1, left=str(left)))

    result = made.execute()

    _, written, ended = last_events(made)
    assert left.read_text() == "ended"
    assert result.status is RunStatus.SUCCEEDED
    assert (ended.fields["how"], ended.fields["code"]) == ("graceful", 0)
    assert ended.fields["seconds"] >= 1
    assert result.notebook is not None
    assert written.fields == {
        "digest": result.notebook_digest,
        "size_bytes": result.notebook.stat().st_size,
    }


def test_a_handler_that_never_ends_is_ended_and_the_run_has_succeeded(attempt: Make) -> None:
    made = attempt(
        "import atexit, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "atexit.register(time.sleep, 600)"
    )

    result = made.execute()

    end = last_events(made)[-1].fields
    assert result.status is RunStatus.SUCCEEDED
    assert (end["how"], end["code"]) == ("killed", -9)
    assert 5 < end["seconds"] < 20


def test_a_dead_kernel_is_reported_as_such(attempt: Make) -> None:
    made = attempt("import os; os._exit(3)")

    result = made.execute()

    assert result.reason == "The kernel died (exit status 3) while cell 1 was running."
    end = last_events(made)[-1].fields
    assert (end["how"], end["code"]) == ("died", 3)


def test_no_kernel_takes_its_whole_patience_to_end() -> None:
    """Of cold ones, 5 in 60 did: ipykernel ended its threads in the wrong order."""
    ends = []
    for _ in range(8):
        run = KernelRun(
            notebook("print(1)"),
            kernel_name="python3",
            note=lambda event: None,
            watch=Watch(),
            start_timeout=120,
            started={},
        )
        run.execute()
        ends.append(run.end_kernel())

    assert [end and (end.how, end.code) for end in ends] == [("graceful", 0)] * 8
