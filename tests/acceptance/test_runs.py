"""How a run ends, as the person who started it learns it: status, exit code, notebook."""

import signal
import stat
from pathlib import Path
from typing import Any

import nbformat
import pytest

from nbprod.core.digest import digest_file
from tests.acceptance.conftest import Cli, cells_started, processes_of, wait_for, write_notebook

THREE = ("print('one')", "{}", "print('three')")


def statuses(run: dict[str, Any]) -> list[str]:
    """Return what the executed notebook says of each cell of the template, and of the injected."""
    notebook = nbformat.read(run["notebook"], as_version=4)
    return [cell.metadata.nbprod.status for cell in notebook.cells if "nbprod" in cell.metadata]


def assert_final(run: dict[str, Any]) -> None:
    """The executed notebook is read-only, and the store knows its digest."""
    path = Path(run["notebook"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert digest_file(path) == run["notebook_digest"]


def test_any_papermill_notebook_runs_without_ceremony(team: Cli, tmp_path: Path) -> None:
    path = write_notebook(
        tmp_path / "elsewhere" / "plain.ipynb",
        "import scrapbook as sb\nsb.glue('doubled', alpha * 2)\nsb.glue('words', ['a', 'b'])",
        parameters="alpha = 0.6\nname = 'x'",
    )
    before = path.read_bytes()

    done = team("run", path, "-p", "alpha=0.1", "-p", "name=3", "--quiet")

    run = team.json("runs", "show", "latest")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1:] == [
        "  Every cell finished.",
        "  doubled = 0.2",
        '  words = ["a", "b"]',
        f"  notebook: {run['notebook']}",
    ]
    assert run["parameters"] == {"alpha": 0.1, "name": "3"}
    assert path.read_bytes() == before
    assert statuses(run) == ["ok", "ok", "ok"]
    assert_final(run)
    assert team.ok("runs", "open", "latest", "--print") == f"{run['notebook']}\n"
    assert team.ok("runs", "list").splitlines()[1].split()[:3] == [
        run["id"],
        run["template"],
        "succeeded",
    ]


def test_a_cell_that_raises(team: Cli) -> None:
    path = team.folder / "notebooks" / "raises.ipynb"
    write_notebook(path, "import nbprod; nbprod.glue('before', 1)", "1 / 0", "print('three')")

    done = team("run", path, "--quiet")

    run = team.json("runs", "show", "latest")
    assert done.code == 1
    assert done.err == (f"\n{run['reason']}\nSee what happened: nbprod runs show {run['id']}\n")
    assert run["reason"] == "Cell 2 raised ZeroDivisionError: division by zero"
    assert (run["status"], run["error"]["type"]) == ("failed", "ZeroDivisionError")
    assert run["scraps"]["before"]["value"] == 1
    assert statuses(run) == ["ok", "error", "not_run"]
    assert_final(run)
    assert "ZeroDivisionError" in team.ok("runs", "show", run["id"])


@pytest.mark.parametrize(
    ("middle", "code", "status", "said", "cells"),
    [
        (
            "import sys; sys.exit(0)",
            1,
            "failed",
            "Cell 2 called sys.exit(0), so the cells below it were not run. "
            "To end a run early on purpose, call nbprod.stop(reason).",
            ["ok", "error", "not_run"],
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            1,
            "failed",
            "The kernel died (killed by SIGKILL) while cell 2 was running.",
            ["ok", "error", "not_run"],
        ),
        (
            "import nbprod; nbprod.stop('nothing new today')",
            0,
            "succeeded",
            "nbprod.stop ended the run in cell 2: nothing new today",
            ["ok", "ok", "not_run"],
        ),
    ],
    ids=["exit", "killed kernel", "stop"],
)
def test_a_run_that_ends_half_way(
    team: Cli, middle: str, code: int, status: str, said: str, cells: list[str]
) -> None:
    path = team.folder / "notebooks" / "half.ipynb"
    write_notebook(path, *(cell.format(middle) for cell in THREE))

    done = team("run", path, "--quiet")

    run = team.json("runs", "show", "latest")
    assert (run["reason"], run["status"], done.code) == (said, status, code)
    assert said in (done.out if code == 0 else done.err)
    assert statuses(run) == cells
    assert_final(run)
    assert processes_of(team.folder) == []


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
    ids=["ctrl-c", "terminate", "closed terminal"],
)
def test_a_run_that_is_stopped_from_outside(team: Cli, number: int) -> None:
    path = team.folder / "notebooks" / "slow.ipynb"
    write_notebook(path, "print('one')", "import time; time.sleep(600)", "print('three')")
    process = team.start("run", path, "--quiet")
    wait_for(lambda: cells_started(team.folder) == 2, "the second cell")

    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    run = team.json("runs", "show", "latest")
    assert (process.returncode, out) == (1, "")
    assert err.strip() == f"Cancelled. See how far it came: nbprod runs show {run['id']}"
    assert (run["status"], run["reason"]) == (
        "cancelled",
        "The run was cancelled while cell 2 was running.",
    )
    assert statuses(run) == ["ok", "interrupted", "not_run"]
    assert_final(run)
    assert processes_of(team.folder) == []


def test_a_run_outlives_its_terminal_under_nohup(team: Cli) -> None:
    path = team.folder / "notebooks" / "slow.ipynb"
    write_notebook(
        path,
        "import time, nbprod\nwhile not nbprod.path('go').exists():\n    time.sleep(0.05)",
    )
    process = team.start("run", path, "--quiet", before=("nohup",))
    wait_for(lambda: cells_started(team.folder) == 1, "the first cell")

    process.send_signal(signal.SIGHUP)
    (team.folder / "go").touch()
    process.communicate(timeout=60)

    assert process.returncode == 0
    assert team.json("runs", "show", "latest")["status"] == "succeeded"


def test_who_reads_the_progress_does_not_decide_how_a_run_ends(team: Cli) -> None:
    path = team.folder / "notebooks" / "slow.ipynb"
    write_notebook(
        path,
        "import time, nbprod\nwhile not nbprod.path('go').exists():\n    time.sleep(0.05)",
        "import time; time.sleep(6)",  # progress is written at most every five seconds
        "print('three')",
    )
    process = team.start("run", path)
    assert process.stderr is not None
    wait_for(lambda: cells_started(team.folder) == 1, "the first cell")

    process.stderr.close()  # as `nbprod run ... 2>&1 | head` does
    (team.folder / "go").touch()
    assert process.wait(timeout=60) == 0
    assert process.stdout is not None
    process.stdout.close()

    run = team.json("runs", "show", "latest")
    assert (run["status"], run["reason"]) == ("succeeded", "Every cell finished.")
    assert_final(run)


def test_two_runs_at_once_in_a_new_workspace(team: Cli) -> None:
    path = write_notebook(
        team.folder / "templates" / "count.ipynb",
        "import nbprod; nbprod.glue('next', number + 1)",
        parameters="number = 0",
    )

    both = [team.start("run", path, "-p", f"number={number}", "--quiet") for number in (1, 2)]
    ends = [process.communicate(timeout=120) for process in both]

    assert [process.returncode for process in both] == [0, 0], ends
    runs = [team.json("runs", "show", run["id"]) for run in team.json("runs", "list")]
    assert {run["scraps"]["next"]["value"] for run in runs} == {2, 3}
    assert len({run["folder"] for run in runs}) == 2


def test_runs_are_compared_by_what_differs(team: Cli) -> None:
    path = write_notebook(
        team.folder / "templates" / "power.ipynb",
        "import nbprod; nbprod.glue('power', base ** exponent)",
        parameters="base = 2\nexponent = 3",
    )
    one, two = (team.json("run", path, "-p", f"exponent={n}")["id"] for n in (3, 4))

    compared = team.json("runs", "compare", one, two)
    shown = team.ok("runs", "compare", one, two).splitlines()

    assert compared["runs"] == [one, two]
    assert compared["rows"]["parameters.exponent"] == [3, 4]
    assert compared["rows"]["power"] == [8.0, 16.0]
    assert "parameters.base" not in compared["rows"]
    assert shown[0].split() == [one, two]
    assert [line.split() for line in shown if line.startswith("power")] == [["power", "8", "16"]]
    day = one[:8]
    assert team("runs", "show", day).err == (
        f"{day!r} is the beginning of more than one run.\n"
        f"It could be {one}, {two}.\n"
        f"Write one more digit of the id: nbprod runs show {one}\n"
    )
    assert team("runs", "show", "19990101").err == (
        f"There is no run '19990101'.\nThe latest: {two}, {one}.\nSee them all: nbprod runs list\n"
    )


def test_a_run_that_goes_on_is_shown_as_such(team: Cli) -> None:
    path = team.folder / "notebooks" / "slow.ipynb"
    write_notebook(
        path,
        "import time, nbprod\nwhile not nbprod.path('go').exists():\n    time.sleep(0.05)",
    )
    process = team.start("run", path, "--quiet")
    wait_for(lambda: cells_started(team.folder) == 1, "the first cell")

    shown = team.ok("runs", "show", "latest").splitlines()
    (team.folder / "go").touch()
    process.communicate(timeout=60)

    assert shown[0].endswith("notebooks/slow.ipynb  running")
    assert shown[1].endswith(" s ago, still running")
    assert "  notebook  not yet" in shown


def test_a_list_says_why_it_is_empty(team: Cli) -> None:
    assert team("runs", "list").err == "No runs yet. Start one with: nbprod run TEMPLATE\n"
    none = "No such runs. See them all: nbprod runs list\n"
    assert team("runs", "list", "--template", "fit").err == none
    assert team("runs", "list", "--status", "lost").err == none
    for limit in (0, -1):
        refused = team("runs", "list", "--limit", limit)
        assert (refused.code, refused.out) == (2, "")
        assert f"Invalid value for '--limit': {limit} is not in the range x>=1." in refused.err
