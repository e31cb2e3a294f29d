"""Too much memory and too much time each end a run with a status and a message of their own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from nbprod.core.events import EventType
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.usage import Usage
from nbprod.runners.memory import machine_kills
from tests.runners.conftest import Attempt, Make, notebook

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")

MB = 1_000_000
OK, NOT_RUN, INTERRUPTED = ("ok", "completed"), ("not_run", "pending"), ("interrupted", "failed")
#: Takes 20 MB at a time, for ever; every page is really there.
GROW = """
import time
held = []
while True:
    held.append(bytearray(20_000_000))
    held[-1][::4096] = bytes(len(held[-1][::4096]))
    time.sleep(0.03)
"""
SENTENCE = re.compile(
    r"The run used more memory than its limit of (\S+ MB)"
    r"(?: \(it held (\S+) (MB|GB)\))?; it ended while cell (\d+) was running\."
)


def left_over(folder: Path) -> list[psutil.Process]:
    """Return the processes that carry the attempt's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("NBPROD_RUN_FOLDER") == str(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def usages(made: Attempt) -> list[Usage]:
    """Return what each cell used, as the journal has it."""
    found = [Usage.from_json(fields.get("usage")) for fields in made.seen(EventType.CELL_FINISHED)]
    return [usage for usage in found if usage is not None]


def test_a_cell_that_takes_too_much_is_ended_with_a_message_of_its_own(attempt: Make) -> None:
    made = attempt("print('before')", "print('in', flush=True)" + GROW, "3", memory_bytes=300 * MB)

    result = made.execute()

    assert result.status is RunStatus.FAILED
    said = SENTENCE.fullmatch(result.reason)
    assert said is not None, result.reason
    assert said.groups()[::3] == ("300.0 MB", "2")
    assert result.error == CellError(type="OutOfMemory", message=result.reason, cell=1)
    assert made.statuses() == [OK, INTERRUPTED, NOT_RUN]
    assert made.text(1) == f"in\n{result.reason}"
    assert made.text(2) == f"Not run: {result.reason}"
    assert left_over(made.request.folder) == []
    assert result.usage is not None
    assert 300 * MB <= result.usage.peak_rss_bytes < 900 * MB


def test_memory_given_back_in_time_is_no_offence(attempt: Make) -> None:
    often = """
for _ in range(20):
    x = bytearray(100_000_000)
    x[::4096] = bytes(len(x[::4096]))
    del x
"""
    made = attempt(often, "2", memory_bytes=300 * MB)

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED, result.reason


@pytest.mark.parametrize("leaves", [False, True], ids=["children", "children of their own session"])
def test_children_that_multiply_are_ended_with_the_kernel(attempt: Make, leaves: bool) -> None:  # noqa: FBT001
    # each takes 40 MB and forks two more: 2.5 GB in a second if nobody ended them
    bomb = f"""
import os, time
print("in", flush=True)
def multiply(times):
    if {leaves}:
        os.setsid()
    x = bytearray(40_000_000)
    x[::4096] = bytes(len(x[::4096]))
    for _ in range(2 if times else 0):
        if not os.fork():
            multiply(times - 1)
    time.sleep(30)
    os._exit(0)
if not os.fork():
    multiply(5)
time.sleep(30)
"""
    made = attempt(bomb, "2", memory_bytes=500 * MB)

    result = made.execute()

    assert result.error is not None
    assert result.error.type == "OutOfMemory", result.reason
    assert SENTENCE.fullmatch(result.reason)
    assert made.statuses() == [INTERRUPTED, NOT_RUN]
    assert left_over(made.request.folder) == []


def test_children_that_only_read_what_they_share_may_be_many(attempt: Make) -> None:
    share = """
import os, time
x = bytearray(150_000_000)
x[::4096] = bytes(len(x[::4096]))
children = []
for _ in range(6):
    child = os.fork()
    if not child:
        time.sleep(1.5)
        os._exit(0)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""
    made = attempt(share, memory_bytes=500 * MB)

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED, result.reason
    assert made.text(0) == "[0, 0, 0, 0, 0, 0]\n"
    assert result.usage is not None
    assert 150 * MB < result.usage.peak_rss_bytes < 400 * MB  # seven times 200 were it counted so


def test_what_grows_between_two_cells_ends_the_run_too(attempt: Make) -> None:
    behind = "import threading\ndef grow():\n" + GROW.replace("\n", "\n    ")
    made = attempt(
        behind + "\nthreading.Thread(target=grow, daemon=True).start()",
        "import time\ntime.sleep(600)",
        memory_bytes=300 * MB,
    )

    result = made.execute()

    assert result.error is not None
    assert (result.error.type, result.error.cell) == ("OutOfMemory", 1)
    assert made.statuses() == [OK, INTERRUPTED]


def test_each_cell_and_the_run_say_what_they_used(attempt: Make) -> None:
    take = "x = bytearray(200_000_000); x[::4096] = bytes(len(x[::4096])); del x"
    burn = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
    made = attempt("1", take, "# prose", burn)

    result = made.execute()

    small, large, busy = usages(made)
    assert large.peak_rss_bytes > small.peak_rss_bytes + 180 * MB
    assert busy.peak_rss_bytes < large.peak_rss_bytes - 100 * MB
    assert 0.5 <= busy.cpu_seconds < 0.8
    assert small.cpu_seconds < 0.3
    (finished,) = made.seen(EventType.RUN_FINISHED)
    assert result.usage == Usage.from_json(finished["usage"])
    assert result.usage is not None
    assert result.usage.peak_rss_bytes == max(usage.peak_rss_bytes for usage in usages(made))
    # the notebook says the same, wherever it is found
    told = [cell["metadata"]["nbprod"].get("usage") for cell in made.cells()]
    assert told == [usage.to_json() for usage in usages(made)]
    # the kernel's own start is the run's, and no cell's
    assert result.usage.cpu_seconds > sum(usage.cpu_seconds for usage in usages(made))
    assert result.usage.peak_gpu_bytes is None


def test_of_a_killed_attempt_the_journal_still_says_what_its_cells_used(attempt: Make) -> None:
    kill = "import os, time\ntime.sleep(.5)\nos.kill(os.getppid(), 9)\ntime.sleep(60)"
    made = attempt("x = 1", kill)

    result = made.execute()

    (first,) = usages(made)
    assert result.status is RunStatus.FAILED
    assert result.usage == first


def test_a_run_that_takes_too_long_says_so_and_what_it_used(attempt: Make) -> None:
    made = attempt("1", "import time\ntime.sleep(600)", "3", timeout=timedelta(seconds=15))
    began = time.monotonic()

    result = made.execute()

    reason = "The run took longer than its timeout of 15 s; it ended while cell 2 was running."
    assert (result.status, result.reason) == (RunStatus.FAILED, reason)
    assert result.error == CellError(type="TimedOut", message=reason, cell=1)
    assert made.statuses() == [OK, INTERRUPTED, NOT_RUN]
    assert result.usage is not None
    assert time.monotonic() - began < 120  # the cell would sleep for 600


def test_a_cell_that_ignores_the_interrupt_is_killed_when_the_time_is_over(attempt: Make) -> None:
    stubborn = (
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "while True: time.sleep(1)"
    )
    made = attempt(stubborn, timeout=timedelta(seconds=15), grace=timedelta(seconds=0.5))

    result = made.execute()

    assert result.error is not None
    assert (result.error.type, result.status) == ("TimedOut", RunStatus.FAILED)
    assert made.statuses() == [INTERRUPTED]
    assert left_over(made.request.folder) == []


Group = Callable[[int], Path]


@pytest.fixture
def small_group() -> Iterator[Group]:
    """Make a control group (version 1 or 2) with little memory, as a container is."""
    made: list[Path] = []

    def make(size_bytes: int) -> Path:
        for root, name in (
            (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
            (Path("/sys/fs/cgroup"), "memory.max"),
        ):
            folder = root / f"nbprod-test-{os.getpid()}"
            try:
                folder.mkdir()
            except OSError:
                continue
            made.append(folder)
            try:
                (folder / name).write_text(str(size_bytes))
            except OSError:
                continue
            return folder
        pytest.skip("no control group can be made here")

    yield make
    for folder in made:
        deadline = time.monotonic() + 10
        while folder.exists() and time.monotonic() < deadline:
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.05)  # what was killed is on its way out


def test_a_kernel_that_linux_killed_for_want_of_memory_is_not_called_a_riddle(
    attempt: Make, small_group: Group
) -> None:
    folder = small_group(250 * MB)
    enter = f"import os\nopen({str(folder / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))"
    before = machine_kills()
    made = attempt(enter, GROW)

    result = made.execute()

    assert machine_kills() > before
    assert result.error is not None
    assert (result.error.type, result.error.cell) == ("OutOfMemory", 1)
    assert re.fullmatch(
        r"The kernel was killed while cell 2 was running because the machine ran out of memory; "
        r"it held \d+\.\d MB\.",
        result.reason,
    )
    assert made.text(1) == result.reason


def test_an_attempt_that_linux_killed_for_want_of_memory_says_so(
    attempt: Make, small_group: Group
) -> None:
    # the cell moves its attempt into a group that has no room for it, and it dies at its next page
    folder = small_group(2 * MB)
    doom = f"""
import os, time
time.sleep(0.3)
open({str(folder / "cgroup.procs")!r}, "w").write(str(os.getppid()))
while True:
    print("x" * 1_000_000, flush=True)
    time.sleep(0.01)
"""
    made = attempt("1", doom)

    result = made.execute()

    assert result.error is not None
    assert result.error.type == "OutOfMemory"
    assert result.reason == (
        "The attempt process was killed while cell 2 was running because the machine ran out of "
        "memory."
    )


def test_a_kernel_that_somebody_killed_is_no_want_of_memory(attempt: Make) -> None:
    made = attempt("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", memory_bytes=900 * MB)

    result = made.execute()

    assert result.reason == "The kernel died (killed by SIGKILL) while cell 1 was running."
    assert result.error is not None
    assert result.error.type == "KernelDied"


def test_plain_papermill_holds_a_notebook_to_its_memory_with_our_engine(tmp_path: Path) -> None:
    source = notebook("print('in', flush=True)" + GROW, "2")
    front = "---\nresources: {memory: 300MB}\n---"
    source.cells.insert(0, nbformat.v4.new_raw_cell(front))
    source.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(source, tmp_path / "in.ipynb")

    done = subprocess.run(
        [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "--engine", "nbprod"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    said = SENTENCE.search(done.stderr)
    assert done.returncode != 0
    assert said is not None, done.stderr
    out = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    code = [cell for cell in out.cells if cell.cell_type == "code"]
    assert [cell.metadata.nbprod.status for cell in code] == ["interrupted", "not_run"]
    assert said[0] in str(code[0].outputs)
    assert out.metadata.nbprod.usage["peak_rss_bytes"] > 300 * MB


def test_a_request_with_a_limit_comes_back_from_json(attempt: Make) -> None:
    import json

    request = attempt("1", memory_bytes=8_000_000_000).request
    fields: dict[str, Any] = json.loads(json.dumps(request.to_json()))

    assert fields["memory_bytes"] == 8_000_000_000
    assert type(request).from_json(fields) == request
