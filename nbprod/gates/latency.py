"""How long an answer takes: at most so much, or not much longer than another model takes.

The models take turns within every round of the evaluation, so that a machine that slows down
slows all of them; rounds, not single calls, are resampled.
"""

import math
from typing import TYPE_CHECKING, Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from nbprod.core.evidence import Evidence, Role
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates import validity
from nbprod.gates.bounds import outer_quantiles
from nbprod.gates.case import Case
from nbprod.gates.decision import Gain, decide, numbers_of, percent
from nbprod.gates.exact import z_value
from nbprod.gates.metrics import Floats
from nbprod.gates.options import LATENCY, Confidence, GateOptions, LatencyName, Rival
from nbprod.gates.sample import Unjudgeable
from nbprod.gates.settled import settled

if TYPE_CHECKING:
    import pandas as pd

#: rounds under which a mean or a median of milliseconds is not worth comparing
MIN_ROUNDS = 20
CHUNK = 4_000_000


class Latency(GateOptions):
    """`{scrap = "latency_p95_ms", max = 150}`, or `not_worse_than = "champion", ratio = 1.2`."""

    scrap: LatencyName
    max: Annotated[float, Field(gt=0.0)] | None = None
    not_worse_than: Rival | None = None
    ratio: Annotated[float, Field(gt=1.0)] | None = None
    confidence: Confidence | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.max is None) == (self.not_worse_than is None):
            raise ValueError("a latency gate has either max or not_worse_than with ratio")
        if (self.not_worse_than is None) != (self.ratio is None):
            raise ValueError("not_worse_than and ratio go together, e.g. ratio = 1.2")
        return self

    def title(self) -> str:
        """Return e.g. "latency_p95_ms at most 150"."""
        if self.max is not None:
            sure = "" if self.confidence is None else f" with {percent(self.confidence)} confidence"
            return f"{self.scrap} at most {self.max:g}{sure}"
        return f"{self.scrap} at most {self.ratio:g} times that of {self.not_worse_than}"


def latency(options: Latency, case: Case) -> Verdict:
    """Pass when answers come within `max`, or within `ratio` times the other model's time."""
    return _absolute(options, case) if options.max is not None else _relative(options, case)


def _absolute(options: Latency, case: Case) -> Verdict:
    limit = options.max
    assert limit is not None
    validity.check_candidate(case.evidence)
    times = _rounds(case.evidence, (Role.CANDIDATE,), options)
    value = float(_summary(times[None], options.scrap)[0, 0])
    validity.check_scrap(case.evidence, options.scrap, value, tolerance=0.01 * value)
    confidence = options.confidence or 0.95
    draws = _resampled(times, options.scrap, case)[:, 0]
    _, high = outer_quantiles(draws, confidence=confidence)
    if options.confidence is None:
        outcome = Outcome.PASSED if value <= limit else Outcome.FAILED
    elif value > limit:
        outcome = Outcome.FAILED
    else:
        outcome = Outcome.PASSED if high <= limit else Outcome.UNKNOWN
    needed = 0
    if value < limit:
        reach = (z_value(confidence) + z_value(0.8)) * float(np.log(draws).std())
        needed = math.ceil(len(times) * (reach / math.log(limit / value)) ** 2)
    head = (
        f"Too few rounds: n = {len(times):,}, about {needed:,} are needed to be sure. "
        if outcome is Outcome.UNKNOWN
        else ""
    )
    return Verdict(
        gate=options.title(),
        outcome=outcome,
        reason=f"{head}{options.scrap} is {value:.4g} over {len(times):,} rounds, with "
        f"{percent(confidence)} confidence at most {high:.4g}; required is at most {limit:g}.",
        method=(
            f"bootstrap of rounds, {case.resamples:,} resamples; decided by "
            f"{'the value' if options.confidence is None else 'the upper bound'}"
        ),
        numbers={
            "estimate": value,
            "high": high,
            "confidence": confidence,
            "n": len(times),
            "needed": needed,
            "seed": case.seed,
        },
    )


def _relative(options: Latency, case: Case) -> Verdict:
    assert options.not_worse_than is not None
    assert options.ratio is not None
    role = Role(options.not_worse_than)
    early = settled(options.title(), case, role, when_same=Outcome.PASSED)
    if early is not None:
        return early
    validity.check_rival(case.evidence, role)
    times = _rounds(case.evidence, (Role.CANDIDATE, role), options)
    mine, its = (float(value) for value in _summary(times[None], options.scrap)[0])
    validity.check_scrap(case.evidence, options.scrap, mine, tolerance=0.01 * mine)
    draws = _resampled(times, options.scrap, case)
    # Logarithms make ratios differences; a gain is a faster answer.
    ratios = np.log(draws[:, 1]) - np.log(draws[:, 0])
    confidence = options.confidence or 0.95
    estimate = math.log(its / mine)
    low, high = outer_quantiles(ratios, confidence=confidence)
    half = z_value(confidence) * float(ratios.std())
    gain = Gain(
        estimate=estimate,
        low=min(low, estimate - half),
        high=max(high, estimate + half),
        error=float(ratios.std()),
        confidence=confidence,
        n=len(times),
    )
    outcome, needed = decide(gain, limit=-math.log(options.ratio), target=0.0)
    head = (
        f"Too few rounds: n = {len(times):,}, about {needed:,} are needed to show an equally fast "
        "model not slower. "
        if outcome is Outcome.UNKNOWN
        else ""
    )
    return Verdict(
        gate=options.title(),
        outcome=outcome,
        reason=f"{head}{options.scrap} {mine:.4g} against the {role}'s {its:.4g} over "
        f"{len(times):,} interleaved rounds: {mine / its:.3f} times, with {percent(confidence)} "
        f"confidence at most {math.exp(-gain.low):.3f}; required is less than {options.ratio:g}. "
        f"It could have seen a ratio of {math.exp(gain.detectable()):.3f}.",
        method=f"paired bootstrap of rounds, {case.resamples:,} resamples, seed {case.seed}, "
        f"one-sided {percent(confidence)}, on logarithms",
        numbers={
            "candidate": mine,
            role.value: its,
            "ratio": mine / its,
            "ratio_high": math.exp(-gain.low),
            "ratio_low": math.exp(-gain.high),
            **{
                key: value
                for key, value in numbers_of(gain, needed=needed).items()
                if key not in ("estimate", "low", "high", "detectable")
            },
            "ratio_detectable": math.exp(gain.detectable()),
            "seed": case.seed,
        },
    )


def _rounds(evidence: Evidence, roles: tuple[Role, ...], options: Latency) -> Floats:
    """Return milliseconds, (rounds, calls a round, roles), checked.

    Raises:
        Unjudgeable: no frame, not interleaved, not a number, or too few rounds.
    """
    frame = evidence.latency
    if frame is None:
        raise Unjudgeable("The evaluation left no latency frame (round, role, milliseconds).")
    missing = [name for name in ("round", "role", "milliseconds") if name not in frame.columns]
    if missing:
        raise Unjudgeable(f"The latency frame lacks {', '.join(map(repr, missing))}.")
    columns = [_of_role(frame, role) for role in roles]
    for role, column in zip(roles, columns, strict=True):
        if not columns[0].index.equals(column.index):
            raise Unjudgeable(
                f"The candidate and the {role} were not timed in the same rounds, so a slow minute "
                "of the machine may have hit only one of them."
            )
    calls = columns[0].index.get_level_values(0).value_counts()
    if calls.nunique() > 1:
        raise Unjudgeable("The rounds of the latency frame hold differing numbers of calls.")
    times = np.stack([column.to_numpy(dtype=float) for column in columns], axis=1)
    times = times.reshape(len(calls), -1, len(roles))
    needed = _rounds_needed(options)
    if len(times) < needed:
        raise Unjudgeable(
            f"Too few rounds: n = {len(times):,}, {needed:,} are needed for {options.scrap}.",
            n=len(times),
            needed=needed,
        )
    return times


def _of_role(frame: "pd.DataFrame", role: Role) -> "pd.Series":
    rows = frame[frame["role"].astype(str) == role.value]
    if rows.empty:
        raise Unjudgeable(f"The latency frame has no calls of the {role}.")
    times = rows["milliseconds"].to_numpy(dtype=float)
    bad = int(np.count_nonzero(~(np.isfinite(times) & (times > 0))))
    if bad:
        raise Unjudgeable(f"{bad:,} of the {role}'s {len(times):,} calls have no valid duration.")
    numbered = rows.assign(call=rows.groupby("round").cumcount())
    return numbered.set_index(["round", "call"])["milliseconds"].sort_index()


def _rounds_needed(options: Latency) -> int:
    """Return how many rounds it takes: for a percentile with a bound, Wilks's number (1941).

    With fewer, the largest of all times is below the percentile more often than 1 - confidence,
    so that no bound can be drawn from the sample: 59 for the 95th percentile at 95 %.
    """
    matched = LATENCY.fullmatch(options.scrap)
    assert matched is not None
    level = int(matched[1]) / 100 if matched[1] else 0.0
    if level == 0.0:
        return MIN_ROUNDS
    if options.max is not None and options.confidence is None:
        return max(MIN_ROUNDS, math.ceil(1 / (1 - level) - 1e-9))
    confidence = options.confidence or 0.95
    return max(MIN_ROUNDS, math.ceil(math.log(1 - confidence) / math.log(level)))


def _summary(times: Floats, name: str) -> Floats:
    """Return the mean or percentile of all calls: (b, rounds, calls, roles) to (b, roles)."""
    matched = LATENCY.fullmatch(name)
    assert matched is not None
    if matched[1] is None:
        return np.asarray(times.mean(axis=(1, 2)))
    return np.asarray(np.percentile(times, int(matched[1]), axis=(1, 2)))


def _resampled(times: Floats, name: str, case: Case) -> Floats:
    """Return the summary of every role on resampled rounds, (resamples, roles)."""
    rng = np.random.default_rng(case.seed)
    rounds = len(times)
    step = max(1, CHUNK // times.size)
    parts = []
    for start in range(0, case.resamples, step):
        drawn = rng.integers(0, rounds, size=(min(step, case.resamples - start), rounds))
        parts.append(_summary(times[drawn], name))
    return np.concatenate(parts)
