"""Who dies with whom, and how everything an attempt started is found and ended.

Three means, each for what the others miss: the kernel's death signal is tied to the attempt
process; the attempt watches for its supervisor; and every process an attempt started carries its
folder in its environment, so that one which left its session and its parent is found as well.
"""

import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from nbprod.notebook.kernel import RUN_FOLDER_VARIABLE

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> None:
    """Ask the kernel of this machine to signal this process when the parent's thread dies.

    Linux only; elsewhere it does nothing. Exits at once when `parent` is gone already, which is
    the gap between fork and this call.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def death_pact() -> Callable[[], None]:
    """Return a function for `preexec_fn` that ties a child's life to the calling process."""
    parent = os.getpid()
    return lambda: die_with_parent(parent)


def members(folder: Path) -> list[psutil.Process]:
    """Return the processes that carry the attempt's folder in their environment, but for us."""
    mark = f"{RUN_FOLDER_VARIABLE}={folder}".encode(errors="surrogateescape")
    found = []
    for pid in psutil.pids():
        # Not psutil's environ(), which makes a dictionary of each: 10 times as long.
        if pid != os.getpid() and mark in _environment(pid).split(b"\0"):
            with contextlib.suppress(psutil.Error):  # gone in the meantime
                found.append(psutil.Process(pid))
    return found


def _environment(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123
            return file.read()
    except OSError:
        return b""  # another user's, or gone in the meantime


def end_all(folder: Path, *, patience: float = 3.0) -> list[int]:
    """Kill everything the attempt left behind; return the pids that were still there after it.

    Repeated until nothing is found, because a process may fork while it is looked for; but not
    for much longer than `patience`, because a chain of forks need not end.
    """
    deadline = time.monotonic() + patience
    while True:
        is_last = time.monotonic() > deadline
        found = members(folder)
        found += [child for process in found for child in _descendants(process)]
        if not found:
            return []
        for process in found:
            try:
                process.kill()
            except psutil.Error:
                continue
        _, alive = psutil.wait_procs(found, timeout=0.2)
        if is_last:
            return sorted({process.pid for process in alive or members(folder)})


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def explain_exit(returncode: int) -> str:
    """Say in words how a process ended: "killed by SIGKILL", "exit status 3"."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"
