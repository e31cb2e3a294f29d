"""Models take turns, in an order drawn anew each round, and are timed alone."""

from collections.abc import Sequence

import numpy as np

from nbprod.ml.latency import latency_summary, measure_latency


class Timed:
    """A model whose answers take a fixed time on the clock below."""

    labels = ("x",)

    def __init__(self, clock: "FakeClock", seconds: float, log: list[str], name: str) -> None:
        self.clock, self.seconds, self.log, self.name = clock, seconds, log, name

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        assert len(texts) == 1
        self.clock.now += self.seconds
        self.log.append(f"{self.name}: {texts[0]}")
        return np.ones((1, 1))


class FakeClock:
    """A clock that only models move."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_each_round_asks_every_model_the_same_in_a_fresh_order() -> None:
    clock, log = FakeClock(), list[str]()
    models = {
        "candidate": Timed(clock, 0.25, log, "candidate"),
        "champion": Timed(clock, 0.125, log, "champion"),
    }

    table = measure_latency(models, ["a", "b", "c"], rounds=40, warm_up=3, clock=clock)

    assert len(log) == 2 * 43
    rounds = [log[start : start + 2] for start in range(0, len(log), 2)]
    assert all({line[:4] for line in pair} == {"cand", "cham"} for pair in rounds)
    assert all(pair[0][-1] == pair[1][-1] for pair in rounds)
    assert len({pair[0].partition(":")[0] for pair in rounds}) == 2
    assert table["round"].tolist() == [number for number in range(40) for _ in range(2)]
    assert latency_summary(table).loc[["candidate", "champion"]].to_numpy().tolist() == [
        [250.0, 250.0, 40.0],
        [125.0, 125.0, 40.0],
    ]
