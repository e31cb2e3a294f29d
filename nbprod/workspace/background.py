"""What goes on after a run has its result: kernels end, processes are reaped, GPUs given back.

Each piece of work has a bound of its own, and the interpreter does not exit before it is done.
"""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)

_working: set[threading.Thread] = set()
_lock = threading.Lock()


def go_on(name: str, work: Callable[[], object]) -> None:
    """Do `work` in a thread. What it raises is logged: nobody is there any more to be told."""

    def do() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the store may be gone, or a folder
            logger.warning("%s: %s: %s", name, type(error).__name__, error)
        finally:
            with _lock:
                _working.discard(threading.current_thread())

    thread = threading.Thread(target=do, name=name)
    try:
        with _lock:  # nobody can wait for a thread that has not started
            thread.start()
            _working.add(thread)
    except RuntimeError:  # no threads any more: the interpreter exits, or the limit is reached
        work()


def wait() -> None:
    """Wait until all of it is done."""
    while True:
        with _lock:
            thread = next(iter(_working), None)
        if thread is None or thread is threading.current_thread():
            return
        thread.join()


def is_idle() -> bool:
    """Say whether nothing is going on."""
    with _lock:
        return not _working
