"""The line between a supervisor and its attempt: a pair of sockets, the attempt's as its stdin.

Over it the attempt wakes its supervisor, who would otherwise look at the journal by the clock. And
its end tells the attempt that the supervisor is gone, whoever started the attempt and however: a
fork of a zygote is nobody's child to whom the kernel of this machine would tell it.
"""

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

_STDIN = 0
#: Seconds between two looks at a process that has let go of its line.
_SOON = 0.005


class SupervisorLine:
    """The supervisor's end. `descriptor` is for the attempt's stdin; close it once it is there."""

    def __init__(self) -> None:
        self._own, self._other = socket.socketpair()
        self._own.setblocking(False)
        self._is_over = False

    @property
    def descriptor(self) -> int:
        """Return the attempt's end."""
        return self._other.fileno()

    def hand_over(self) -> None:
        """Let go of the attempt's end, which the attempt has by now."""
        self._other.close()

    def wait(self, seconds: float) -> bool:
        """Wait until the attempt rings or is gone; say whether it did within `seconds`."""
        if self._is_over:
            time.sleep(min(seconds, _SOON))  # nothing rings any more; the process is about to end
            return False
        waiting = select.poll()
        waiting.register(self._own, select.POLLIN)
        if not waiting.poll(seconds * 1000):
            return False
        with contextlib.suppress(BlockingIOError):
            try:
                self._is_over = not self._own.recv(4096)
            except ConnectionError:
                self._is_over = True
        return True

    @property
    def is_over(self) -> bool:
        """Say whether the attempt has let go of its end."""
        return self._is_over

    def close(self) -> None:
        """Leave the attempt: one that still runs takes it for its supervisor's death."""
        self._own.close()
        self._other.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AttemptLine:
    """The attempt's end."""

    def __init__(self, own: socket.socket) -> None:
        self._own = own
        self._own.setblocking(False)

    @classmethod
    def take(cls) -> "AttemptLine | None":
        """Take the line from stdin, and leave an empty file there; None where it is no line."""
        try:
            if not stat.S_ISSOCK(os.fstat(_STDIN).st_mode):
                return None
        except OSError:
            return None
        own = socket.socket(fileno=os.dup(_STDIN))  # and no child inherits it
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(nothing, _STDIN)
        os.close(nothing)
        return cls(own)

    def ring(self) -> None:
        """Wake the supervisor. One that is busy, or gone, is not waited for."""
        with contextlib.suppress(OSError):
            self._own.send(b".")

    def when_over(self, leave: Callable[[], None], *, supervisor: int) -> None:
        """Call `leave` from a thread when the process `supervisor` is gone, or closes its end.

        Both are watched: forks of a supervisor may hold its end for longer than it lives.
        """
        watched = [self._own.fileno()]
        with contextlib.suppress(OSError, AttributeError):  # no Linux, or it is gone already
            watched.append(os.pidfd_open(supervisor))

        def watch() -> None:
            waiting = select.poll()
            for descriptor in watched:
                waiting.register(descriptor, select.POLLIN)
            waiting.poll()
            leave()

        threading.Thread(target=watch, name="nbprod-line", daemon=True).start()
