"""The processes that a zygote has forked: whose they are, and how they ended.

A process that ended stays a zombie until its client has left: until then its pid is no other's,
and a signal that the client sends to it or to its group cannot hit a stranger.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

#: Seconds that a kernel has to end by itself once its owner is gone. It does so in 10 ms, unless
#: its code holds the interpreter: then nothing within it can.
GRACE = 0.25


@dataclass(slots=True)
class _Process:
    peer: socket.socket | None  #: the client's connection; None when it has left
    ends_with_owner: bool
    code: int | None = None  #: how it ended; None while it runs
    kill_at: float | None = None


class Offspring:
    """Knows each forked process until it is reaped."""

    def __init__(self) -> None:
        self._processes: dict[int, _Process] = {}

    def __len__(self) -> int:
        return len(self._processes)

    def add(self, pid: int, peer: socket.socket | None, *, ends_with_owner: bool = True) -> None:
        """Note a process that was forked for the client at the other end; None: for nobody yet."""
        self._processes[pid] = _Process(peer, ends_with_owner)

    def pids(self) -> list[int]:
        """Return the processes that run."""
        return sorted(pid for pid, process in self._processes.items() if process.code is None)

    def lend(self, pid: int, peer: socket.socket) -> None:
        """Note that a process which was forked for nobody is now that client's."""
        process = self._processes.get(pid)
        if process is not None:  # else it ended a moment ago, and its client finds nobody
            process.peer = peer

    def peers(self) -> list[socket.socket]:
        """Return the connections of clients that are there."""
        return [process.peer for process in self._processes.values() if process.peer is not None]

    def ended(self) -> Iterator[tuple[int, int, socket.socket | None]]:
        """Yield each process that has ended since the last look: pid, exit status, connection."""
        for pid, process in list(self._processes.items()):
            if process.code is not None:
                continue
            found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                continue
            is_exit = found.si_code == os.CLD_EXITED
            process.code = found.si_status if is_exit else -found.si_status
            yield pid, process.code, process.peer

    def reap(self, pid: int) -> None:
        """Let a process that has ended go; its pid may be another's from now on."""
        os.waitpid(pid, 0)
        del self._processes[pid]

    def client_gone(self, peer: socket.socket) -> None:
        """Note that the client has left: its process is reaped, now or when it ends."""
        for pid, process in list(self._processes.items()):
            if process.peer is not peer:
                continue
            process.peer = None
            if process.code is not None:
                self.reap(pid)
            elif process.ends_with_owner:
                process.kill_at = time.monotonic() + GRACE

    def next_kill(self) -> float | None:
        """Return when the next one is due that does not end with its owner by itself."""
        due = [process.kill_at for process in self._processes.values() if process.kill_at]
        return min(due, default=None)

    def end_orphans(self, now: float) -> None:
        """Kill what has not ended in time after its owner left."""
        for pid, process in self._processes.items():
            if process.kill_at is not None and process.code is None and now >= process.kill_at:
                # Not reaped, so the pid is still its own.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                process.kill_at = None
