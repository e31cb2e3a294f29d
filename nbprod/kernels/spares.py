"""How many kernels are kept ahead of need, when another is made, and which one is lent.

A spare costs 0.1 s of a core and some 60 MiB; on demand, those 0.1 s would be waited for.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from nbprod.kernels.protocol import BadMessageError, Forked, Inbox
from nbprod.kernels.usage import memory

#: What nbclient adds for an IPython kernel, and our kernel specification has: the usual case.
USUAL_EXTRA = ("--HistoryManager.hist_file=:memory:",)
#: Seconds after a kernel was lent in which its first cells have the processor to themselves.
COURTESY = 0.25
#: Seconds after which a missing spare is made even on a busy machine.
PATIENCE = 1.0
#: Seconds that a spare may take to start before it is given up, and spares that may fail in a row.
LONGEST_START = 60.0
FAILURES = 3
#: A spare older than this is replaced: what it was started with may have been replaced, too.
LONGEST_LIFE = timedelta(minutes=30)
#: Seconds over which the rate of requests is measured.
WINDOW = 10.0
#: Seconds between two looks while a spare is missing.
LOOK = 0.05


@dataclass(slots=True)
class Spare:
    """A kernel that waits, or starts in order to."""

    pid: int
    control: socket.socket
    inbox: Inbox
    extra: tuple[str, ...]
    made: float  #: of the monotonic clock
    ready: Forked | None = None
    private_bytes: int = 0


@dataclass(slots=True)
class Spares:
    """Keeps the spares of one zygote; whoever forks asks it first."""

    limit: int
    memory_limit_bytes: int
    extra: tuple[str, ...] = USUAL_EXTRA
    problem: str = ""  #: why there are none, for good
    spares: list[Spare] = field(default_factory=list)
    _lent: deque[float] = field(default_factory=deque)
    _missing_since: float | None = None
    _not_before: float = 0.0
    _largest: int = 0
    _failed: int = 0
    _other: tuple[str, ...] = USUAL_EXTRA

    def wanted(self, now: float) -> int:
        """Return how many there should be: one, and what a second of the present load needs."""
        while self._lent and now - self._lent[0] > WINDOW:
            self._lent.popleft()
        if self.problem:
            return 0
        rate = len(self._lent) / WINDOW
        return min(self.limit, 1 + round(rate + 0.4), self._affordable())

    def is_due(self, now: float) -> bool:
        """Say whether another one should be made now."""
        if len(self.spares) >= self.wanted(now):
            self._missing_since = None
            return False
        if any(spare.ready is None for spare in self.spares):
            return False  # one after the other: each would only slow the others down
        if now < self._not_before:
            return False
        if self._missing_since is None:
            self._missing_since = now
        missing = now - self._missing_since
        return missing >= COURTESY and (missing >= PATIENCE or has_idle_cpu())

    def pause(self, now: float) -> float | None:
        """Return the seconds until `is_due` may change its mind; None: not before an event."""
        if len(self.spares) >= self.wanted(now):
            return None
        return max(self._not_before - now, LOOK)

    def put_off(self, until: float) -> None:
        """Make none before that moment: what is in the way will not be gone in the next look."""
        self._not_before = until

    def add(self, pid: int, control: socket.socket) -> Spare:
        """Note one that was forked, and now starts."""
        control.setblocking(False)
        spare = Spare(pid, control, Inbox(control), self.extra, time.monotonic())
        self.spares.append(spare)
        self._missing_since = None
        return spare

    def heard(self, spare: Spare) -> bool:
        """Take what a spare says, that it is ready; False when it is gone."""
        try:
            received = spare.inbox.receive()
        except BlockingIOError:
            return True
        except (OSError, BadMessageError):
            received = None
        if received is None or not isinstance(received[0], Forked):
            self._failed += 1
            if self._failed >= FAILURES:
                self.problem = f"{FAILURES} in a row ended while they started"
            return False
        self._failed = 0
        spare.ready = received[0]
        spare.private_bytes = memory(spare.pid).get("private_bytes", 0)
        return True

    def take(self, extra: tuple[str, ...], now: float) -> Spare | None:
        """Return one that is ready, no longer ours; note that one was asked for."""
        self._lent.append(now)
        # Two requests in a row with other arguments: the next spares get those.
        if extra != self.extra and extra == self._other:
            self.extra = extra
        self._other = extra
        for spare in self.spares:
            if spare.ready is not None and spare.extra == extra:
                self.spares.remove(spare)
                # From now on one is missing, and the one that was lent has the processor.
                self._missing_since = now
                return spare
        return None

    def surplus(self, now: float) -> list[Spare]:
        """Return those to be ended, no longer ours: too old, too slow, too many, of no use."""
        ending = [
            spare
            for spare in self.spares
            if now - spare.made > LONGEST_LIFE.total_seconds()
            or (spare.ready is None and now - spare.made > LONGEST_START)
            or spare.extra != self.extra
        ]
        kept = [spare for spare in self.spares if spare not in ending]
        # One more than wanted is kept: making and ending them in turns would be worse.
        wanted = self.wanted(now)
        ending += kept[wanted + 1 if wanted else 0 :]
        self.spares = [spare for spare in self.spares if spare not in ending]
        return ending

    def clear(self) -> list[Spare]:
        """Return all of them, no longer ours."""
        spares, self.spares = self.spares, []
        return spares

    def facts(self) -> Mapping[str, Any]:
        """Return what `nbprod kernels` shows."""
        sizes = [memory(spare.pid) for spare in self.spares if spare.ready is not None]
        return {
            "count": sum(spare.ready is not None for spare in self.spares),
            "starting": sum(spare.ready is None for spare in self.spares),
            "wanted": self.wanted(time.monotonic()),
            "limit": self.limit,
            "private_bytes": sum(size.get("private_bytes", 0) for size in sizes),
            "shared_bytes": sum(size.get("shared_bytes", 0) for size in sizes),
            "pids": [spare.pid for spare in self.spares],
            "problem": self.problem,
        }

    def _affordable(self) -> int:
        """Return how many fit below the limit, judged by the largest so far."""
        # Also of those that are gone: else one that is too large would be made again and again.
        self._largest = max(self._largest, *(spare.private_bytes for spare in self.spares), 0)
        return self.limit if not self._largest else self.memory_limit_bytes // self._largest


def has_idle_cpu() -> bool:
    """Say whether fewer threads want to run than there are processors, not counting this one."""
    try:
        running = int(Path("/proc/loadavg").read_text(encoding="utf-8").split()[3].split("/")[0])
    except (OSError, ValueError):
        return True
    return running - 1 < len(os.sched_getaffinity(0))
