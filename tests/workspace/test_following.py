"""Who follows a run takes nobody for lost who only slept."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nbprod.core.runs import Lineage, Run, RunStatus
from nbprod.workspace.following import SPARED, follow


class Clocks:
    """A machine's two clocks; only one of them goes on while it sleeps."""

    def __init__(self) -> None:
        self.awake, self.asleep = 100.0, 0.0

    def monotonic(self) -> float:
        return self.awake

    def time(self) -> float:
        return 1e9 + self.awake + self.asleep

    def sleep(self, seconds: float) -> None:
        self.awake += seconds


class Runs:
    """A store's runs: one that runs, and when it was asked whose lease is over."""

    def __init__(self, clocks: Clocks) -> None:
        self.asked: list[float] = []
        self._clocks = clocks

    def expire(self) -> list[Run]:
        self.asked.append(self._clocks.awake)
        return []

    def get(self, run: str) -> Run:
        lineage = Lineage(template_digest="")
        return Run(id=run, template="t", lineage=lineage, status=RunStatus.RUNNING)


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("nbprod.workspace.following.time", clocks)
    return clocks


def test_nobody_is_lost_who_had_no_time_to_wake_up(clocks: Clocks, tmp_path: Path) -> None:
    runs = Runs(clocks)
    store: Any = SimpleNamespace(runs=runs)
    followed = follow(store, tmp_path, "20261121-000000-abcdef")
    while clocks.awake < 110:
        next(followed)
    before = len(runs.asked)

    woke = clocks.awake
    clocks.asleep += 3600
    while clocks.awake < woke + SPARED + 10:
        next(followed)

    after = [asked - woke for asked in runs.asked[before:]]
    assert before > 10
    assert len(after) > 10
    assert min(after) >= SPARED


def test_a_clock_that_is_corrected_bit_by_bit_is_no_sleep(clocks: Clocks, tmp_path: Path) -> None:
    runs = Runs(clocks)
    store: Any = SimpleNamespace(runs=runs)
    followed = follow(store, tmp_path, "20261121-000000-abcdef")

    while clocks.awake < 200:
        next(followed)
        clocks.asleep += 0.01

    assert clocks.asleep > 5
    assert len(runs.asked) > 100
