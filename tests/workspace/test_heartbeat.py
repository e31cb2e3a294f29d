import logging
import threading
from datetime import timedelta

import pytest

from nbprod.workspace.heartbeat import beating

LEASE = timedelta(milliseconds=60)


def test_it_beats_until_the_block_ends_and_leaves_no_thread() -> None:
    beats = threading.Semaphore(0)

    with beating(lambda: beats.release() is None, lease=LEASE, holder="run x"):
        assert all(beats.acquire(timeout=10) for _ in range(3))
        names = [thread.name for thread in threading.enumerate()]

    assert "heartbeat of run x" in names
    assert "heartbeat of run x" not in [thread.name for thread in threading.enumerate()]


def test_a_beat_that_raises_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    again = threading.Event()
    calls: list[int] = []

    def beat() -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("busy")
        again.set()
        return True

    with caplog.at_level(logging.WARNING), beating(beat, lease=LEASE, holder="run x"):
        assert again.wait(10)

    assert caplog.messages == ["run x: heartbeat failed: busy"]


def test_a_lost_lease_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    lost = threading.Event()
    calls: list[int] = []

    def beat() -> bool:
        calls.append(1)
        return False

    with (
        caplog.at_level(logging.WARNING),
        beating(beat, lease=LEASE, holder="job run y", on_lost=lost.set),
    ):
        assert lost.wait(10)

    assert (len(calls), caplog.messages) == (1, ["job run y: its lease was lost"])


def test_a_lease_that_ends_with_its_work_is_not_lost(caplog: pytest.LogCaptureFixture) -> None:
    again = threading.Semaphore(0)
    lost: list[bool] = []

    begun = threading.Event()

    def beat() -> bool:
        if begun.is_set():
            again.release()
        return not begun.is_set()

    with (
        caplog.at_level(logging.WARNING),
        beating(beat, lease=LEASE, holder="run x", on_lost=lambda: lost.append(True)) as ending,
    ):
        ending.set()
        begun.set()
        assert all(again.acquire(timeout=10) for _ in range(2))

    assert (lost, caplog.messages) == ([], [])
