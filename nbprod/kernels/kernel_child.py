"""Runs an IPython kernel in a fork of the zygote, as `python -m ipykernel_launcher` would."""

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

from nbprod.kernels.children import (
    LAUNCHER,
    ORPHANED,
    Order,
    become,
    fresh_main,
    hand_streams,
    leave,
    outcome,
    watch_owner,
)
from nbprod.kernels.preload import Preloaded
from nbprod.kernels.veil import Veil

#: Seconds that a thread may take to end which only has to send a few bytes.
LONGEST_END = 10.0
#: Modules that each start a process which looks after what others leave behind.
TRACKERS = ("multiprocessing.resource_tracker", "joblib.externals.loky.backend.resource_tracker")


def run_kernel(order: Order) -> NoReturn:
    """Become a kernel for whoever asked for it, until it is shut down or its owner is gone."""
    become(order, launcher())
    fresh_main(launcher())

    drop = dropper()
    hide(order.preloaded)

    def start() -> None:
        app = new_app()
        initialize(app, sys.argv[1:])
        adopt(app, order.peer, order.preloaded)
        serve(app)

    leave(outcome(start), drop=drop)


def launcher() -> str:
    """Return what a cold kernel has as `sys.argv[0]`."""
    spec = find_spec(LAUNCHER)
    return f"{LAUNCHER}.py" if spec is None or spec.origin is None else spec.origin


def new_app() -> Any:
    """Return the application of this process, not initialised."""
    from ipykernel.kernelapp import IPKernelApp

    # 1: it shall not look after its parent, which is the zygote and not its owner.
    app: Any = IPKernelApp.instance(parent_handle=1)
    app.poller = Poller()
    return app


def initialize(app: Any, argv: Sequence[str]) -> None:
    """Initialise it with these arguments, and leave the log handlers of imported modules alone.

    To configure its own log it has logging close all handlers there are: in a cold kernel, none.
    """
    known = logging._handlerList[:]  # type: ignore[attr-defined]
    logging._handlerList.clear()  # type: ignore[attr-defined]
    app.initialize(list(argv))
    logging._handlerList[:0] = known  # type: ignore[attr-defined]
    if "pydevd" in sys.modules:
        # It makes one to try something on, when a cold kernel imports it, about here; and names of
        # threads are counted, and shown when they fail.
        threading.Thread()


def begin(app: Any) -> bool:
    """Have the kernel take requests once its event loop runs; False where it has another loop."""
    if app.trio_loop:
        return False
    app.kernel.start()
    return True


def serve(app: Any, *, is_begun: bool = False) -> None:
    """Serve clients until the kernel is shut down, then end the threads that answer them.

    `is_begun` says that `begin` was called; else all that `app.start` does is done here.

    Those must end before the interpreter does, or it stalls: ipykernel tells the main thread to
    leave while the one that got the request still waits for its last words to be sent, and the
    first thing that an exiting interpreter does is to end the thread which sends them. The one
    that waits then does so for 10 s, or for ever; and of cold kernels, one in 30 did.
    """
    _leave_helpers(app.kernel)
    try:
        if is_begun:
            _resume(app)
        else:
            app.start()
    finally:
        for thread in (app.control_thread, app.shell_channel_thread):
            if thread is not None and thread.is_alive():
                thread.stop()
                thread.join(LONGEST_END)


def _resume(app: Any) -> None:
    """Do what is left of `app.start` after `begin`."""
    from tornado.ioloop import IOLoop

    app.poller.start()
    app.io_loop = IOLoop.current()
    with contextlib.suppress(KeyboardInterrupt):
        app.io_loop.start()


def _leave_helpers(kernel: Any) -> None:
    """Have the kernel not wait, when it ends, for what ends with it or has ended.

    ipykernel first ends its child processes. multiprocessing's resource tracker, there once
    something was spawned, ignores that, and its fork server ends but stays a zombie: 14 s.
    """
    children: Callable[[], list[Any]] = kernel._process_children

    def without_helpers() -> list[Any]:
        trackers = [getattr(sys.modules.get(name), "_resource_tracker", None) for name in TRACKERS]
        pids = {getattr(tracker, "_pid", None) for tracker in trackers}
        return [child for child in children() if child.pid not in pids and not _is_zombie(child)]

    kernel._process_children = without_helpers


def _is_zombie(process: Any) -> bool:
    import psutil

    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def adopt(app: Any, peer: socket.socket, preloaded: Preloaded) -> None:
    """Give a kernel its owner, and what modules wanted of the shell when they were imported."""
    app.poller.peer = peer
    hand_streams(preloaded)
    for event, callback in preloaded.callbacks:
        app.shell.events.register(event, callback)


class Poller(threading.Thread):
    """Ends this process with its owner, in place of ipykernel's look at its parent's pid."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peer: socket.socket | None = None  #: the owner, known before it starts

    def run(self) -> None:
        """Wait for the owner's end; never returns."""
        assert self.peer is not None
        watch_owner(self.peer)
        os._exit(ORPHANED)


def hide(preloaded: Preloaded) -> Veil:
    """Hide from the notebook what it has not imported."""
    veil = Veil(preloaded)
    veil.draw()
    veil.note_variables()
    return veil


def dropper() -> Callable[[], None]:
    """Return what lets go of the user's objects, so that they are finalised: files, for one.

    To be called while everything is to be seen that was imported ahead.
    """
    known = frozenset(sys.modules)

    def drop() -> None:
        from IPython.core.interactiveshell import InteractiveShell

        if InteractiveShell.initialized():
            shell: Any = InteractiveShell.instance()
            spaces: list[Mapping[str, Any]] = [shell.user_ns, vars(shell.user_module)]
            if shell.displayhook.do_full_cache:  # else it refuses, for there is nothing to flush
                shell.displayhook.flush()
        else:
            spaces = []
        for name in set(sys.modules) - known:
            module = sys.modules.pop(name)
            spaces.append(getattr(module, "__dict__", {}))
        for space in spaces:
            if isinstance(space, dict):
                space.clear()

    return drop
