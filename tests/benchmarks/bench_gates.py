"""Simulate challengers whose true quality is known, and count how the gates decide.

Two models' answers come from one population: classes of unequal size and difficulty, and answers
that agree far more often than chance, as those of two fine-tunes do. The true accuracy and macro-F1
follow from the population, so a challenger can be placed exactly on a gate's limit, where
false promotions are most frequent: there the gates promise 5 % at most.

    python tests/benchmarks/bench_gates.py [--quick] [--json FILE] [--seed N] [--processes N]
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Outcome
from nbprod.gates.declarations import GateDeclaration, parse_gates
from nbprod.gates.exact import clopper_pearson_high, clopper_pearson_low
from nbprod.gates.judge import judge

#: a verdict takes 9,999; fewer change a bound by a fraction of its own standard error
RESAMPLES = 1_999
#: what a gate with confidence 0.95 promises
PROMISED = 0.05
MARGIN = 0.02


@dataclass(frozen=True)
class Population:
    """Classes, how often they occur, and how often a model has each right."""

    prior: np.ndarray
    recall: np.ndarray  #: before the wrong answers that hit by chance
    agreement: float = 0.7  #: share of rows whose difficulty both models share

    def answers(self, recall: np.ndarray) -> np.ndarray:
        """Return P(predicted | label), (K, K)."""
        return np.diag(recall) + (1 - recall)[:, None] * self.prior[None, :]

    def accuracy(self, recall: np.ndarray) -> float:
        return float(self.prior @ np.diag(self.answers(recall)))

    def macro_f1(self, recall: np.ndarray) -> float:
        answers = self.answers(recall)
        right = self.prior * np.diag(answers)
        return float((2 * right / (self.prior + self.prior @ answers)).mean())

    def shifted(self, metric: str, gain: float) -> np.ndarray:
        """Return recalls under which `metric` is larger by exactly `gain`."""
        score = {"accuracy": self.accuracy, "macro_f1": self.macro_f1}[metric]
        low, high = -0.5, 0.5
        for _ in range(60):
            middle = (low + high) / 2
            shifted = np.clip(self.recall + middle, 0.0, 1.0)
            if score(shifted) - score(self.recall) < gain:
                low = middle
            else:
                high = middle
        return np.clip(self.recall + (low + high) / 2, 0.0, 1.0)


def population(classes: int, level: float) -> Population:
    """Return classes with sizes like 1/sqrt(rank), the rarer the harder."""
    prior = 1 / np.sqrt(np.arange(1, classes + 1))
    recall = np.clip(level + 0.25 * (0.5 - np.arange(classes) / (classes - 1)), 0.02, 0.99)
    return Population(prior=prior / prior.sum(), recall=recall)


POPULATIONS = {
    "21 classes, .75": population(21, 0.75),
    "5 classes, .90": population(5, 0.90),
    "2 classes, .93": population(2, 0.93),
}


@dataclass(frozen=True)
class Scenario:
    """One gate, one kind of challenger, one size of evaluation."""

    gate: str
    data: str
    challenger: str
    n: int
    should_pass: bool
    is_limit: bool = False  #: the truth lies exactly on the gate's limit
    table: tuple[tuple[str, object], ...] = ()
    metric: str = "macro_f1"
    gain: float = 0.0
    groups: int = 0
    kind: str = "paired"


def scenarios(*, quick: bool) -> Iterator[Scenario]:
    sizes = (300,) if quick else (300, 1_000, 3_000)
    names = ["5 classes, .90"] if quick else list(POPULATIONS)
    for metric in ("accuracy", "macro_f1"):
        for data in names:
            for n in sizes:
                yield from _comparisons(metric, data, n)
    for metric in ("accuracy",) if quick else ("accuracy", "macro_f1"):
        for groups in (60,) if quick else (30, 100):
            yield from _comparisons(metric, "5 classes, .90", groups * 10, groups=groups)
    for n in sizes:
        yield from _slices(n)
        yield from _thresholds(n)
    for rounds in (100,) if quick else (100, 300):
        yield from _latencies(rounds)


def _comparisons(metric: str, data: str, n: int, *, groups: int = 0) -> Iterator[Scenario]:
    about = f"{data}, {groups} groups" if groups else data
    level = {"scrap": metric, "not_worse_than": "champion", "margin": MARGIN}
    beats = {"scrap": metric, "beats": "champion"}
    for table, cases in (
        (level, ((-MARGIN, False), (-2 * MARGIN, False), (0.0, True), (MARGIN, True))),
        (beats, ((0.0, False), (-MARGIN, False), (MARGIN, True), (2 * MARGIN, True))),
    ):
        limit = -MARGIN if table is level else 0.0
        for gain, should_pass in cases:
            yield Scenario(
                gate=f"{metric} {'not worse by 0.02' if table is level else 'beats'}",
                data=about,
                challenger="equal" if gain == 0 else f"{gain:+.2f}",
                n=n,
                should_pass=should_pass,
                is_limit=gain == limit,
                table=tuple(table.items()),
                metric=metric,
                gain=gain,
                groups=groups,
            )


def _slices(n: int) -> Iterator[Scenario]:
    table = {"slice": "length", "scrap": "accuracy", "min": 0.5, "min_size": 50}
    for gain, name, should_pass in (
        (0.0, "one of four on the floor", False),
        (-1.0, "all four on the floor", False),
        (0.10, "weakest +0.10", True),
        (0.20, "weakest +0.20", True),
    ):
        yield Scenario(
            gate="slices at least 0.5",
            data="4 slices",
            challenger=name,
            n=n,
            should_pass=should_pass,
            is_limit=gain <= 0,
            table=tuple(table.items()),
            gain=gain,
            kind="slices",
        )


def _thresholds(n: int) -> Iterator[Scenario]:
    for metric in ("accuracy", "macro_f1"):
        for gain, should_pass in ((0.0, False), (0.05, True)):
            yield Scenario(
                gate=f"{metric} at least its truth, 95 %",
                data="5 classes, .90",
                challenger="on the limit" if gain == 0 else f"{gain:+.2f}",
                n=n,
                should_pass=should_pass,
                is_limit=gain == 0,
                metric=metric,
                gain=gain,
                kind="threshold",
            )


def _latencies(rounds: int) -> Iterator[Scenario]:
    table = {"scrap": "latency_p95_ms", "not_worse_than": "champion", "ratio": 1.2}
    for ratio, should_pass in ((1.2, False), (1.4, False), (1.0, True)):
        yield Scenario(
            gate="latency p95 ratio 1.2",
            data="interleaved rounds",
            challenger=f"{ratio:g} times",
            n=rounds,
            should_pass=should_pass,
            is_limit=ratio == 1.2,
            table=tuple(table.items()),
            gain=ratio,
            kind="latency",
        )


def simulate(scenario: Scenario, rng: np.random.Generator) -> Outcome:
    """Draw one evaluation and return the gate's outcome."""
    make: dict[str, Callable[[Scenario, np.random.Generator], tuple[dict[str, object], Evidence]]]
    make = {
        "paired": _paired,
        "slices": _sliced,
        "threshold": _threshold,
        "latency": _latency,
    }
    table, evidence = make[scenario.kind](scenario, rng)
    (verdict,) = judge(_parsed(tuple(table.items())), evidence, resamples=RESAMPLES)
    return verdict.outcome


@cache
def _parsed(table: tuple[tuple[str, object], ...]) -> tuple[GateDeclaration, ...]:
    return parse_gates([dict(table)], where="the simulation")


@cache
def _challenger(data: str, metric: str, gain: float) -> np.ndarray:
    return POPULATIONS[data].shifted(metric, gain)


def draw_pair(
    place: Population, challenger: np.ndarray, n: int, groups: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return labels, the challenger's and the champion's answers, and group numbers.

    Rows of one group share the difficulty that half of all rows have anyway (a thread of
    messages, a patient, a document), and which of the two models copes with them.
    """
    classes = len(place.prior)
    label = rng.choice(classes, n, p=place.prior)
    group = None
    own, its = rng.random(n), rng.random(n)
    shared = rng.random(n)
    if groups:
        group = rng.integers(0, groups, n)
        for hardness in (own, its, shared):
            by_group = rng.random(groups)[group]
            np.copyto(hardness, by_group, where=rng.random(n) < 0.3)
    is_shared = rng.random(n) < place.agreement
    own, its = np.where(is_shared, shared, own), np.where(is_shared, shared, its)
    guess = rng.choice(classes, n, p=place.prior)
    other = np.where(rng.random(n) < 0.5, guess, rng.choice(classes, n, p=place.prior))
    mine = np.where(own < challenger[label], label, guess)
    champion = np.where(its < place.recall[label], label, other)
    return label, mine, champion, group


def evidence_of(
    label: np.ndarray,
    answers: dict[str, np.ndarray],
    *,
    rng: np.random.Generator,
    columns: dict[str, np.ndarray] | None = None,
    latency: pd.DataFrame | None = None,
) -> Evidence:
    """Return complete, valid evidence."""
    shared = {"example_id": np.arange(len(label)), "label": label, **(columns or {})}
    frames = [
        pd.DataFrame({**shared, "role": role, "predicted": predicted})
        for role, predicted in answers.items()
    ]
    return Evidence(
        predictions=pd.concat(frames, ignore_index=True),
        latency=latency,
        scored={role: f"digest of {role}" for role in answers},
        candidate="digest of candidate",
        champion="digest of champion" if "champion" in answers else None,
        fingerprints=dict.fromkeys(answers, "rows"),
        seen_in_training=dict.fromkeys(answers, 0),
        evaluation_digest=str(rng.integers(2**62)),
        run="simulated",
    )


def _paired(scenario: Scenario, rng: np.random.Generator) -> tuple[dict[str, object], Evidence]:
    data = scenario.data.removesuffix(f", {scenario.groups} groups")
    place, challenger = POPULATIONS[data], _challenger(data, scenario.metric, scenario.gain)
    label, mine, champion, group = draw_pair(place, challenger, scenario.n, scenario.groups, rng)
    answers = {"candidate": mine, "champion": champion}
    columns = {} if group is None else {"group": group}
    return dict(scenario.table), evidence_of(label, answers, rng=rng, columns=columns)


def _sliced(scenario: Scenario, rng: np.random.Generator) -> tuple[dict[str, object], Evidence]:
    share = np.array([0.4, 0.3, 0.2, 0.1])
    level = np.array([0.75, 0.75, 0.75, 0.5 + scenario.gain])
    if scenario.gain < 0:
        level[:] = 0.5
    # Sizes as designed, so that none falls under the minimum by chance.
    part = np.repeat(np.arange(4), np.round(scenario.n * share).astype(int).clip(min=50))
    label = np.zeros(len(part), dtype=int)
    label[::2] = 1
    mine = np.where(rng.random(len(part)) < level[part], label, 1 - label)
    return dict(scenario.table), evidence_of(
        label, {"candidate": mine}, rng=rng, columns={"length": part.astype(str)}
    )


def _threshold(scenario: Scenario, rng: np.random.Generator) -> tuple[dict[str, object], Evidence]:
    place = POPULATIONS[scenario.data]
    score = {"accuracy": place.accuracy, "macro_f1": place.macro_f1}[scenario.metric]
    label, _, mine, _ = draw_pair(place, place.recall, scenario.n, 0, rng)
    limit = score(place.recall) - scenario.gain
    table = {"scrap": scenario.metric, "min": limit, "confidence": 0.95}
    return table, evidence_of(label, {"candidate": mine}, rng=rng)


def _latency(scenario: Scenario, rng: np.random.Generator) -> tuple[dict[str, object], Evidence]:
    """Draw times with a heavy tail, a drift of the whole machine, and spikes that hit a round."""
    rounds = scenario.n
    drift = np.exp(0.05 * np.sin(np.arange(rounds) / 15) + 0.05 * rng.standard_normal(rounds))
    times = {
        role: scale
        * drift
        * np.exp(0.1 * rng.standard_normal(rounds))
        * (1 + rng.exponential(0.15, rounds) * (rng.random(rounds) < 0.1))
        for role, scale in (("candidate", 20 * scenario.gain), ("champion", 20.0))
    }
    frame = pd.concat(
        pd.DataFrame({"round": np.arange(rounds), "role": role, "milliseconds": values})
        for role, values in times.items()
    )
    label = np.arange(10) % 2
    answers = dict.fromkeys(times, label)
    return dict(scenario.table), evidence_of(label, answers, rng=rng, latency=frame)


@dataclass(frozen=True)
class Row:
    """One scenario's result."""

    gate: str
    data: str
    challenger: str
    n: int
    simulations: int
    passed: float
    failed: float
    unknown: float
    is_limit: bool
    should_pass: bool
    low: float  #: 95 % interval of `passed`, Clopper-Pearson
    high: float
    seconds: float
    first: float | None = None  #: `passed` of the first stage, where a second was added


def measure(scenario: Scenario, simulations: int, seed: int) -> Row:
    """Simulate one scenario."""
    started = time.perf_counter()
    rng = np.random.default_rng([seed, *f"{scenario}".encode()])
    outcomes = Counter(simulate(scenario, rng) for _ in range(simulations))
    return row_of(scenario, outcomes, seconds=time.perf_counter() - started)


def row_of(
    scenario: Scenario, outcomes: Counter[Outcome], *, seconds: float, first: float | None = None
) -> Row:
    """Return the shares of `outcomes` with their interval."""
    simulations, passed = outcomes.total(), outcomes[Outcome.PASSED]
    return Row(
        gate=scenario.gate,
        data=scenario.data,
        challenger=scenario.challenger,
        n=scenario.n,
        simulations=simulations,
        passed=passed / simulations,
        failed=outcomes[Outcome.FAILED] / simulations,
        unknown=outcomes[Outcome.UNKNOWN] / simulations,
        is_limit=scenario.is_limit,
        should_pass=scenario.should_pass,
        low=clopper_pearson_low(passed, simulations, confidence=0.975),
        high=clopper_pearson_high(passed, simulations, confidence=0.975),
        seconds=seconds,
        first=first,
    )


def pooled(scenario: Scenario, rows: Sequence[Row]) -> Row:
    """Return the row of all simulations together, the first stage's included."""
    outcomes: Counter[Outcome] = Counter()
    for row in rows:
        for outcome in Outcome:
            outcomes[outcome] += round(getattr(row, outcome.value) * row.simulations)
    seconds = sum(row.seconds for row in rows)
    return row_of(scenario, outcomes, seconds=seconds, first=rows[0].passed)


def run(*, quick: bool, seed: int, processes: int) -> list[Row]:
    """Measure every scenario; those on a limit with more simulations, for they are the promise.

    Of sixty lines one or two lie above the promise by chance. Each of those gets fresh simulations
    and shows all of them together, the unlucky first included: chance shrinks, a defect stays.
    """
    at_limit, elsewhere, again = (40, 20, 0) if quick else (400, 100, 2_000)
    cases = list(scenarios(quick=quick))
    counts = [at_limit if case.is_limit else elsewhere for case in cases]
    with ProcessPoolExecutor(processes) as pool:
        spread = map if processes == 1 else pool.map
        rows = list(spread(measure, cases, counts, [seed] * len(cases)))
        for place, (case, row) in enumerate(zip(cases, rows, strict=True)):
            if again and not row.should_pass and row.low > PROMISED:
                fresh = spread(measure, [case] * 4, [again // 4] * 4, range(seed + 1, seed + 5))
                rows[place] = pooled(case, [row, *fresh])
    return rows


def print_table(rows: Sequence[Row]) -> None:
    """Print what a reader asks: false promotions, then false blocks and power."""
    head = f"{'gate':32} {'data':27} {'challenger':24} {'n':>5}"
    print("False promotions: challengers that must not pass (promised: 5 % at most)")
    print(f"{head} {'promoted':>9} {'95 % interval':>16} {'failed':>8} {'unknown':>8}")
    for row in (row for row in rows if not row.should_pass):
        interval = f"{row.low:.1%} to {row.high:.1%}"
        mark = " !" if row.low > PROMISED else ""
        print(
            f"{row.gate:32} {row.data:27} {row.challenger:24} {row.n:5,} {row.passed:9.1%} "
            f"{interval:>16} {row.failed:8.1%} {row.unknown:8.1%}{mark}"
        )
    print("\nPower: challengers that ought to pass (false blocks are the rest)")
    print(f"{head} {'promoted':>9} {'failed':>8} {'unknown':>8}")
    for row in (row for row in rows if row.should_pass):
        print(
            f"{row.gate:32} {row.data:27} {row.challenger:24} {row.n:5,} {row.passed:9.1%} "
            f"{row.failed:8.1%} {row.unknown:8.1%}"
        )
    for row in (row for row in rows if row.first is not None):
        print(
            f"\nSimulated again: {row.gate}, {row.data}, n = {row.n:,}: first {row.first:.1%}, all "
            f"{row.simulations:,} together {row.passed:.1%}."
        )
    limit = [row for row in rows if row.is_limit]
    total = sum(row.simulations for row in limit)
    passed = round(sum(row.passed * row.simulations for row in limit))
    low = clopper_pearson_low(passed, total, confidence=0.975)
    high = clopper_pearson_high(passed, total, confidence=0.975)
    worst = max(limit, key=lambda row: row.passed)
    print(
        f"\nExactly on the limit: {passed:,} of {total:,} promoted, {passed / total:.2%} "
        f"({low:.2%} to {high:.2%}); the worst line {worst.passed:.1%} ({worst.low:.1%} to "
        f"{worst.high:.1%}): {worst.gate}, {worst.data}, n = {worst.n:,}."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 where a false promotion rate is certainly above the promise."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few scenarios, wide intervals")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    started = time.perf_counter()
    rows = run(quick=given.quick, seed=given.seed, processes=given.processes)
    print_table(rows)
    print(f"{time.perf_counter() - started:.0f} s, seed {given.seed}, {RESAMPLES:,} resamples.")
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    # With some sixty lines on the limit, one interval in forty lies above by chance alone.
    lines = sum(row.is_limit for row in rows)
    certain = 1 - 0.05 / max(lines, 1)
    broken = [
        row
        for row in rows
        if not row.should_pass
        and clopper_pearson_low(
            math.floor(row.passed * row.simulations + 0.5), row.simulations, confidence=certain
        )
        > PROMISED
    ]
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
