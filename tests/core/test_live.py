"""Where a run stands, told from its events alone."""

from typing import Any

import pytest

from nbprod.core.events import Event, EventType
from nbprod.core.live import Live


def live(*events: tuple[EventType, dict[str, Any]]) -> Live:
    """Return what is known after these, which came a second apart."""
    state = Live()
    for second, (kind, fields) in enumerate(events):
        state(Event(type=kind, t=1000.0 + second, fields=fields))
    return state


STARTED = (EventType.RUN_STARTED, {"cells": 3})
FIRST = (EventType.CELL_STARTED, {"cell": 0})


def out(text: str) -> tuple[EventType, dict[str, Any]]:
    output = {"output_type": "stream", "name": "stdout", "text": text}
    return EventType.OUTPUT, {"cell": 0, "output": output}


def test_a_run_from_queued_to_its_end() -> None:
    progress = {"step": 4, "steps": 10, "loss": 0.12345, "note": "x"}
    seen = []
    state = Live(lambda now: seen.append(str(now)))
    for second, (kind, fields) in enumerate(
        [
            STARTED,
            FIRST,
            out("one\n"),
            (EventType.PROGRESS, {"cell": 0, "progress": progress}),
            (EventType.CELL_FINISHED, {"cell": 0, "status": "ok"}),
            (EventType.CELL_STARTED, {"cell": 1}),
            (EventType.METADATA, {"metadata": {}}),
            (EventType.RUN_FINISHED, {"status": "failed", "reason": "No."}),
        ]
    ):
        state(Event(type=kind, t=1000.0 + second, fields=fields))

    assert str(Live()) == "starting · 0.0 s"
    assert state.to_json() == {
        "status": "failed",
        "cell": 1,
        "cells": 3,
        "elapsed": 7.0,
        "line": "one",
        "training": None,
    }
    assert (state.reason, state.is_in_cell) == ("No.", False)
    assert len(seen) == 7  # metadata changes nothing that is shown
    assert str(state) == "failed · cell 2 of 3 · 7.0 s · one"


def test_training_is_told_with_its_numbers() -> None:
    state = live(STARTED, FIRST, (EventType.PROGRESS, {"progress": {"step": 4, "loss": 0.12345}}))

    assert state.steps() == (4.0, None)
    assert state.training_line() == "step 4 of ? loss 0.1235"


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (["one\ntwo\n"], "two"),
        (["one\n", "tw", "o"], "two"),
        (["one\n\n  \n"], "one"),
        (["10 %\r", "20 %\r", "30 %"], "30 %"),
        (["10 %\r20 %\r"], "20 %"),
        (["done\r\n"], "done"),
        (["\x1b[31mred\x1b[0m\x1b]0;title\x07 \x1b[2Jx"], "red x"),
        (["a\tb\x08c\u202ed"], "a b c d"),
        (["x" * 100_000], "x" * 2000),
        (["first\n" + "y" * 100_000 + "\nlast\n"], "last"),
        ([], ""),
    ],
    ids=[
        "lines",
        "pieces",
        "blank lines",
        "refreshes",
        "a refresh to come",
        "a line's end",
        "escapes",
        "controls",
        "a line without end",
        "a long line",
        "nothing",
    ],
)
def test_the_last_line_is_what_a_terminal_would_show(printed: list[str], line: str) -> None:
    assert live(STARTED, FIRST, *map(out, printed)).line == line


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ({"output_type": "execute_result", "data": {"text/plain": "   a\n0  1"}}, "0  1"),
        ({"output_type": "display_data", "data": {"image/png": "AAAA"}}, "before"),
        ({"output_type": "display_data", "data": {"text/plain": ["a\n", "b"]}}, "b"),
        ({"output_type": "error", "ename": "ValueError", "evalue": "bad"}, "ValueError: bad"),
        (None, "before"),
    ],
)
def test_what_is_shown_without_being_printed_has_a_last_line_too(output: Any, line: str) -> None:
    shown = (EventType.OUTPUT, {"cell": 0, "output": output})

    assert live(STARTED, FIRST, out("before\n"), shown).line == line


def test_of_an_output_that_was_cut_the_end_is_told() -> None:
    cut = (EventType.OUTPUT_CUT, {"cell": 0, "what": "stdout", "tail": "epoch 8\nepoch 9"})

    assert live(STARTED, FIRST, out("epoch 1\n"), cut).line == "epoch 9"


def test_another_attempt_begins_anew() -> None:
    state = live(
        STARTED, FIRST, out("one\n"), (EventType.RUN_FINISHED, {"status": "lost"}), STARTED
    )

    assert state.to_json(1005.0) == {
        "status": "running",
        "cell": None,
        "cells": 3,
        "elapsed": 1.0,
        "line": "",
        "training": None,
    }


@pytest.mark.parametrize(
    "fields", [{}, {"progress": None}, {"progress": {"step": "many", "steps": []}}, {"cell": "x"}]
)
@pytest.mark.parametrize("kind", EventType)
def test_events_without_sense_do_no_harm(kind: EventType, fields: dict[str, Any]) -> None:
    state = live(STARTED, FIRST, (kind, fields))

    assert str(state)
    assert state.to_json()
