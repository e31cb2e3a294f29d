"""End what a vanished supervisor left running on this host, before its GPUs are lent again."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

#: The attempt's folder stands in this variable of the attempt's process and all below it.
MARK = "NBPROD_RUN_FOLDER"
#: The kernel's boot time, from which a create time is counted, may be corrected by this much.
SLACK_SECONDS = 2.0
#: How long killed processes may take to be gone.
GRACE_SECONDS = 5.0


def this_host() -> str:
    """Return the name under which this machine's processes and GPUs are recorded."""
    return socket.gethostname()


def reap(pid: int | None, started: float | None, folder: Path | None) -> tuple[int, ...]:
    """Kill the recorded process tree and return the pids killed.

    The tree is `pid` (when it is still the process created at `started`, seconds since 1970:
    pids are used again) and its descendants, and whoever carries `folder` in its environment:
    a kernel in a session of its own, whose parent is dead, is found by nothing else. Neither
    this process nor one it descends from is ever killed.
    """
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    tree = {process.pid: process for process in _tree(pid, started)}
    tree |= {process.pid: process for process in _marked(folder)}
    doomed = [process for process in tree.values() if process.pid not in spared]
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(doomed, timeout=GRACE_SECONDS)
    return tuple(process.pid for process in doomed)


def _tree(pid: int | None, started: float | None) -> Iterator[psutil.Process]:
    if pid is None or started is None:
        return
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if abs(process.create_time() - started) <= SLACK_SECONDS:
            yield from process.children(recursive=True)
            yield process


def _marked(folder: Path | None) -> Iterator[psutil.Process]:
    if folder is None:
        return
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == str(folder):
                yield process
