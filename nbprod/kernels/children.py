"""Turns a fork of the zygote into the process that was asked for, and ends it as one.

Everything that a process gets from whoever starts it comes from the request: session, stdio,
variables, folder, limits, arguments. What a fork would share with its siblings by accident
(random streams, secrets, locks) is made anew.
"""

import atexit
import contextlib
import gc
import importlib
import io
import itertools
import logging
import os
import random
import resource
import select
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import types
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from nbprod.kernels import mark
from nbprod.kernels.preload import Preloaded
from nbprod.kernels.protocol import KERNEL, Done, Fork, Forked, Refused, send

#: The program that a cold kernel is: `python -m` this.
LAUNCHER = "ipykernel_launcher"
#: Seconds that a client may take to read a message of a few hundred bytes.
PATIENCE = 10.0
#: Exit statuses: of a process whose owner is gone (as ipykernel's parent poller has it), and of
#: one that could not become what it was to be.
ORPHANED, UNBORN = 1, 70

_STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


@dataclass(frozen=True, slots=True)
class Order:
    """A request, as the child that carries it out has it."""

    request: Fork
    peer: socket.socket  #: the connection to whoever asked: the owner
    descriptors: list[int]  #: stdin, stdout, stderr
    preloaded: Preloaded
    not_spare_because: str = ""


class _Owner:
    """The connection of this process, if it is a fork that somebody asked for."""

    peer: socket.socket | None = None
    is_released = False
    is_spare = False  #: this process was there before it was asked for


def owner() -> int | None:
    """Return the descriptor of the owner's connection; None in a process that was not forked.

    It becomes readable, at its end, when the owner is gone. Not to be closed, nor made blocking.
    """
    return None if _Owner.peer is None else _Owner.peer.fileno()


def was_spare() -> bool:
    """Say whether this process was there before anybody asked for it."""
    return _Owner.is_spare


def done(code: int) -> None:
    """Give the client its exit code now; this process goes on without it, to clean up.

    Once: later calls, and calls in a process that was not forked, do nothing.
    """
    if _Owner.peer is None or _Owner.is_released:
        return
    _Owner.is_released = True
    with contextlib.suppress(OSError):
        send(_Owner.peer, Done(code=code))


def become(order: Order, argv0: str, *, is_spare: bool = False) -> None:
    """Make this process what a cold one would be at its start, and tell the client.

    A spare has begun before it was asked for. Ends the process, with the reason sent, when it
    cannot be what it should.
    """
    request = order.request
    order.peer.settimeout(PATIENCE)
    try:
        if not is_spare:
            os.setsid()
        _signals_by_default()
        _count_threads_anew()
        _take_stdio(order.descriptors)
        inherit(request)
        os.chdir(request.cwd)
    except (OSError, ValueError, AttributeError) as error:
        refuse(order.peer, f"the process could not be set up as asked ({error})")
    settle_in(request, order.preloaded, argv0)
    take_owner(order.peer)
    because = order.not_spare_because
    _Owner.is_spare = is_spare
    forked = Forked(pid=os.getpid(), is_spare=is_spare, not_spare_because=because)
    introduce(order.peer, forked)


def begin_unasked() -> None:
    """Make this process one that nobody has asked for yet: it reads nothing, and writes the log."""
    os.setsid()
    _signals_by_default()
    _count_threads_anew()
    _take_stdio([os.open(os.devnull, os.O_RDONLY), os.dup(1), os.dup(2)])


def take_owner(peer: socket.socket) -> None:
    """Make whoever is at the other end the owner of this process."""
    _Owner.peer = peer


def introduce(peer: socket.socket, forked: Forked) -> None:
    """Tell the client who we are, with a pidfd; without a client, leave."""
    pidfd = os.pidfd_open(os.getpid())
    try:
        send(peer, forked, [pidfd])
    except OSError:
        os._exit(ORPHANED)
    finally:
        os.close(pidfd)


def refuse(peer: socket.socket, reason: str) -> NoReturn:
    """Tell the client why there is no process, and leave."""
    with contextlib.suppress(OSError):
        send(peer, Refused(reason=reason))
    os._exit(UNBORN)


def inherit(request: Fork) -> None:
    """Take what a process has from its parent, of the one that asked.

    Raises:
        OSError, ValueError: this process may not.
    """
    os.umask(request.umask)
    limits: Mapping[str, Any] = request.limits
    for name, (soft, hard) in limits.items():
        number = getattr(resource, name)
        if resource.getrlimit(number) != (soft, hard):
            resource.setrlimit(number, (soft, hard))
    if os.getpriority(os.PRIO_PROCESS, 0) != request.nice:
        os.setpriority(os.PRIO_PROCESS, 0, request.nice)
    if request.affinity and os.sched_getaffinity(0) != set(request.affinity):
        os.sched_setaffinity(0, request.affinity)


def settle_in(request: Fork, preloaded: Preloaded, argv0: str) -> None:
    """Take on what Python itself remembers of its start: variables, arguments, streams, seeds."""
    # In place: libraries hold on to this very object.
    os.environ.clear()
    os.environ.update(request.environment)
    mark.write(request.environment)
    time.tzset()
    tempfile.tempdir = None
    _set_variables(preloaded)
    sys.argv = [argv0, *request.argv]
    program = ["-m", LAUNCHER] if request.target == KERNEL else [argv0]
    sys.orig_argv[:] = [sys.executable, *program, *request.argv]
    process: Any = sys.modules.get("multiprocessing.process")
    if process is not None:
        # Where "" of sys.path is, for spawned children.
        process.ORIGINAL_DIR = os.getcwd()  # noqa: PTH109 - text, as multiprocessing has it
    _start_clock()
    reseed(preloaded)


def fresh_main(file: str) -> None:
    """Replace the zygote's `__main__` with one that knows nothing."""
    main = types.ModuleType("__main__")
    main.__file__ = file
    vars(main)["__builtins__"] = sys.modules["builtins"]
    sys.modules["__main__"] = main


def reseed(preloaded: Preloaded) -> None:
    """Make random streams and secrets differ from those of every other fork."""
    random.seed()
    for generator in preloaded.generators:
        generator.seed()
    # Not from sys.modules, where they may be hidden by now.
    numpy_random = preloaded.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    torch = preloaded.modules.get("torch")
    if torch is not None and hasattr(torch, "default_generator"):
        # Not torch.seed(): that would queue a seed for GPUs, which a cold process does not.
        torch.default_generator.seed()
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        process.current_process().authkey = os.urandom(32)


def forget_absent_folders() -> None:
    """Let modules be found in folders that are not there yet; to be called ahead of a request.

    Those that are there are read again when they have changed. Forgetting all of them, as
    `importlib.invalidate_caches` has it, would take each fork 20 ms: their pages are shared.
    """
    for path, finder in list(sys.path_importer_cache.items()):
        if finder is None:
            del sys.path_importer_cache[path]


def disown_finalizers() -> None:
    """Leave to this process what finalizers of its objects would do at the end of each fork.

    A folder that a module made for itself would go while others use it; and torch would take its
    1,800 operators apart, for 70 ms.
    """
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False


def run_command(order: Order, *, is_spare: bool = False) -> NoReturn:
    """Call the function that was asked for as a process of its own."""
    become(order, order.request.target, is_spare=is_spare)
    fresh_main("")
    hand_streams(order.preloaded)
    module, _, function = order.request.target.partition(":")

    def call() -> int:
        called: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
        return called(list(order.request.argv))

    leave(outcome(call))


def outcome(call: Callable[[], int | None]) -> int:
    """Call it and return the exit status that an interpreter would end with.

    Does not return where the interpreter would end by a signal.
    """
    try:
        return (call() or 0) & 0xFF
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 0xFF
        print(error.code, file=sys.stderr)  # noqa: T201 - what an interpreter does
        return 1
    except KeyboardInterrupt:
        traceback.print_exc(file=sys.__stderr__)
        _flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        raise
    except BaseException:  # noqa: BLE001 - it has nowhere else to go
        traceback.print_exc(file=sys.__stderr__)
        return 1


def leave(code: int, *, drop: Callable[[], None] | None = None) -> NoReturn:
    """End as an interpreter ends: threads joined, `atexit` run, objects finalised, streams flushed.

    But for one thing: what was imported before the fork is not taken apart, object by object,
    which costs more than many a run and copies every page of it.
    """
    done(code)
    try:
        for step in (threading._shutdown, atexit._run_exitfuncs, _flush):  # type: ignore[attr-defined]
            _try(step)
        # From here on a daemon thread would find its world half gone; the interpreter stops them.
        sys.setswitchinterval(1e6)
        if drop is not None:
            _try(drop)
        gc.collect()
        _flush()
    finally:
        os._exit(code)


def _try(step: Callable[[], object]) -> None:
    try:
        step()
    except BaseException:  # noqa: BLE001 - as the interpreter: say it, and go on
        traceback.print_exc(file=sys.__stderr__)


def watch_owner(peer: socket.socket) -> None:
    """Return when the owner is gone. Never reads: the zygote looks at the same connection."""
    waiting = select.poll()
    waiting.register(peer, select.POLLRDHUP)
    waiting.poll()


def _signals_by_default() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _take_stdio(descriptors: list[int]) -> None:
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for number, (name, mode) in enumerate(_STREAMS):
        stream = _open_stream(number, name, mode)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open_stream(number: int, name: str, mode: str) -> io.TextIOWrapper:
    """Open a standard stream as the interpreter does at its start."""
    # The zygote has read PYTHONIOENCODING and its kin, which are of its key.
    like = getattr(sys, f"__{name}__")
    is_unbuffered = isinstance(like.buffer, io.RawIOBase)
    raw = io.FileIO(number, mode, closefd=False)
    raw.name = f"<{name}>"
    buffer: Any = raw
    if not is_unbuffered:
        buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    stream: Any = io.TextIOWrapper(
        buffer,
        encoding=like.encoding,
        errors=like.errors,
        newline=None if mode == "r" else "\n",
        line_buffering=name == "stderr" or raw.isatty(),
        write_through=like.write_through,
    )
    stream.mode = mode
    return stream  # type: ignore[no-any-return]


def _count_threads_anew() -> None:
    """Name this process's threads as its own: names of threads that fail are shown to the user."""
    threading._counter = itertools.count(1).__next__  # type: ignore[attr-defined]
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]


def _set_variables(preloaded: Preloaded) -> None:
    """Set what modules set when they are imported, for they will not be imported again."""
    is_elsewhere = tempfile.gettempdir() != preloaded.temporary
    for name, value in preloaded.variables.items():
        # Of a folder that is not this process's; a module that finds none chooses one anew.
        if not (is_elsewhere and value.startswith(preloaded.temporary)):
            os.environ.setdefault(name, value)


def hand_streams(preloaded: Preloaded) -> None:
    """Have handlers of logs, made at import, write to this process's streams."""
    for reference in list(logging._handlerList):  # type: ignore[attr-defined]
        handler: Any = reference()
        for name, stream in preloaded.streams.items():
            if handler is None or getattr(handler, "stream", None) is not stream:
                continue
            handler.setStream(getattr(sys, name))
            if getattr(vars(handler).get("flush"), "__self__", None) is stream:  # transformers'
                handler.flush = getattr(sys, name).flush


def _start_clock() -> None:
    """`%(relativeCreated)d` of a log counts from the start of the process."""
    now: Any = time.time_ns() if sys.version_info >= (3, 13) else time.time()
    logging._startTime = now  # type: ignore[attr-defined]


def _flush() -> None:
    streams: list[Any] = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    for stream in streams:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
