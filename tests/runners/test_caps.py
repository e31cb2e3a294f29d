"""A run whose cells show too much: its notebook stays small, its files have everything."""

from datetime import timedelta

import nbformat

from nbprod.core.events import EventType
from nbprod.core.outputs import OutputCaps
from nbprod.core.runs import RunStatus
from nbprod.notebook.scraps import read_scraps
from tests.runners.conftest import Make

SMALL = OutputCaps(max_bytes=1_000, max_count=3)


def test_a_flood_of_text_is_kept_beside_the_notebook(attempt: Make) -> None:
    made = attempt("for i in range(5_000): print(i)", "print('next')", caps=SMALL)

    result = made.execute()

    everything = "".join(f"{i}\n" for i in range(5_000))
    kept, mark = made.cells()[0]["outputs"]
    assert result.status is RunStatus.SUCCEEDED
    assert (made.request.folder / "outputs/cell-1-stdout.txt").read_text() == everything
    assert everything.startswith("".join(kept["text"]))
    assert len("".join(kept["text"])) == 1_000
    assert mark["metadata"]["nbprod"]["cut"] == {
        "what": "stdout",
        "file": "outputs/cell-1-stdout.txt",
        "kept": 1_000,
        "whole": len(everything),
        "unit": "bytes",
    }
    assert "".join(mark["data"]["text/plain"]).endswith("4998\n4999\n")
    assert made.text(1) == "next\n"
    assert result.notebook is not None
    nbformat.validate(nbformat.read(result.notebook, as_version=4))


def test_a_scrap_is_never_cut(attempt: Make) -> None:
    made = attempt(
        "import nbprod\nfor i in range(9): display(i)\n"
        "nbprod.glue('long', 'x' * 50_000)\nfor i in range(9): nbprod.glue(f's{i}', i)",
        caps=SMALL,
    )

    result = made.execute()

    assert result.notebook is not None
    scraps = {name: scrap.value for name, scrap in read_scraps(result.notebook).items()}
    assert scraps == {"long": "x" * 50_000} | {f"s{i}": i for i in range(9)}
    assert len((made.request.folder / "outputs/cell-1-more.jsonl").read_text().splitlines()) == 6


def test_a_progress_bar_is_neither_cut_nor_journaled_step_by_step(attempt: Make) -> None:
    made = attempt(
        "import sys, time\n"
        "for i in range(401):\n"
        "    print(f'\\rstep {i} of 400, and so on', end='', file=sys.stderr, flush=True)\n"
        "    time.sleep(.002)",
        caps=SMALL,
    )

    made.execute()

    assert made.text(0) == "step 400 of 400, and so on"
    assert len(made.seen(EventType.OUTPUT)) < 100
    assert made.seen(EventType.OUTPUT_CUT) == []


def test_a_notebook_of_a_killed_attempt_says_what_was_cut(attempt: Make) -> None:
    made = attempt(
        "import os, signal, sys, time\nprint('x' * 5_000, flush=True)\ntime.sleep(600)",
        caps=SMALL,
        timeout=timedelta(minutes=5),
    )

    def kill(event: object) -> None:
        import os
        import signal

        if made.seen(EventType.OUTPUT_CUT):
            os.kill(made.seen(EventType.RUN_STARTED)[0]["pid"], signal.SIGKILL)

    result = made.execute(on_event=kill)

    assert result.status is RunStatus.FAILED
    assert [status for status, _ in made.statuses()] == ["interrupted"]
    assert "Cut: stdout, 1.0 KB of 5.0 KB are above; the whole is in" in made.text(0)


def test_large_outputs_are_written_less_than_three_times(attempt: Make) -> None:
    cell = "print('a line of text, as logs have it, of sixty characters\\n' * 3_400)"
    made = attempt(*[cell] * 20, caps=OutputCaps(max_bytes=None, max_count=None))

    result = made.execute()

    assert result.notebook is not None
    final = result.notebook.stat().st_size
    assert final > 4_000_000
    files = [path for path in made.request.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2.5 * final
