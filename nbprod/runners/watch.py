"""The thread that ends an attempt from beside it: on request, at its deadline, when orphaned."""

import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum

from nbprod.runners.vitals import Vitals


def in_words(duration: timedelta) -> str:
    """Return a duration as people write it: "1 h 30 min", "45 s", "0.5 s"."""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:g} s"
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


class Ending(StrEnum):
    """Why an attempt must end before its notebook does."""

    CANCELLED = "cancelled"  #: someone asked
    TIMED_OUT = "timed_out"  #: its whole time is over
    OUT_OF_MEMORY = "out_of_memory"  #: its kernel and their children held more than they may


class Watch(threading.Thread):
    """Interrupts the kernel when the attempt must end, and kills it after a grace.

    It polls: a tenth of a second is soon enough, and the main thread may be deep in a library
    that never looks at a flag. Memory may go at gigabytes a second: where it is limited, the watch
    looks twice as often, and kills without grace.
    """

    def __init__(
        self,
        *,
        timeout: timedelta | None = None,
        grace: timedelta = timedelta(seconds=5),
        supervisor: int | None = None,
        on_orphaned: Callable[[], None] = lambda: None,
        vitals: Vitals | None = None,
    ) -> None:
        super().__init__(name="nbprod-watch", daemon=True)
        self.ending: Ending | None = None
        self.vitals = vitals or Vitals()
        self._kernel: int | None = None
        self._deadline = None if timeout is None else time.monotonic() + timeout.total_seconds()
        self.limit = "" if timeout is None else in_words(timeout)  #: the timeout, in words
        self._grace = grace.total_seconds()
        self._supervisor = supervisor
        self._on_orphaned = on_orphaned
        self._kill_at: float | None = None
        self._over = threading.Event()

    @property
    def kernel(self) -> int | None:
        """Return the pid of the kernel, leader of its process group."""
        return self._kernel

    @kernel.setter
    def kernel(self, pid: int | None) -> None:
        if pid is not None:
            self.vitals.begin(pid)
        self._kernel = pid

    def look(self) -> None:
        """Measure the kernel, and end it where it holds too much."""
        if self._kernel is not None and self.vitals.look():
            self.request(Ending.OUT_OF_MEMORY)
            self.vitals.kill()

    def request(self, ending: Ending) -> None:
        """Ask for the end; the first reason stays. Safe in a signal handler."""
        if self.ending is None:
            self.ending = ending

    def settle(self) -> None:
        """Take note that the run has its result: its time cannot run out any more."""
        self._deadline = None

    def finish(self) -> None:
        """Stop watching: the attempt has ended by itself."""
        self._over.set()

    def run(self) -> None:
        """Poll until the attempt is over."""
        while not self._over.wait(0.1 if self.vitals.limit is None else 0.05):
            if self._supervisor is not None and os.getppid() != self._supervisor:
                self._on_orphaned()
                return
            now = time.monotonic()
            deadline = self._deadline
            if deadline is not None and now > deadline:
                self.request(Ending.TIMED_OUT)
            self.look()
            if self.ending is None:
                continue
            if self._kill_at is None:
                self._kill_at = now + self._grace
                self._signal_kernel(signal.SIGINT)
            elif now > self._kill_at:
                self._signal_kernel(signal.SIGKILL)

    def _signal_kernel(self, signum: int) -> None:
        if self.kernel is None:
            return
        try:
            os.killpg(self.kernel, signum)
        except (ProcessLookupError, PermissionError):
            return
