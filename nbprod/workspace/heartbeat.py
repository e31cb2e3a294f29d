"""Renew a lease from a thread for as long as the work goes on."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

logger = logging.getLogger(__name__)


@contextmanager
def beating(
    beat: Callable[[], bool],
    *,
    lease: timedelta,
    holder: str,
    on_lost: Callable[[], object] = lambda: None,
) -> Iterator[threading.Event]:
    """Call `beat` at every third of `lease` until the block ends.

    Yields an event for the holder to set just before it ends by itself what the lease is for: from
    then on, that a lease is gone is no loss.

    Args:
        beat: renews the lease and returns whether it is still the caller's.
        lease: after so long without a beat it is anybody's.
        holder: whose lease it is, for the log.
        on_lost: called once when `beat` returns False; there is no beat after it.
    """
    done, ending = threading.Event(), threading.Event()

    def keep() -> None:
        while not done.wait(lease.total_seconds() / 3):
            try:
                is_ours = beat()
            except Exception as error:  # noqa: BLE001 - a busy database: try again in a third
                logger.warning("%s: heartbeat failed: %s", holder, error)
                continue
            if not (is_ours or ending.is_set()):
                logger.warning("%s: its lease was lost", holder)
                on_lost()
                return

    thread = threading.Thread(target=keep, name=f"heartbeat of {holder}", daemon=True)
    thread.start()
    try:
        yield ending
    finally:
        done.set()
        thread.join()
