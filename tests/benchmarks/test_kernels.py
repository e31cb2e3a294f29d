"""`make bench-kernels` works, small: every contender executes, and what is promised is judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER)]

from figures import Figure  # noqa: E402
from warm.cases import cases, difference, notebook_of, printed_in, quick_cases  # noqa: E402
from warm.contenders import PLOOMBER  # noqa: E402
from warm.load import Load, Look, growth  # noqa: E402
from warm.load import figures as figures_of_load  # noqa: E402
from warm.promises import each_cell, same_outputs, speeds, writing  # noqa: E402
from warm.rounds import Rounds, Sample, table  # noqa: E402
from warm.shutdowns import Shutdowns  # noqa: E402
from warm.shutdowns import figures as figures_of_shutdowns  # noqa: E402

MIB = 2**20


def rounds(*medians: tuple[str, str, float, int]) -> Rounds:
    """Executions of a megabyte's notebook, two around each median."""
    return Rounds(
        samples=[
            Sample(case=case, contender=name, seconds=seconds, written=written, size=1_000_000)
            for case, name, median, written in medians
            for seconds in (median * 0.9, median, median * 1.2)
        ]
    )


def held(figures: list[Figure]) -> dict[str, bool | None]:
    return {figure.name: figure.holds for figure in figures}


@pytest.fixture(scope="module")
def quick(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """What the program writes and prints when it is quick."""
    folder = tmp_path_factory.mktemp("bench")
    done = subprocess.run(
        [sys.executable, FOLDER / "bench_kernels.py", "--quick", "--out", folder],
        env=os.environ | {"NBPROD_WARM": "on"},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    return folder, done


@pytest.mark.timeout(600)  # eleven programs' imports, some of them twice
def test_quick_mode_has_every_contender_execute_every_notebook_and_print_the_same(
    quick: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    folder, done = quick

    assert done.returncode in (0, 1), done.stderr  # 1: a figure does not hold on busy cores
    report = json.loads((folder / "kernels-quick.json").read_text())
    expected = {
        *("nbprod-spares", "nbprod-on-demand", "nbprod-command", "nbclient-warm"),
        *("script", "papermill", "papermill-in-process", "nbclient", "nbconvert"),
        *(["ploomber"] if PLOOMBER.exists() else []),
    }
    executed = {(it["notebook"], it["contender"]) for it in report["executions"]}
    assert executed == {(case, name) for case in quick_cases() for name in expected}
    assert report["notes"] == ([] if PLOOMBER.exists() else report["notes"][:1])


@pytest.mark.timeout(600)
def test_quick_mode_looks_at_load_shutdowns_and_memory_and_leaves_nothing(
    quick: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    folder, done = quick

    report = json.loads((folder / "kernels-quick.json").read_text())
    holds = {figure["name"]: figure["holds"] for figure in report["figures"]}
    assert holds["its runs, with their scraps in the store"] is True, done.stdout
    assert holds["their users' atexit handlers"] is True, done.stdout
    assert holds["outputs, compared after every execution"] is True, done.stdout
    assert report["load"]["left"] == []
    assert report["load"]["sockets_left"] == []
    assert (folder / "kernels-quick.png").read_bytes().startswith(b"\x89PNG")
    assert "| median seconds" in done.stdout


def test_every_notebook_is_known_to_print_what_its_script_prints(tmp_path: Path) -> None:
    case = cases()["cells20"]

    notebook = case.write(tmp_path)

    script = [sys.executable, notebook.with_suffix(".py")]
    assert subprocess.check_output(script, text=True) == "".join(case.printed)


def test_a_cell_that_prints_something_else_is_a_difference(tmp_path: Path) -> None:
    case = quick_cases()["empty"]
    notebook = notebook_of(case.cells)
    stream = {"output_type": "stream", "name": "stdout", "text": ["a\n", "b"]}
    notebook["cells"][0]["outputs"] = [stream]
    path = tmp_path / "executed.ipynb"
    path.write_text(json.dumps(notebook))

    assert difference(case, printed_in(path)) == "cell 1 printed 3 characters instead of 0: 'a\\nb'"
    assert difference(case, ("", "")) == "2 cells instead of 1"


def test_an_output_that_no_cell_asked_for_is_refused(tmp_path: Path) -> None:
    notebook = notebook_of(["pass"])
    stream = {"output_type": "stream", "name": "stderr", "text": "warning"}
    notebook["cells"][0]["outputs"] = [stream]
    path = tmp_path / "executed.ipynb"
    path.write_text(json.dumps(notebook))

    with pytest.raises(ValueError, match="no cell asked for"):
        printed_in(path)


def test_speeds_are_ratios_of_medians_held_to_what_is_promised() -> None:
    found = rounds(
        ("heavy", "nbprod-spares", 0.07, 1),
        ("heavy", "nbprod-on-demand", 0.5, 1),
        ("heavy", "papermill-in-process", 4.7, 1),
        ("empty", "nbprod-command", 0.2, 1),
        ("empty", "papermill", 1.1, 1),
    )

    figures = [judged.figure for judged in speeds(found)]

    assert held(figures) == {
        "heavy imports, from an open workspace with spares": True,
        "heavy imports, on demand": False,
        "`nbprod run empty.ipynb` as a command": True,
    }
    assert figures[0].ratio == "67.1 x faster than papermill in-process"
    assert figures[0].measured == "70 ms; 4.70 s"


def test_being_60_times_faster_does_not_hold_above_90_ms() -> None:
    found = rounds(("heavy", "nbprod-spares", 0.1, 1), ("heavy", "papermill-in-process", 10.0, 1))

    assert [judged.figure.holds for judged in speeds(found)] == [False]


def test_a_cell_costs_what_200_cells_cost_beyond_none() -> None:
    found = rounds(("cells200", "nbprod-spares", 1.05, 1), ("empty", "nbprod-spares", 0.056, 1))

    (figure,) = each_cell(found)

    assert (figure.measured, figure.holds) == ("5.0 ms", True)


def test_writing_is_held_to_three_times_the_file_and_to_a_run_that_saves_once() -> None:
    found = rounds(
        ("outputs", "nbprod-spares", 1.4, 3_100_000),
        ("outputs", "papermill-in-process", 14.0, 102_000_000),
        ("outputs", "nbclient-warm", 1.0, 1_000_000),
    )

    figures = list(writing(found))

    assert held(figures) == {
        "100 x 200 KB: bytes written": False,
        "100 x 200 KB: wall time": False,
    }
    assert figures[0].ratio == "3.10 x the final file; papermill 102.0 x"
    assert figures[1].ratio == "1.40 x nbclient in a spare, which saves once"


def test_one_wrong_output_of_anyone_is_said() -> None:
    found = rounds(("empty", "papermill", 1.0, 1))
    found.wrong.append("papermill (command), empty: 2 cells instead of 1")

    found.executions = 8

    figure = same_outputs(found)

    assert (figure.measured, figure.holds) == ("7 of 8 right", False)


def test_the_table_has_a_contender_a_row_and_leaves_out_what_was_not_measured() -> None:
    class Someone:
        name, label = "papermill", "papermill (command)"

    found = rounds(("empty", "papermill", 1.1, 1))

    lines = table(found, [Someone()], list(quick_cases().values())).splitlines()  # type: ignore[list-item]

    assert lines[2].split("|")[1:4] == [" papermill (command) ", " 1.10  ", "            "]


def look(at: float, *, memory: int = 100 * MIB, descriptors: int = 20, zombies: int = 0) -> Look:
    return Look(
        at=at,
        runs=int(at * 5),
        zygotes_bytes=memory,
        workspaces_bytes=memory,
        zygotes_descriptors=descriptors,
        workspaces_descriptors=descriptors,
        processes=6,
        zombies=zombies,
        sockets=2,
    )


def load(looks: list[Look], **changed: object) -> Load:
    fields = {
        "seconds": 100.0,
        "latencies": [0.3] * 500,
        "looks": looks,
        "shutdowns": [0.03] * 500,
        "recorded": 500,
        "starts": {"spare": 490, "forked": 10},
    }
    return Load(**(fields | changed))  # type: ignore[arg-type]


def test_a_load_that_keeps_up_and_leaves_nothing_holds() -> None:
    figures = list(figures_of_load(load([look(at) for at in range(100)])))

    assert [figure.holds for figure in figures] == [True] * 5
    assert figures[0].measured == "5.00 runs/s (432,000 a day), median 300 ms"
    assert figures[0].ratio == "2.9 x Netflix's 150,000 a day"


@pytest.mark.parametrize(
    ("number", "found"),
    [
        (0, load([look(0)], seconds=200.0)),
        (1, load([look(0)], recorded=499)),
        (2, load([look(at, memory=(100 + at) * MIB) for at in range(100)])),
        (3, load([look(0), look(1, descriptors=21)])),
        (3, load([look(0), look(1, zombies=1)])),
        (3, load([look(0)], left=[4711])),
        (3, load([look(0)], sockets_left=["a.sock"])),
        (4, load([look(0)], stalls=["run: terminated, 2.50 s"])),
        (4, load([look(0)], shutdowns=[])),
    ],
)
def test_whatever_a_load_leaks_or_lacks_is_said(number: int, found: Load) -> None:
    assert [at for at, it in enumerate(figures_of_load(found)) if not it.holds] == [number]


def test_growth_is_from_the_second_fifth_to_the_last() -> None:
    assert growth([50, 10, 10, 20, 13]) == 3


def test_one_stalled_shutdown_or_missing_handler_is_said() -> None:
    calm = Shutdowns(runs=2, handled=2, seconds=[0.03, 0.05])
    stalled = Shutdowns(runs=2, handled=1, seconds=[0.03, 2.5], wrong=["run: killed, 2.50 s"])

    assert [it.holds for it in figures_of_shutdowns(calm)] == [True, True]
    assert [it.holds for it in figures_of_shutdowns(stalled)] == [False, False]
