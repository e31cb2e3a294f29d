"""One kernel: started, waited for, listened to, and ended. Synchronous: one thread, one poll.

jupyter_client starts the process and speaks its protocol. What is done here and not there is the
waiting: on the messages and on the death of the process at once, and never for a fixed time.
"""

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import zmq

from nbprod.runners.processes import death_pact

if TYPE_CHECKING:
    from jupyter_client.blocking.client import BlockingKernelClient
    from jupyter_client.manager import KernelManager

logger = logging.getLogger(__name__)

Channel = Literal["shell", "iopub"]
#: Milliseconds between two attempts to connect. A cold kernel opens its ports half a second after
#: its process started; zmq's own 100 ms add 50 ms to every start.
RECONNECT_MS = 10
#: Seconds after which a question that was not answered is asked again: while the kernel starts,
#: and when its answer came but its broadcast did not, because we were not yet subscribed to it.
ASK_AGAIN, ASK_AGAIN_SOON = 1.0, 0.02
#: Seconds that its word may take that we are subscribed: ipykernel says so since version 7.
WELCOME = 0.02
#: Seconds between two looks at a kernel whose death nobody tells us.
LOOK_EVERY = 0.2
#: Messages of a channel that are handed on in one go: who listens has a clock to look at, and a
#: kernel may send faster than they are taken in.
AT_ONCE = 500
#: Seconds that what a dead kernel sent may take to come out of the socket.
LAST_WORDS = 0.1
#: Seconds between SIGTERM and SIGKILL.
TERMINATION = 1.0


class KernelGoneError(Exception):
    """The kernel's process ended, and everything it sent was read. Internal."""


class KernelSilentError(RuntimeError):
    """The kernel's process lives and does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelEnd:
    """How a kernel was ended: the fields of KERNEL_ENDED."""

    seconds: float
    how: str  #: "graceful", "terminated", "killed", or "died": it was gone already
    code: int | None  #: exit status, negative for a signal; None where it cannot be known


class Kernel:
    """A kernel process and the connection to it."""

    def __init__(self, name: str) -> None:
        self.name = name or "python3"
        self._manager: KernelManager | None = None
        self._client: BlockingKernelClient | None = None
        self._process: Any = None
        self._death: int | None = None  #: a pidfd, readable from the process's end on
        self._poller = zmq.Poller()
        self.is_busy = False  #: a cell was sent and has not ended

    @property
    def client(self) -> "BlockingKernelClient":
        """Return the started kernel's client."""
        assert self._client is not None
        return self._client

    @property
    def pid(self) -> int | None:
        """Return the pid where the process is on this machine."""
        return getattr(self._process, "pid", None)

    def exit_code(self) -> int | None:
        """Return the exit status of a dead kernel, negative for a signal; None if unknown."""
        if self._process is None:
            return None
        try:
            # A zygote has yet to tell of the end that the pidfd has told of.
            code: int = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return None
        return code

    def launch(self) -> None:
        """Start the process and connect to it.

        Raises:
            NoSuchKernel: no kernel of that name is installed.
            OSError: its program cannot be executed.
        """
        from jupyter_client.manager import KernelManager

        from nbprod.kernels.provisioner import tie_to_owner, warm_spec

        manager = self._manager = KernelManager(kernel_name=self.name)
        # Whatever kernelspec the notebook names: jupyter_client's own way to say it is a file
        # that would have to be installed for each.
        manager._kernel_spec = warm_spec(manager.kernel_spec, is_alone=True)
        context = manager.context
        context.setsockopt(zmq.RCVHWM, 0)  # the other end of PREPARE_KERNEL in kernel_run
        context.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        # History in memory; the kernels that jupyter_client calls IPython's own take the option.
        options = ["--HistoryManager.hist_file=:memory:"] if manager.ipykernel else []
        # The parts of start_kernel, which then sleeps for 10 ms so that its tests see it start.
        command, rest = manager.pre_start_kernel(
            extra_arguments=options, preexec_fn=tie_to_owner(death_pact())
        )
        manager._launch_kernel(command, **rest)
        manager.post_start_kernel(**rest)
        self._process = getattr(manager.provisioner, "process", None)
        client = self._client = manager.client(context=context)
        client.start_channels(stdin=False, hb=False)
        for channel in (client.shell_channel, client.iopub_channel):
            self._poller.register(channel.socket, zmq.POLLIN)
        if self.pid is not None and sys.platform == "linux":
            with contextlib.suppress(OSError):  # it is gone already: asking it will show that
                self._death = os.pidfd_open(self.pid)
                self._poller.register(self._death, zmq.POLLIN)

    @property
    def is_warm(self) -> bool:
        """Say whether it was forked."""
        provisioner = None if self._manager is None else self._manager.provisioner
        return bool(getattr(provisioner, "is_warm", False))

    @property
    def language(self) -> str:
        """Return what its kernelspec says that it speaks, in lower case; "" where nothing."""
        spec = None if self._manager is None else self._manager.kernel_spec
        return "" if spec is None else spec.language.lower()

    def prepare(self, code: str) -> None:
        """Have it run `code`; nobody waits for the answer: cells queue up behind it."""
        self.client.execute(code, silent=True, store_history=False)

    def wait_until_heard(self, timeout: float, *, then: str = "") -> dict[str, Any]:
        """Ask for its description until the answer comes and the broadcast that goes with it.

        `then` is code for it to run meanwhile, as `prepare` has it.

        With the matching idle state everything that it sent before has been read: nothing of its
        start is taken for an output of a cell.

        Raises:
            KernelGoneError: it died before it answered.
            KernelSilentError: it did not answer within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        if getattr(self._process, "is_spare", False):
            # It answers at once, and would have broadcast before we are subscribed.
            self.client.iopub_channel.socket.poll(int(WELCOME * 1000))
        while (now := time.monotonic()) < deadline:
            request = self.client.kernel_info()
            if then:
                self.prepare(then)
                then = ""
            answer: dict[str, Any] | None = None
            is_idle = False
            until = min(deadline, now + ASK_AGAIN)
            while (left := until - time.monotonic()) > 0:
                for channel, message in self.messages(left):
                    if message["msg_type"] == "iopub_welcome" and answer is not None:
                        until = 0.0  # subscribed too late: ask again
                    if message["parent_header"].get("msg_id") != request:
                        continue
                    if channel == "shell":
                        answer = message["content"]
                        until = min(deadline, time.monotonic() + ASK_AGAIN_SOON)
                    elif message["content"].get("execution_state") == "idle":
                        is_idle = True
                if answer is not None and is_idle:
                    return answer
        raise KernelSilentError(f"Kernel didn't respond in {timeout:g} seconds")

    def messages(self, timeout: float | None) -> Iterator[tuple[Channel, dict[str, Any]]]:
        """Yield what has come in on both channels; wait up to `timeout` seconds where nothing has.

        Not more than AT_ONCE of each: the next call has the others.

        Raises:
            KernelGoneError: the process is gone and has been read out.
        """
        if self._death is None:
            timeout = LOOK_EVERY if timeout is None else min(timeout, LOOK_EVERY)
        ready = self._wait(timeout)
        is_empty = True
        # First what cells show: whoever has the answer expects to have seen it.
        for message in self._read("iopub"):
            is_empty = False
            yield "iopub", message
        for message in self._read("shell"):
            is_empty = False
            yield "shell", message
        if not is_empty:
            return
        if self._death in ready or (self._death is None and not ready and not self._is_alive()):
            if self._wait_for_messages(LAST_WORDS):
                return  # the next call reads them
            raise KernelGoneError

    def _wait(self, timeout: float | None) -> dict[Any, int]:
        milliseconds = None if timeout is None else max(0, int(timeout * 1000) + 1)
        return dict(self._poller.poll(milliseconds))

    def _wait_for_messages(self, timeout: float) -> bool:
        poller = zmq.Poller()
        poller.register(self.client.iopub_channel.socket, zmq.POLLIN)
        poller.register(self.client.shell_channel.socket, zmq.POLLIN)
        return bool(poller.poll(int(timeout * 1000)))

    def _read(self, name: Channel) -> Iterator[dict[str, Any]]:
        client = self.client
        channel: Any = client.iopub_channel if name == "iopub" else client.shell_channel
        for _ in range(AT_ONCE):
            try:
                parts = channel.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                _, parts = client.session.feed_identities(parts)
                message = client.session.deserialize(parts)
            except (ValueError, TypeError) as error:
                logger.warning("a message on %s could not be read: %s", name, error)
                continue
            yield message

    def _is_alive(self) -> bool:
        return self._manager is not None and bool(self._manager.is_alive())

    def end(self, *, patience: float) -> KernelEnd:
        """End the kernel: ask it, so that its `atexit` handlers run, and insist after `patience`.

        Bounded: the patience, then TERMINATION, then what SIGKILL takes. Nothing is raised.
        """
        began = time.monotonic()
        how = "died"
        if self._client is not None:
            self._client.stop_channels()
        manager, self._manager = self._manager, None
        if manager is not None:
            try:
                how = self._end(manager, patience)
            except Exception:
                logger.exception("the kernel could not be ended in good order")
                how = "killed"
                with contextlib.suppress(Exception):
                    manager.shutdown_kernel(now=True)
        code = self.exit_code()
        if self._death is not None:
            os.close(self._death)
            self._death = None
        return KernelEnd(seconds=time.monotonic() - began, how=how, code=code)

    def _end(self, manager: "KernelManager", patience: float) -> str:
        how = "died"
        if manager.has_kernel and not self._is_gone(manager, 0):
            if self.is_busy:
                manager.interrupt_kernel()
            manager.request_shutdown()
            how = "graceful"
            if not self._is_gone(manager, patience):
                manager.signal_kernel(signal.SIGTERM)
                how = "terminated"
                if not self._is_gone(manager, TERMINATION):
                    how = "killed"
        if how == "killed":
            manager.shutdown_kernel(now=True)
        else:
            if manager.has_kernel:
                manager.finish_shutdown()
            manager.cleanup_resources()
        return how

    def _is_gone(self, manager: "KernelManager", patience: float) -> bool:
        if self._death is not None:
            poll = select.poll()
            poll.register(self._death, select.POLLIN)
            return bool(poll.poll(int(patience * 1000)))
        deadline = time.monotonic() + patience
        while manager.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        return True
