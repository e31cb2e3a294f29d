"""A process that a zygote forked for us, with the face of `subprocess.Popen`.

It is not our child: the zygote reaps it and says how it ended. Where the zygote is gone, the pidfd
still says when, and newer Linux also how.
"""

import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from nbprod.kernels.protocol import BadMessageError, Done, Exited, Forked, Inbox

#: The exit status where nobody can say it any more, as multiprocessing's fork server has it.
UNKNOWN = 255
#: Seconds that whoever reaps a process has to say how it ended.
GRACE = 1.0

# ioctl PIDFD_GET_INFO of linux/pidfd.h, first version of its struct: the exit status stands in it
# once the process is reaped, by whomever (Linux 6.15; the flag for a whole group is from 6.9).
_INFO = struct.Struct("=QQ11Ii")
_GET_INFO = 3 << 30 | _INFO.size << 16 | 0xFF << 8 | 11
_EXIT = 1 << 3


#: Every one that is not closed: a fork of this process lets go of them, for as long as anybody
#: holds a connection its process has an owner.
_open: "weakref.WeakSet[ForkedProcess]" = weakref.WeakSet()


def _let_go() -> None:
    for process in list(_open):
        process._lock = threading.RLock()  # it may be held by a thread that is not here
        process.close()


os.register_at_fork(after_in_child=_let_go)


class ForkedProcess:
    """Like Popen: `pid`, `returncode`, `poll`, `wait`, `send_signal`. Closing it ends a kernel."""

    stdin = stdout = stderr = None

    def __init__(
        self, peer: socket.socket, inbox: Inbox, forked: Forked, *, pidfd: int, args: Sequence[str]
    ) -> None:
        peer.setblocking(False)
        self.args = list(args)
        self.pid = forked.pid
        self.returncode: int | None = None
        self.is_exit_known = True  #: False: the zygote was gone, `returncode` is `UNKNOWN`
        self.done_code: int | None = None  #: a command's result, while it still cleans up
        self.is_spare = forked.is_spare
        self.not_spare_because = forked.not_spare_because
        self.connection_info: Mapping[str, Any] | None = forked.connection_info
        self._peer = peer
        self._inbox = inbox
        self._pidfd = pidfd
        self._is_at_end = False
        self._seen_ended: float | None = None
        self._lock = threading.RLock()
        _open.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_pidfd"):
            self.close()

    def fileno(self) -> int:
        """Return the pidfd: readable once the process has ended."""
        return self._pidfd

    def descriptors(self) -> list[int]:
        """Return what to wait on until `poll` may have news, at the latest after `GRACE`."""
        if self.returncode is not None:
            return []
        # Both stay readable at their end: each is waited for only as long as it has something new.
        waiting = [] if self._is_at_end else [self._peer.fileno()]
        return [*waiting, self._pidfd] if self._seen_ended is None else waiting

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        with self._lock:
            if self.returncode is None:
                self._read()
            if self.returncode is None and self._has_ended():
                self._conclude()
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        self._wait(timeout, is_done_enough=False)
        assert self.returncode is not None
        return self.returncode

    def wait_done(self, timeout: float | None = None) -> int:
        """Wait for a command's result, which may come before its end.

        Raises:
            subprocess.TimeoutExpired: there is none yet.
        """
        self._wait(timeout, is_done_enough=True)
        code = self.returncode if self.done_code is None else self.done_code
        assert code is not None
        return code

    def send_signal(self, signum: int) -> None:
        """Signal the process itself, never another one that got its pid."""
        with self._lock:
            if self.poll() is not None:
                return
            try:
                signal.pidfd_send_signal(self._pidfd, signum)
            except ProcessLookupError:
                return

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Leave the process: a kernel ends at once, a command that is done goes on."""
        with self._lock:
            self._inbox.close()
            self._peer.close()
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1

    def _wait(self, timeout: float | None, *, is_done_enough: bool) -> None:
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None and not (is_done_enough and self.done_code is not None):
            left = GRACE if deadline is None else deadline - time.monotonic()
            if left <= 0:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            is_over = self._seen_ended is not None
            _wait_readable(self.descriptors(), min(left, 0.02 if is_over else GRACE))

    def _read(self) -> None:
        while not self._is_at_end:
            try:
                received = self._inbox.receive()
            except BlockingIOError:
                return
            except (OSError, BadMessageError):
                received = None
            if received is None:
                self._is_at_end = True
                return
            message, descriptors = received
            for descriptor in descriptors:
                os.close(descriptor)
            match message:
                case Done(code=code):
                    self.done_code = code
                case Exited(code=code):
                    self._finish(code)
                    return

    def _has_ended(self) -> bool:
        if self._seen_ended is None and _wait_readable([self._pidfd], 0):
            self._seen_ended = time.monotonic()
        return self._seen_ended is not None

    def _conclude(self) -> None:
        """Say how it ended without the zygote's word, if that will not come any more."""
        assert self._seen_ended is not None
        is_late = time.monotonic() - self._seen_ended > GRACE
        if not self._is_at_end and not is_late:
            return
        try:
            code = exit_of(self._pidfd)
        except OSError:  # an older Linux: nobody will ever know
            is_late, code = True, None
        if code is not None:
            self._finish(code)
        elif is_late:
            self.is_exit_known = False
            self._finish(UNKNOWN)

    def _finish(self, code: int) -> None:
        self.returncode = code
        self._peer.close()  # now the zygote reaps it, and its pid may be another's


def exit_of(pidfd: int) -> int | None:
    """Return how a process ended, negative for a signal; None while nobody has reaped it.

    Raises:
        OSError: this Linux cannot say.
    """
    answer = fcntl.ioctl(pidfd, _GET_INFO, _INFO.pack(_EXIT, *(0,) * 13))
    fields = _INFO.unpack(answer)
    return os.waitstatus_to_exitcode(fields[-1]) if fields[0] & _EXIT else None


def _wait_readable(descriptors: Sequence[int], seconds: float) -> bool:
    waiting = select.poll()  # select takes no descriptor from 1,024 on
    for descriptor in descriptors:
        if descriptor >= 0:  # else another thread has seen the end, and closed it
            waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(seconds * 1000))
