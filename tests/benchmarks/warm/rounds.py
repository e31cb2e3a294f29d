"""Every contender executes every notebook, in turns, so that a busy machine slows them all."""

import gc
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warm.cases import Case
from warm.contenders import Contender, ContenderError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One execution that counted."""

    case: str
    contender: str
    seconds: float
    written: int | None
    size: int
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Rounds:
    """All executions, and what went wrong."""

    samples: list[Sample] = field(default_factory=list)
    executions: int = 0  #: all, those included that do not count
    wrong: list[str] = field(default_factory=list)  #: a sentence each

    def median(self, case: str, contender: str) -> float | None:
        """Return the median of the seconds; None where nothing was measured."""
        found = [it.seconds for it in self.of(case, contender)]
        return statistics.median(found) if found else None

    def middle(self, case: str, contender: str) -> Sample:
        """Return the execution whose time is the median, or next below it."""
        found = sorted(self.of(case, contender), key=lambda sample: sample.seconds)
        return found[(len(found) - 1) // 2]

    def of(self, case: str, contender: str) -> list[Sample]:
        """Return the samples of a contender on a notebook."""
        return [it for it in self.samples if (it.case, it.contender) == (case, contender)]

    def written(self, case: str, contender: str) -> float | None:
        """Return the median of bytes written for each byte of the executed notebook."""
        found = [
            it.written / it.size
            for it in self.of(case, contender)
            if it.size and it.written is not None
        ]
        return statistics.median(found) if found else None


def measure(
    contenders: Sequence[Contender],
    cases: Sequence[Case],
    *,
    rounds: int,
    warm_ups: int = 1,
    folder: Path,
    settle: Callable[[], None],
    say: Callable[[str], None],
) -> Rounds:
    """Execute every case `rounds` times by every contender, after `warm_ups` that do not count.

    `settle` is called before each execution: it waits until nobody's last one has anything left
    to do. Whoever cannot execute a notebook, or gets its outputs wrong, is out for that notebook.
    """
    found = Rounds()
    for case in cases:
        case.write(folder)
        out: set[str] = set()
        for round_ in range(1 - warm_ups, rounds + 1):
            say(f"{case.title}: {f'round {round_} of {rounds}' if round_ > 0 else 'warming up'}")
            # Each goes first in turn: what follows the largest writer finds a busy disk.
            first = round_ % len(contenders)
            for contender in (*contenders[first:], *contenders[:first]):
                if contender.name in out:
                    continue
                settle()
                os.sync()
                gc.collect()
                found.executions += 1
                try:
                    execution = contender.run(case, folder)
                except ContenderError as error:
                    out.add(contender.name)
                    found.wrong.append(f"{contender.label}, {case.title}: {error}")
                    say(found.wrong[-1])
                    continue
                if round_ > 0:
                    found.samples.append(
                        Sample(
                            case=case.name,
                            contender=contender.name,
                            seconds=execution.seconds,
                            written=execution.written,
                            size=execution.size,
                            answer=execution.answer,
                        )
                    )
    return found


def table(rounds: Rounds, contenders: Sequence[Contender], cases: Sequence[Case]) -> str:
    """Return the medians as a Markdown table: a contender a row, a notebook a column."""
    rows = [["median seconds", *(case.title for case in cases)]]
    for contender in contenders:
        medians = [rounds.median(case.name, contender.name) for case in cases]
        rows.append([contender.label, *("" if it is None else in_seconds(it) for it in medians)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = ["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]
    lines.insert(1, "|" + "|".join(rule) + "|")
    return "\n".join(lines)


def in_seconds(seconds: float) -> str:
    """Return seconds with three digits that count: 0.073, 0.62, 4.74, 13.0."""
    digits = 3 if seconds < 0.1 else 2 if seconds < 10 else 1
    return f"{seconds:.{digits}f}"
