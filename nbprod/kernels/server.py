"""The zygote at work: what it answers, what it forks, and when it leaves.

One thread and one event at a time. A fork comes back from `serve` with what it is to do, so that
it begins on an empty stack.
"""

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from nbprod.kernels import places
from nbprod.kernels.children import Order, run_command
from nbprod.kernels.fidelity import (
    own_configuration,
    split_arguments,
    why_not_forked,
    why_not_spare,
)
from nbprod.kernels.kernel_child import run_kernel
from nbprod.kernels.log import close_log
from nbprod.kernels.offspring import Offspring
from nbprod.kernels.preload import KERNEL, Preloaded
from nbprod.kernels.protocol import KERNEL as KERNEL_TARGET
from nbprod.kernels.protocol import (
    STDIO,
    BadMessageError,
    Describe,
    Exited,
    Fork,
    Inbox,
    Message,
    Refused,
    State,
    Stop,
    Stopping,
    send,
)
from nbprod.kernels.safety import fork, threads, why_unsafe
from nbprod.kernels.settings import KernelSettings
from nbprod.kernels.spare_child import run_spare, run_spare_command
from nbprod.kernels.spares import USUAL_EXTRA, Spare, Spares
from nbprod.kernels.staleness import Snapshot
from nbprod.kernels.usage import memory
from nbprod.kernels.veil import Veil

logger = logging.getLogger("nbprod.kernels.zygote")

#: Seconds between two looks at what nobody tells: staleness, idleness, clients that say nothing.
ROUND = 5.0
#: Seconds that a client has for its request.
PATIENCE = 10.0
#: Connections at a time: each may be a running kernel.
MOST = 512
#: What `_lend` returns in place of a reason.
LENT = "lent"

Child = Callable[[], NoReturn]


class Zygote:
    """Serves clients, one event at a time, until it has nothing more to do."""

    def __init__(
        self,
        *,
        role: str,
        key: str,
        settings: KernelSettings,
        preloaded: Preloaded,
        snapshot: Snapshot,
        lock: int,
    ) -> None:
        self.role = role
        self.key = key
        self.settings = settings
        self.preloaded = preloaded
        self._lock = lock
        self._started = time.time()
        self._next_look = time.monotonic() + ROUND
        self._used = time.monotonic()
        self._snapshot = snapshot
        self._unsafe = why_unsafe(preloaded.started_by, preloaded.gpu)
        if role == "command":
            # Each fork would fail at the same import: the command that runs cold says it better.
            for name, why in preloaded.failures.items():
                self._unsafe = f"{name} could not be imported ({why})"
        self._names = preloaded.names()
        veil = Veil(preloaded)
        self._kernel_names = sorted(set(self._names) - veil.packages())
        self._refused: dict[str, int] = {}
        self._counts = {"forked": 0, "lent": 0}
        self._waiting: dict[socket.socket, tuple[Inbox, float]] = {}
        self._offspring = Offspring()
        self._folder = places.runtime_folder()
        self._spares = Spares(
            limit=settings.spares,
            memory_limit_bytes=settings.spare_memory_bytes,
            extra=USUAL_EXTRA if role == KERNEL else (),
        )
        self._is_leaving = self._is_terminated = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._listener = places.listen(key)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._wake_read, selectors.EVENT_READ, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminated)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)

    def serve(self) -> Child | None:
        """Serve until the end; return what to do in a fork, None in the zygote itself."""
        while not (self._is_leaving and not self._offspring):
            for key, _ in self._selector.select(self._pause()):
                child: Child | None = key.data(key.fileobj)
                if child is not None:
                    return child
            self._look_around()
            child = self._make_spare()
            if child is not None:
                return child
        logger.info("gone")
        return None

    def _pause(self) -> float:
        now = time.monotonic()
        pauses = [ROUND]
        if (due := self._offspring.next_kill()) is not None:
            pauses.append(max(due - now, 0))
        if not self._is_leaving:
            pauses.append(max(self._idle_left(now), 0))
            if not self._unsafe and (pause := self._spares.pause(now)) is not None:
                pauses.append(pause)
        return min(pauses)

    def _accept(self, _listener: Any) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError as error:
            logger.warning("a client could not be served: %s", error)
            time.sleep(0.05)  # out of descriptors: it stays in the queue, and would keep us busy
            return
        peer.setblocking(False)
        if not places.is_own(peer) or len(self._waiting) + len(self._offspring) >= MOST:
            peer.close()
            return
        self._waiting[peer] = (Inbox(peer), time.monotonic() + PATIENCE)
        self._selector.register(peer, selectors.EVENT_READ, self._on_message)

    def _on_message(self, peer: socket.socket) -> Child | None:
        inbox, _ = self._waiting[peer]
        try:
            received = inbox.receive()
        except BlockingIOError:
            return None
        except (BadMessageError, OSError) as error:
            logger.warning("a client is not understood: %s", error)
            received = None
        if received is None:
            self._drop(peer)
            return None
        message, descriptors = received
        match message:
            case Fork():
                return self._fork(peer, message, descriptors)
            case Describe():
                self._answer(peer, State(facts=self.facts()))
            case Stop():
                self._answer(peer, Stopping())
                self._retire("it was told to")
            case _:
                self._drop(peer)
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def _fork(self, peer: socket.socket, request: Fork, descriptors: list[int]) -> Child | None:
        self._used = time.monotonic()
        refusal, reason = self._why_not(request, descriptors), ""
        if refusal is None:
            reason = self._lend(peer, request, descriptors)
            if reason is LENT:
                return None
            try:
                pid = fork()
            except OSError as error:
                refusal = Refused(reason=f"its zygote cannot fork: {error.strerror}")
        if refusal is not None:
            for descriptor in descriptors:
                os.close(descriptor)
            self._refused[refusal.reason] = self._refused.get(refusal.reason, 0) + 1
            self._answer(peer, refusal)
            if refusal.is_stale:
                self._retire(refusal.reason)
            return None
        del self._waiting[peer]
        if pid == 0:
            return self._child(Order(request, peer, descriptors, self.preloaded, reason))
        for descriptor in descriptors:
            os.close(descriptor)
        self._counts["forked"] += 1
        self._selector.modify(peer, selectors.EVENT_READ, self._on_client_gone)
        self._offspring.add(pid, peer, ends_with_owner=request.target == KERNEL_TARGET)
        return None

    def _lend(self, peer: socket.socket, request: Fork, descriptors: list[int]) -> str:
        """Give a spare to the client; return why not, if not."""
        if not request.may_be_spare or not self._spares.limit:
            return ""
        extra: tuple[str, ...] = ()
        if self.role == KERNEL:
            if reason := why_not_spare(request):
                return reason
            _, extra = split_arguments(request.argv)
        while spare := self._spares.take(extra, time.monotonic()):
            self._selector.unregister(spare.control)
            try:
                spare.control.settimeout(PATIENCE)
                send(spare.control, request, [peer.fileno(), *descriptors])
            except OSError:
                continue  # it has ended, a moment ago
            finally:
                spare.control.close()
            for descriptor in descriptors:
                os.close(descriptor)
            del self._waiting[peer]
            self._counts["lent"] += 1
            self._selector.modify(peer, selectors.EVENT_READ, self._on_client_gone)
            self._offspring.lend(spare.pid, peer)
            return LENT
        if extra != self._spares.extra:
            return "it has other command line arguments than spares"
        return self._spares.problem or "none was ready"

    def _make_spare(self) -> Child | None:
        """Fork a spare if one is due."""
        if self._is_leaving or self._unsafe or not self._spares.is_due(time.monotonic()):
            return None
        if self._snapshot.why_stale():
            return None
        if self.role == KERNEL and own_configuration(os.environ):
            self._spares.put_off(time.monotonic() + ROUND)
            return None
        mine, its = socket.socketpair()
        try:
            pid = fork()
        except OSError as error:
            logger.warning("no spare could be made: %s", error)
            self._spares.put_off(time.monotonic() + ROUND)
            mine.close()
            its.close()
            return None
        if pid == 0:
            mine.close()
            self.close(its)
            extra, folder, preloaded = self._spares.extra, self._folder, self.preloaded
            if self.role != KERNEL:
                return lambda: run_spare_command(its, preloaded=preloaded)
            return lambda: run_spare(its, extra=extra, folder=folder, preloaded=preloaded)
        its.close()
        spare = self._spares.add(pid, mine)
        self._offspring.add(pid, None, ends_with_owner=self.role == KERNEL)
        self._selector.register(mine, selectors.EVENT_READ, partial(self._on_spare, spare))
        return None

    def _on_spare(self, spare: Spare, _control: socket.socket) -> None:
        if spare not in self._spares.spares:
            return  # what was seen along with this has lent or ended it
        if not self._spares.heard(spare):
            self._spares.spares.remove(spare)
            self._end_spares([spare])

    def _end_spares(self, spares: Sequence[Spare]) -> None:
        for spare in spares:
            self._selector.unregister(spare.control)
            spare.control.close()  # its end is the spare's, unless it hangs while it starts
            if spare.ready is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(spare.pid, signal.SIGKILL)

    def _why_not(self, request: Fork, descriptors: Sequence[int]) -> Refused | None:
        """Return why there is to be no fork, if so."""
        if self._is_leaving:
            return Refused(reason="its zygote is leaving", is_stale=True)
        if len(descriptors) != STDIO:
            return Refused(reason="the request came without stdin, stdout and stderr")
        if stale := self._snapshot.why_stale():
            return Refused(reason=stale, is_stale=True)
        self._unsafe = self._unsafe or why_unsafe(self.preloaded.started_by, self.preloaded.gpu)
        if self._unsafe:
            return Refused(reason=self._unsafe)
        if self.role == KERNEL:
            # In a kernel what is imported ahead is hidden, and gives way.
            is_kernel = request.target == KERNEL_TARGET
            names = self._kernel_names if is_kernel else self._names
            if reason := why_not_forked(request, names):
                return Refused(reason=reason)
        return None

    def _child(self, order: Order) -> Child:
        """Let go, in a fork, of everything that is the zygote's."""
        self.close(order.peer)
        run = run_kernel if order.request.target == KERNEL_TARGET else run_command
        return lambda: run(order)

    def close(self, kept: socket.socket | None = None) -> None:
        """Close what this process has open, but for one connection. In a fork: of the zygote's."""
        signal.set_wakeup_fd(-1)
        close_log()
        self._selector.close()
        self._listener.close()
        for descriptor in (self._wake_read, self._wake_write, self._lock):
            os.close(descriptor)
        controls = [spare.control for spare in self._spares.spares]
        for peer in [*self._waiting, *self._offspring.peers(), *controls]:
            if peer is not kept:
                peer.close()

    def _on_signal(self, _pipe: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        for pid, code, peer in self._offspring.ended():
            if peer is None:
                self._offspring.reap(pid)
            else:
                self._used = time.monotonic()
                self._tell(peer, Exited(code=code))

    def _on_client_gone(self, peer: socket.socket) -> None:
        """Reap what was forked for a client that has left, now or when it ends."""
        try:
            if peer.recv(4096):
                return  # it has nothing to say; whatever it was, it is still there
        except BlockingIOError:
            return
        except OSError as error:
            logger.info("a client was cut off: %s", error)
        self._selector.unregister(peer)
        self._offspring.client_gone(peer)
        peer.close()

    def _look_around(self) -> None:
        now = time.monotonic()
        for peer, (_, deadline) in list(self._waiting.items()):
            if now > deadline:
                self._drop(peer)
        self._offspring.end_orphans(now)
        self._end_spares(self._spares.surplus(now))
        if self._is_leaving:
            return
        if self._is_terminated:
            self._retire("it was terminated")
            return
        if self._idle_left(now) <= 0:
            self._retire("nobody has needed it")
        elif now >= self._next_look:
            self._next_look = now + ROUND
            if stale := self._snapshot.why_stale():
                self._retire(stale)

    def _idle_left(self, now: float) -> float:
        """Return the seconds after which it leaves unless somebody needs it."""
        if len(self._offspring) > len(self._spares.spares):
            return ROUND
        return self._used + self.settings.idle.total_seconds() - now

    def _on_terminated(self, *_: object) -> None:
        self._is_terminated = True

    def _retire(self, reason: str) -> None:
        """Take no more requests; stay only to say how running processes end."""
        if self._is_leaving:
            return
        logger.info("leaving: %s", reason)
        self._is_leaving = True
        self._selector.unregister(self._listener)
        self._listener.close()
        with contextlib.suppress(OSError):
            places.socket_path(self.key).unlink(missing_ok=True)
        self._end_spares(self._spares.clear())
        # Now another zygote of this key may start.
        os.close(self._lock)

    def facts(self) -> dict[str, Any]:
        """Return what `nbprod kernels` shows."""
        spares = self._spares.facts()
        return {
            "role": self.role,
            "key": self.key,
            "pid": os.getpid(),
            "python": sys.executable,
            "started": self._started,
            "idle_seconds": round(time.monotonic() - self._used, 1),
            "idle_limit_seconds": self.settings.idle.total_seconds(),
            "preload": self.preloaded.seconds,
            "failures": self.preloaded.failures,
            "threads": len(threads()),
            "is_safe": not self._unsafe,
            "reason": self._unsafe,
            "kernels": sorted(set(self._offspring.pids()) - set(spares["pids"])),
            "forked": self._counts["forked"],
            "lent": self._counts["lent"],
            "refused": self._refused,
            "spares": spares,
            "memory": memory(os.getpid()),
        }

    def _answer(self, peer: socket.socket, message: Message) -> None:
        self._tell(peer, message)
        self._drop(peer)

    def _tell(self, peer: socket.socket, message: Message) -> None:
        # A message of ours fits into the buffer of any socket: one that does not take it is gone.
        with contextlib.suppress(OSError):
            send(peer, message)

    def _drop(self, peer: socket.socket) -> None:
        inbox, _ = self._waiting.pop(peer)
        inbox.close()
        self._selector.unregister(peer)
        peer.close()
