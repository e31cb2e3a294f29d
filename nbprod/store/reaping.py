"""End what a vanished supervisor left running on this host, before its GPUs are lent again."""

import os
import socket
import time
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
POLL_SECONDS = 0.01


def this_host() -> str:
    """Return the name under which this machine's processes and GPUs are recorded."""
    return socket.gethostname()


def reap(pid: int | None, started: float | None, folder: Path | None) -> tuple[int, ...]:
    """Kill the recorded process tree and return the pids killed.

    The tree is `pid` (when it is still the process created at `started`, seconds since 1970:
    pids are used again) and its descendants, and whoever carries `folder` in its environment:
    a kernel in a session of its own, whose parent is dead, is found by nothing else. Nothing
    is killed from inside that tree, where a notebook may have opened the store.
    """
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    tree = {process.pid: process for process in _tree(pid, started)}
    tree |= {process.pid: process for process in _marked(folder)}
    if tree.keys() & spared:
        return ()
    doomed = list(tree.values())
    for process in doomed:
        with suppress(psutil.Error):
            process.kill()
    deadline = time.monotonic() + GRACE_SECONDS
    while not all(map(_is_gone, doomed)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return tuple(process.pid for process in doomed)


def _is_gone(process: psutil.Process) -> bool:
    # a zombie holds nothing any more, and in a container nobody may ever collect it
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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
