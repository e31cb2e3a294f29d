"""Turn what ends a process politely into a cancellation that is on record.

Ctrl-C, SIGTERM (a service manager, a container) and SIGHUP (the terminal was closed) mean the
same here. A SIGHUP that is ignored already stays ignored: that is what `nohup` is for.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def cancelled_by_signals(cancel: threading.Event) -> Iterator[threading.Event]:
    """Set `cancel` when a signal asks for the end; a second one is not swallowed.

    Yields an event that says whether a signal came. Outside the main thread Python cannot
    set handlers, and nothing changes.
    """
    interrupted = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if cancel.is_set():
            raise KeyboardInterrupt
        interrupted.set()
        cancel.set()

    with _handled(on_signal):
        yield interrupted


@contextmanager
def interrupted_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt for each of them, as Python does for Ctrl-C alone."""

    def on_signal(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled(on_signal):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    wanted = [number for number in _ENDINGS if not (is_nohup and number == signal.SIGHUP)]
    former = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, previous in former.items():
            signal.signal(number, previous)
