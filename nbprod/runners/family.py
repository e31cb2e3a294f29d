"""A kernel and every process that came from it, as /proc shows them. Linux only.

Descendants are found by walking down. One that left its parent (a double fork, `setsid`) is not
below the kernel any more: it is found by the kernel's session, or by the mark of the attempt's
folder in its environment, or because it was seen before it left.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nbprod.notebook.kernel import RUN_FOLDER_VARIABLE

PROC = Path("/proc")
#: Seconds between two looks at every process of the machine; 4 ms for a hundred of them.
STRAYS_EVERY = 1.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """What /proc/PID/stat said."""

    pid: int
    parent: int
    session: int
    started: int  #: ticks since boot: with the pid it names a process for good
    rss_bytes: int
    reaped_seconds: float  #: CPU time of the children it waited for
    is_over: bool  #: a zombie: it holds nothing any more, and waits for its parent

    @property
    def key(self) -> tuple[int, int]:
        """Return what no other process ever had."""
        return self.pid, self.started

    def cpu_seconds(self) -> float:
        """Return the CPU time it used, in nanoseconds' precision; 0 when it is gone."""
        try:
            # clock_getcpuclockid(3), which Python does not offer for processes
            return time.clock_gettime((~self.pid << 3) | 2)
        except OSError:
            return 0.0

    def pss_bytes(self) -> int:
        """Return its memory with each shared page divided among those who share it.

        0 when it is gone; all of it where that may not be read, as of another user's process.
        """
        try:
            text = (PROC / f"{self.pid}/smaps_rollup").read_bytes()
        except PermissionError:
            return self.rss_bytes
        except OSError:
            return 0
        place = text.find(b"\nPss:")
        return int(text[place + 5 : text.index(b"kB", place)]) * 1024 if place >= 0 else 0


def look(pid: int) -> Process | None:
    """Return the process as it is now; None when there is none, or no /proc."""
    try:
        text = (PROC / f"{pid}/stat").read_bytes()
    except OSError:
        return None
    # A program may have any name, also one with blanks and brackets: it ends at the last one.
    fields = text[text.rfind(b")") + 2 :].split()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        started=int(fields[19]),
        rss_bytes=int(fields[21]) * _PAGE,
        reaped_seconds=(int(fields[13]) + int(fields[14])) / _TICKS,
        is_over=fields[0] in (b"Z", b"X"),
    )


class Family:
    """The processes of one kernel. It remembers whom it saw; looking again finds the new ones."""

    def __init__(self, head: int, *, folder: Path | None = None) -> None:
        """Follow the kernel `head`, whose processes may carry `folder` as their mark."""
        self.head = head
        self._mark = None if folder is None else f"{RUN_FOLDER_VARIABLE}={folder}".encode()
        self._known: dict[int, int] = {}  # pid -> started, of members
        self._strangers: set[tuple[int, int]] = set()
        self._looked_around = time.monotonic()
        first = look(head)
        self._leads_session = first is not None and first.session == head
        if first is not None:
            self._known[head] = first.started

    def alone(self) -> list[Process]:
        """Return the kernel, or nothing when it is gone: a look at one process."""
        process = look(self.head)
        is_same = process is not None and self._known.get(self.head) == process.started
        return [process] if process is not None and is_same else []

    def members(self) -> list[Process]:
        """Return those there are, the kernel first, zombies included."""
        if time.monotonic() - self._looked_around > STRAYS_EVERY:
            self._look_around()
        found: dict[int, Process] = {}
        queue = [self.head, *(pid for pid in self._known if pid != self.head)]
        while queue:
            pid = queue.pop(0)
            if pid in found:
                continue
            process = look(pid)
            if process is None or self._known.get(pid, process.started) != process.started:
                self._known.pop(pid, None)  # gone; its id may already be another's
                continue
            found[pid] = process
            self._known[pid] = process.started
            queue += _children(pid)
        return list(found.values())

    def kill(self, *, patience: float = 2.0) -> bool:
        """End all of them, again and again while new ones appear; say whether none is left.

        A family that forks all the time is never at an end, and whoever's parent was killed is
        hard to find: first nobody may move any more, then all are killed together.
        """
        deadline = time.monotonic() + patience
        while True:
            self._stop(until=deadline)
            members = [process for process in self.members() if not process.is_over]
            _signal(members, signal.SIGKILL)
            if not members:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)

    def _stop(self, *, until: float) -> None:
        """Stop all of them: until a look finds nobody who was not stopped before."""
        stopped: set[tuple[int, int]] = set()
        has_looked_around = False
        while time.monotonic() < until:
            new = [process for process in self.members() if process.key not in stopped]
            _signal(new, signal.SIGSTOP)
            stopped.update(process.key for process in new)
            if new:
                continue
            if has_looked_around:
                return
            # Last, since others would go on forking while every process is looked at.
            self._look_around()
            has_looked_around = True

    def _look_around(self) -> None:
        """Find those who are no longer below the kernel."""
        self._looked_around = time.monotonic()
        strangers: set[tuple[int, int]] = set()
        for pid in _all_pids():
            if pid in self._known or pid == os.getpid():
                continue
            process = look(pid)
            if process is None:
                continue
            is_ours = process.key not in self._strangers and self._is_ours(process)
            if is_ours:
                self._known[pid] = process.started
            elif is_ours is False:
                strangers.add(process.key)
        self._strangers = strangers  # of the living only: ids are used again

    def _is_ours(self, process: Process) -> bool | None:
        """Say whether it belongs here; None where that cannot be told yet."""
        if self._leads_session and process.session == self.head:
            return True
        if self._mark is None:
            return False
        try:
            environment = (PROC / f"{process.pid}/environ").read_bytes()
        except PermissionError:
            return False  # another user's
        except OSError:
            return None
        if not environment and not process.is_over:
            return None  # about to become another program
        return self._mark in environment.split(b"\0")


def _signal(processes: Iterable[Process], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def _children(pid: int) -> Iterator[int]:
    """Yield the direct children: of each thread, since each may have forked."""
    with suppress(OSError):
        for thread in (PROC / f"{pid}/task").iterdir():
            with suppress(OSError):
                yield from map(int, (thread / "children").read_bytes().split())


def _all_pids() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
