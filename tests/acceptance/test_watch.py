"""`nbprod runs watch`, from another process than the one that runs."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import nbprod
from nbprod.core.events import Event
from nbprod.core.runs import RunStatus
from tests.acceptance.conftest import (
    NBPROD,
    Cli,
    cells_started,
    journal,
    make_workspace,
    processes_of,
    wait_for,
    write_notebook,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Goes on as soon as a file is there: no test depends on how long anything takes.
WAIT = "import time, nbprod\nwhile not nbprod.path('go').exists():\n    time.sleep(0.02)"


def slow(team: Cli, *after: str) -> Path:
    """Write a notebook whose second cell prints, trains, and waits for the file `go`."""
    train = "from nbprod.notebook.kernel import progress\nprogress(step=3, steps=9, loss=0.5)"
    path = team.folder / "notebooks" / "slow.ipynb"
    return write_notebook(path, "1", f"print('in it', flush=True)\n{train}\n{WAIT}", *after)


@contextmanager
def started(team: Cli, *arguments: object) -> "Iterator[subprocess.Popen[str]]":
    """Start a command that is ended in any case."""
    process = team.start(*arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def objects(text: str) -> list[dict[str, Any]]:
    """Return the objects of lines of JSON."""
    return [json.loads(line) for line in text.splitlines()]


def until(process: "subprocess.Popen[str]", event: str) -> list[dict[str, Any]]:
    """Read lines of JSON up to the first of that event."""
    assert process.stdout is not None
    found = []
    while line := process.stdout.readline():
        found.append(json.loads(line))
        if found[-1]["event"] == event:
            return found
    raise AssertionError(f"ended without {event}: {found}")


def test_a_running_run_is_watched_live_to_its_end(team: Cli) -> None:
    path = slow(team, "print('the end')")
    with started(team, "run", path, "--quiet") as run:
        wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
        with started(team, "runs", "watch", "latest", "--json") as watch:
            seen = until(watch, "progress")
            is_running = run.poll() is None
            (team.folder / "go").touch()
            out, err = watch.communicate(timeout=60)
            run.communicate(timeout=60)
            codes = (watch.returncode, run.returncode)

    (shown,) = team.json("runs", "list")
    last = seen[-1]
    assert is_running
    assert (codes, err) == ((0, 0), "")
    assert [item["event"] for item in seen[:3]] == ["run_started", "cell_started", "cell_finished"]
    assert {item["run"] for item in seen} == {shown["id"]}
    assert (last["status"], last["cell"], last["cells"], last["line"]) == ("running", 1, 3, "in it")
    assert last["training"] == {"step": 3, "steps": 9, "loss": 0.5}
    assert last["elapsed"] > 0
    *_, finished, final = objects(out)
    assert (finished["event"], finished["status"]) == ("run_finished", "succeeded")
    assert (finished["cell"], finished["line"]) == (2, "the end")
    assert (final["event"], final["status"]) == ("final", "succeeded")
    assert final["usage"] == shown["usage"]
    assert final["usage"]["peak_rss_bytes"] > 10_000_000


def test_a_finished_run_is_told_at_once(team: Cli) -> None:
    path = write_notebook(
        team.folder / "notebooks" / "quick.ipynb", "import nbprod; nbprod.glue('answer', 42)"
    )
    ran = team("run", path, "--quiet")

    watched = team("runs", "watch", "latest")

    assert (watched.code, watched.out) == (0, ran.out)
    assert watched.err.startswith("notebooks/quick.ipynb: started, 1 cell\n")


def test_a_failed_run_ends_the_watching_with_its_code_and_reason(team: Cli) -> None:
    path = write_notebook(team.folder / "notebooks" / "fails.ipynb", "1 / 0", "2")
    ran = team("run", path, "--quiet")

    watched = team("runs", "watch", "latest", "--quiet")
    lines = team("runs", "watch", "latest", "--json")

    assert (watched.code, watched.out, watched.err) == (1, ran.out, ran.err)
    assert "Cell 1 raised ZeroDivisionError: division by zero" in watched.err
    final = objects(lines.out)[-1]
    assert (lines.code, lines.err) == (1, "")
    assert (final["status"], final["error"]["type"]) == ("failed", "ZeroDivisionError")


def test_a_run_whose_supervisor_vanishes_while_it_is_watched_is_lost(tmp_path: Path) -> None:
    team = make_workspace(tmp_path / "team", lease=6.0)
    path = slow(team)
    with started(team, "run", path, "--quiet") as run:
        wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
        with started(team, "runs", "watch", "latest", "--json") as watch:
            until(watch, "progress")

            run.kill()
            out, err = watch.communicate(timeout=60)
            code = watch.returncode

    final = objects(out)[-1]
    (shown,) = team.json("runs", "list")
    assert (code, err) == (1, "")
    assert (final["event"], final["status"]) == ("final", "lost")
    assert final["reason"] == shown["reason"] != ""
    assert final["usage"] == shown["usage"]
    assert final["usage"]["cpu_seconds"] >= 0  # of the cell that had finished
    assert wait_for(lambda: not processes_of(team.folder), "every process of the run is gone")
    # and who comes later is told the same
    again = team("runs", "watch", "latest", "--json")
    assert (again.code, objects(again.out)[-1]) == (1, final)


def test_whoever_stops_watching_stops_nothing_else(team: Cli) -> None:
    path = slow(team)
    with started(team, "run", path, "--quiet") as run:
        wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
        with started(team, "runs", "watch", "latest", "--json") as watch:
            (beginning, *_) = until(watch, "progress")
            watch.send_signal(signal.SIGINT)
            _, err = watch.communicate(timeout=60)
            code = watch.returncode
        is_running = run.poll() is None
        (team.folder / "go").touch()
        run.communicate(timeout=60)

    assert (is_running, run.returncode, code) == (True, 0, 1)
    assert err == (
        "No longer watched; the run goes on. "
        f"Watch it again: nbprod runs watch {beginning['run']}\n"
    )


def test_who_reads_the_watching_may_leave(team: Cli) -> None:
    path = slow(team)
    with started(team, "run", path, "--quiet") as run:
        wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
        with started(team, "runs", "watch", "latest", "--json") as watch:
            until(watch, "run_started")
            assert watch.stdout is not None
            watch.stdout.close()  # as `| head -1` does
            (team.folder / "go").touch()
            assert watch.wait(timeout=60) == 0
            assert watch.stderr is not None
            assert watch.stderr.read() == ""
            watch.stdout = None
        run.communicate(timeout=60)
    assert run.returncode == 0


def test_an_unknown_run_is_named(team: Cli) -> None:
    watched = team("runs", "watch", "20200101")

    assert watched.code == 2
    assert "20200101" in watched.err


def test_in_python_a_run_of_another_process_is_watched_as_ones_own(team: Cli) -> None:
    path = slow(team)
    ws = nbprod.open(team.folder)
    lines: list[str] = []
    events: list[Event] = []
    trains = threading.Event()

    def progress(event: Event) -> None:
        events.append(event)
        live(event)
        if live.training:
            trains.set()

    live = nbprod.Live(lambda now: lines.append(str(now)))
    with started(team, "run", path, "--quiet") as run:
        wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
        threading.Thread(
            target=lambda: trains.wait(60) and (team.folder / "go").touch(), daemon=True
        ).start()

        record = ws.watch("latest", progress=progress)
        run.communicate(timeout=60)

    own: list[Event] = []
    mine = ws.run(path, progress=own.append)
    assert record.status is RunStatus.SUCCEEDED
    assert [event.type for event in events[:2]] == ["run_started", "metadata"]
    assert any("cell 2 of 2 · " in line and "step 3 of 9 loss 0.5" in line for line in lines)
    assert lines[-1].startswith("succeeded · cell 2 of 2")
    kinds = {"run_started", "cell_started", "progress", "cell_finished", "run_finished"}
    assert kinds <= {event.type.value for event in events} & {event.type.value for event in own}
    assert mine.status is RunStatus.SUCCEEDED


def test_on_a_terminal_the_view_has_cell_training_and_last_line(team: Cli) -> None:
    path = slow(team)
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = team.start("run", path, "--quiet")
    wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
    environment = {**os.environ, "TERM": "xterm"}
    environment = {key: text for key, text in environment.items() if key != "NO_COLOR"}
    watch = subprocess.Popen(
        [str(NBPROD), "runs", "watch", "latest"],
        cwd=team.folder,
        env=environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while not (b"in it" in shown and b"loss 0.5" in shown):  # drawn only while the cell runs
        shown += os.read(ours, 10_000)
    (team.folder / "go").touch()
    with suppress(OSError):  # what Linux says when the other end is closed
        while True:
            shown += os.read(ours, 10_000)
    os.close(ours)
    seen = shown.decode()
    out, _ = watch.communicate(timeout=60)
    process.communicate(timeout=60)

    assert (watch.returncode, process.returncode) == (0, 0)
    for part in ("notebooks/slow.ipynb", "cell 2 of 2", "training", "step 3 of 9 loss 0.5"):
        assert part in seen
    assert "succeeded" in out


def test_runs_show_says_what_was_used(team: Cli) -> None:
    path = write_notebook(
        team.folder / "notebooks" / "burns.ipynb",
        "x = bytearray(150_000_000); x[::4096] = bytes(len(x[::4096])); del x",
        "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass",
    )
    team.ok("run", path, "--quiet")

    shown = team.json("runs", "show", "latest")
    text = team.ok("runs", "show", "latest")

    large, busy = shown["cells"]
    assert (large["cell"], large["status"], busy["cell"]) == (0, "ok", 1)
    assert large["usage"]["peak_rss_bytes"] > 150_000_000
    assert large["usage"]["peak_rss_bytes"] == shown["usage"]["peak_rss_bytes"]
    assert busy["usage"]["cpu_seconds"] >= 0.3
    assert busy["seconds"] >= 0.3
    assert shown["usage"]["cpu_seconds"] > busy["usage"]["cpu_seconds"]
    peak = shown["usage"]["peak_rss_bytes"] / 1e6
    assert f"of CPU time, {peak:.1f} MB of memory at most" in text
    assert "peak_gpu_bytes" in shown["usage"]


@pytest.mark.parametrize("limit", ["memory: 300MB", "timeout: 15s"])
def test_a_limit_of_the_template_ends_its_run(team: Cli, limit: str) -> None:
    grow = (
        "held = []\nwhile True:\n    held.append(bytes(range(250)) * 80_000)\n    time.sleep(0.01)"
    )
    path = write_notebook(
        team.folder / "templates" / "greedy.ipynb",
        "import time",
        grow if "memory" in limit else "time.sleep(600)",
        front_matter=f"resources: {{{limit}}}",
    )

    done = team("run", path, "--quiet")

    run = team.json("runs", "show", "latest")
    assert (done.code, run["status"]) == (1, "failed")
    assert run["reason"] in done.err
    if "memory" in limit:
        assert run["error"]["type"] == "OutOfMemory"
        assert run["reason"].startswith(
            "The run used more memory than its limit of 300.0 MB (it held "
        )
        assert run["usage"]["peak_rss_bytes"] > 300_000_000
    else:
        assert run["error"]["type"] == "TimedOut"
        assert run["reason"] == (
            "The run took longer than its timeout of 15 s; it ended while cell 3 was running."
        )
    assert processes_of(team.folder) == []
    assert [event["type"] for event in journal(team.folder)].count("run_finished") == 1
