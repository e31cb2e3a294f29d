"""How far a run has come, told from its events: for bars, lines and programs."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from nbprod.core.events import Event, EventType
from nbprod.core.json import JSON
from nbprod.core.words import duration

#: Of a line that never ends, so much is kept.
_LONGEST = 2_000
#: What moves a terminal's cursor or changes its colours: a cell may print anything.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Live:
    """Where a run stands. Give it to `ws.run(..., progress=...)`, or call it with each event.

    `print` it, or read its fields. A callable that is passed is told after each change:
    `ws.run("train", progress=nbprod.Live(print))`.
    """

    def __init__(self, on_change: "Callable[[Live], object] | None" = None) -> None:
        self.cells = 0  #: of the notebook, prose included
        self.cell: int | None = None  #: that runs, from 0; the last one that ran between two
        self.is_in_cell = False
        self.started: float | None = None  #: seconds since 1970
        self.cell_started: float | None = None
        self.ended: float | None = None
        self.line = ""  #: the last line that was printed or shown
        self.training: Mapping[str, JSON] = {}  #: step, steps, loss, ... of the running cell
        self.status = "queued"
        self.reason = ""
        self._on_change = on_change
        self._open = ""  # what was printed since the last line ended

    def __call__(self, event: Event) -> None:
        """Take in what happened next."""
        fields: Any = event.fields
        match event.type:
            case EventType.RUN_STARTED:
                self._begin(event)
            case EventType.CELL_STARTED:
                self.cell, self.is_in_cell = _whole(fields.get("cell")), True
                self.cell_started, self.training, self._open = event.t, {}, ""
            case EventType.CELL_FINISHED:
                self.is_in_cell = False
            case EventType.OUTPUT:
                self._show(fields.get("output"))
            case EventType.OUTPUT_CUT:
                self._write(f"{fields.get('tail') or ''}\n")
            case EventType.PROGRESS:
                progress = fields.get("progress")
                self.training = progress if isinstance(progress, dict) else {}
            case EventType.RUN_FINISHED:
                self.is_in_cell, self.ended = False, event.t
                self.status = str(fields.get("status"))
                self.reason = str(fields.get("reason", ""))
            case _:
                return
        if self._on_change is not None:
            self._on_change(self)

    def elapsed(self, now: float | None = None) -> float:
        """Return the seconds since it started, at its end or at `now` (seconds since 1970)."""
        if self.started is None:
            return 0.0
        until = self.ended if self.ended is not None else time.time() if now is None else now
        return max(0.0, until - self.started)

    def to_json(self, now: float | None = None) -> dict[str, JSON]:
        """Return where it stands; `cell` counts from 0."""
        return {
            "status": self.status,
            "cell": self.cell,
            "cells": self.cells,
            "elapsed": round(self.elapsed(now), 3),
            "line": self.line,
            "training": dict(self.training) or None,
        }

    def place(self) -> str:
        """Return "cell 3 of 20"."""
        if self.cell is None:
            return "starting" if self.ended is None else ""
        return f"cell {self.cell + 1} of {self.cells}"

    def steps(self) -> tuple[float, float | None]:
        """Return the step that the training is at, and how many there are, where that is known."""
        step, steps = self.training.get("step"), self.training.get("steps")
        return (
            float(step) if _is_number(step) else 0.0,
            float(steps) if _is_number(steps) else None,
        )

    def training_line(self) -> str:
        """Return "step 40 of 200 loss 0.31"; nothing where nothing is trained."""
        if not self.training:
            return ""
        step, steps = self.steps()
        words = [f"step {step:g} of {'?' if steps is None else f'{steps:g}'}"]
        words += [
            f"{name} {value:.4g}"
            for name, value in self.training.items()
            if name not in ("step", "steps") and _is_number(value)
        ]
        return " ".join(words)

    def __str__(self) -> str:
        parts = [self.place(), duration(self.elapsed())]
        if self.ended is not None:
            parts.insert(0, self.status)
        return " · ".join(part for part in (*parts, self.training_line(), self.line) if part)

    def _begin(self, event: Event) -> None:
        # Also of a second attempt, which begins anew.
        self.cells, self.cell = _whole(event.fields.get("cells")) or 0, None
        self.status, self.started, self.ended = "running", event.t, None
        self.is_in_cell, self.training, self.line, self._open = False, {}, "", ""

    def _show(self, output: Any) -> None:
        if not isinstance(output, Mapping):
            return
        match output.get("output_type"):
            case "stream":
                self._write(_text(output.get("text")))
            case "error":
                self._write(f"\n{output.get('ename')}: {output.get('evalue')}\n")
            case _:
                data = output.get("data")
                text = data.get("text/plain") if isinstance(data, Mapping) else None
                self._write(f"\n{_text(text)}\n")

    def _write(self, text: str) -> None:
        """Take in printed text as a terminal would: what follows a return overwrites the line."""
        *whole, self._open = (self._open + text)[-20 * _LONGEST :].split("\n")
        self._open = self._open[-_LONGEST:]
        for line in (self._open, *reversed(whole)):
            # A return at the end only announces the next refresh.
            if shown := _plain(line.rstrip("\r").rsplit("\r", 1)[-1]):
                self.line = shown
                return


def _plain(line: str) -> str:
    return _CONTROLS.sub(" ", _ESCAPES.sub("", line)).strip()[:_LONGEST]


def _text(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
