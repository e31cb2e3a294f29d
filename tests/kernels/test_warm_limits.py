"""A warm kernel is held to its limits and measured as a cold one is, though it shares its pages."""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import psutil
import pytest

from nbprod.core.events import Event, EventType
from nbprod.core.runner import AttemptRequest, AttemptResult
from nbprod.core.runs import RunStatus
from nbprod.core.usage import Usage
from nbprod.runners.local import LocalRunner

if TYPE_CHECKING:
    from kernel_starts import Starts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="warm kernels are Linux's")

MB = 1_000_000
#: What a cell says of its own process: its whole memory, its share of it, and who it is.
WHO = """
import os
def field(name):
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) * 1024
print(field("Rss:"), field("Pss:"), os.getpid(), os.getsid(0))
"""


class Executed:
    """One attempt of a notebook, and what happened in it."""

    def __init__(self, folder: Path, *cells: str, memory_bytes: int | None = None) -> None:
        import threading

        folder.mkdir(parents=True)
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nbformat.write(made, folder / "template.ipynb")
        self.events: list[Event] = []
        request = AttemptRequest(
            run="20261121-000000-abcdef",
            template="t",
            fence=1,
            folder=folder,
            notebook=folder / "template.ipynb",
            parameters={},
            injected="",
            cwd=folder,
            workspace=folder,
            memory_bytes=memory_bytes,
        )
        self.result: AttemptResult = LocalRunner().execute(
            request, on_event=self.events.append, cancel=threading.Event()
        )

    def printed(self) -> list[int]:
        """Return the numbers that the cells printed."""
        outputs: list[Any] = [
            event.fields["output"] for event in self.events if event.type is EventType.OUTPUT
        ]
        text = " ".join(output.get("text", "") for output in outputs)
        return [int(word) for word in text.split()]

    def usages(self) -> list[Usage | None]:
        """Return what each cell used."""
        return [
            Usage.from_json(event.fields.get("usage"))
            for event in self.events
            if event.type is EventType.CELL_FINISHED
        ]


def kernels(warm: "Starts") -> set[str]:
    """Return where the kernels of this test came from; there were some."""
    found = {start.kind.value for start in warm.found() if start.role == "kernel"}
    assert found
    return found


def is_alive(process: psutil.Process, session: int) -> bool:
    """Say whether it is of that session, and no mere name that nobody has collected yet."""
    try:
        is_over = process.status() == psutil.STATUS_ZOMBIE
        return os.getsid(process.pid) == session and not is_over
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_what_a_warm_kernel_shares_with_its_zygote_is_not_its_own(
    warm: "Starts", tmp_path: Path
) -> None:
    first = Executed(tmp_path / "1", WHO)
    whole, share, pid, session = first.printed()
    between = (whole + share) // 2

    held = Executed(tmp_path / "2", WHO, memory_bytes=between)

    assert kernels(warm) <= {"forked", "spare"}
    assert pid == session
    assert whole - share > 10 * MB  # else it shared nothing, and this proves nothing
    assert held.result.status is RunStatus.SUCCEEDED, held.result.reason
    assert held.printed()[0] > between


def test_a_warm_kernel_is_measured_from_its_fork_on(warm: "Starts", tmp_path: Path) -> None:
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    take = "x = bytearray(150_000_000); x[::4096] = bytes(len(x[::4096])); del x"

    run = Executed(tmp_path / "1", burn, take)

    busy, large = run.usages()
    assert busy is not None
    assert large is not None
    assert 0.3 <= busy.cpu_seconds < 0.6
    assert large.peak_rss_bytes > busy.peak_rss_bytes + 130 * MB
    assert run.result.usage is not None
    assert run.result.usage.peak_rss_bytes == large.peak_rss_bytes
    # the seconds that its zygote took to import are nobody's
    assert run.result.usage.cpu_seconds < busy.cpu_seconds + large.cpu_seconds + 0.5


@pytest.mark.parametrize("is_kernel", [True, False], ids=["the kernel", "its children"])
def test_a_warm_kernel_that_takes_too_much_is_ended_with_all_it_started(
    warm: "Starts",
    tmp_path: Path,
    is_kernel: bool,  # noqa: FBT001
) -> None:
    # 2.5 GB in a second if nobody ended them
    grow = f"""
import os, time
def multiply(times):
    x = bytearray(40_000_000)
    x[::4096] = bytes(len(x[::4096]))
    for _ in range(2 if times else 0):
        if not os.fork():
            multiply(times - 1)
    time.sleep(30)
    os._exit(0)
held = []
for _ in range(60):
    if {is_kernel}:
        held.append(bytearray(40_000_000))
        held[-1][::4096] = bytes(len(held[-1][::4096]))
    time.sleep(0.02)
    if not {is_kernel} and not os.fork():
        multiply(5)
"""

    run = Executed(tmp_path / "1", WHO, grow, memory_bytes=400 * MB)

    *_, pid, session = run.printed()
    alive = [process for process in psutil.process_iter() if is_alive(process, session)]
    assert run.result.error is not None, run.result
    assert (run.result.error.type, run.result.error.cell) == ("OutOfMemory", 1)
    assert re.match(
        r"The run used more memory than its limit of 400\.0 MB \(it held ", run.result.reason
    )
    assert kernels(warm) <= {"forked", "spare"}
    assert alive == []
    assert not psutil.pid_exists(pid)
