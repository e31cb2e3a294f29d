"""How long one answer takes: batches of one, models taking turns.

Turns matter: a machine that slows down for a minute then slows every model alike.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd

from nbprod.ml.predictors import Predictor


def measure_latency(
    predictors: Mapping[str, Predictor],
    texts: Sequence[str],
    *,
    rounds: int = 100,
    warm_up: int = 5,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> pd.DataFrame:
    """Ask every model about one text per round, in an order drawn anew each time.

    Args:
        predictors: role -> model.
        texts: drawn from, one a round; all models get the same.
        rounds: timed questions to each model.
        warm_up: rounds before the clock counts: caches fill, kernels are chosen.
        seed: of the order and the texts.
        clock: in seconds.

    Returns:
        Columns round, role, milliseconds.
    """
    generator = np.random.default_rng(seed)
    rows: list[tuple[int, str, float]] = []
    with _one_thread():
        for number in range(-warm_up, rounds):
            text = texts[int(generator.integers(len(texts)))]
            for role in generator.permutation(list(predictors)):
                started = clock()
                predictors[role].probabilities([text])  # copies to the CPU: a GPU has finished
                if number >= 0:
                    rows.append((number, str(role), (clock() - started) * 1000))
    return pd.DataFrame(rows, columns=["round", "role", "milliseconds"])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Answer with one CPU thread, as a server does that answers many at once.

    More threads wait for each other within every layer, so a busy neighbour on one core stalls
    the answer fifty-fold (1,069 ms against 20 ms): that would time the neighbour.
    """
    import torch

    former = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(former)


def latency_summary(latency: pd.DataFrame) -> pd.DataFrame:
    """Return the median, the 95th percentile and the calls of each model, in milliseconds."""
    times = latency.groupby("role", sort=False)["milliseconds"]
    return pd.DataFrame(
        {"p50_ms": times.quantile(0.5), "p95_ms": times.quantile(0.95), "calls": times.size()}
    ).rename_axis("model")
