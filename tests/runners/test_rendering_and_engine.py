"""The journal tells the whole notebook, and plain papermill may use the engine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from nbprod.core.events import Event, EventType
from nbprod.core.runner import JOURNAL_FILE
from nbprod.core.runs import RunStatus
from nbprod.notebook.journal import Journal, read_events, render
from nbprod.notebook.rendering import Rendering
from nbprod.notebook.scraps import read_scraps
from nbprod.runners.watch import in_words
from tests.runners.conftest import Make, notebook, read

EVERYTHING = [
    "# Title",
    "x = 1",
    "import sys, nbprod\nfrom IPython.display import display, clear_output, HTML\nprint(x)",
    "print('a', end=''); print('b'); print('e', file=sys.stderr)\nx",
    "handle = display(HTML('old'), display_id=True); handle.update(HTML('new'))",
    "print('gone'); nbprod.glue('kept', 1); clear_output(); print('stays')",
    "print('late'); clear_output(wait=True); print('new')",
    ("skipped", "skip"),
    "from nbprod.notebook.kernel import progress\n"
    "for i in range(3): progress(step=i + 1, steps=3, loss=.5)",
    "raise RuntimeError('end')",
    "never",
]


def test_the_attempts_notebook_is_what_the_journal_renders_to(attempt: Make) -> None:
    made = attempt(*EVERYTHING, injected="x = 2", parameters={"x": 2})
    result = made.execute()
    template = nbformat.read(made.request.notebook, as_version=4)

    rendered = render(template, read_events(made.request.folder / JOURNAL_FILE))

    assert result.notebook is not None
    written = nbformat.read(result.notebook, as_version=4)
    assert json.loads(nbformat.v4.writes(rendered)) == json.loads(nbformat.v4.writes(written))
    nbformat.validate(written)


def test_outputs_are_shown_as_jupyter_shows_them(attempt: Make) -> None:
    made = attempt(*EVERYTHING, injected="x = 2", parameters={"x": 2})

    made.execute()

    # The injected cell is 0: there is no parameters cell for it to follow.
    html = [
        "".join(output["data"]["text/html"])
        for cell in made.cells()
        for output in cell["outputs"]
        if "text/html" in output.get("data", {})
    ]
    assert html == ["new"]
    assert made.text(3) in ("ab\ne\n1", "e\nab\n1")
    assert made.text(5) == "stays\n"
    assert made.text(6) == "new\n"
    assert [cell["outputs"] for cell in made.cells()[7:9]] == [[], []]
    assert made.seen(EventType.PROGRESS)[-1]["progress"] == {"step": 3, "steps": 3, "loss": 0.5}


def test_injected_parameters_are_typed_source_and_json_metadata(attempt: Make) -> None:
    made = attempt(
        ("from datetime import date\nday = date(2020, 1, 1)", "parameters"),
        "print(type(day).__name__, day.year)",
        injected="from datetime import date\nday = date(2026, 11, 21)",
        parameters={"day": "2026-11-21"},
    )

    result = made.execute()

    assert result.notebook is not None
    metadata = json.loads(result.notebook.read_text())["metadata"]["papermill"]
    assert metadata["parameters"] == {"day": "2026-11-21"}
    assert made.text(2) == "date 2026\n"
    tags = [cell["metadata"].get("tags") for cell in made.cells()]
    assert tags == [["parameters"], ["injected-parameters"], None]


def test_without_parameters_nothing_is_injected(attempt: Make) -> None:
    made = attempt("1")

    made.execute()

    assert len(read(made.request.folder)) == 1


@pytest.mark.parametrize(
    ("printed", "kept"),
    [
        (["50 %\r", "100 %\r", "\n"], "100 %\n"),
        (["one\r\n", "two\n"], "one\ntwo\n"),
        (["a\rb", "\rc\n", "d"], "c\nd"),
        (["10 %\r20 %"], "20 %"),
    ],
)
def test_a_progress_bars_refreshes_are_kept_once(printed: list[str], kept: str) -> None:
    rendering = Rendering(notebook("x"))
    rendering.apply(Event(type=EventType.CELL_STARTED, t=1, fields={"cell": 0}))
    for text in printed:
        output = {"output_type": "stream", "name": "stdout", "text": text}
        rendering.apply(Event(type=EventType.OUTPUT, t=2, fields={"cell": 0, "output": output}))
    finish = {"cell": 0, "status": "ok", "execution_count": 1}
    rendering.apply(Event(type=EventType.CELL_FINISHED, t=3, fields=finish))

    assert [output.text for output in rendering.notebook().cells[-1].outputs] == [kept]


def test_a_torn_line_and_a_damaged_one_are_passed_over(attempt: Make) -> None:
    made = attempt("1", "2")
    made.execute()
    journal = made.request.folder / JOURNAL_FILE
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:5]) + b"\xff{nonsense\n" + lines[5][: len(lines[5]) // 2])

    events = list(read_events(journal))

    assert len(events) == 5
    rendered = render(nbformat.read(made.request.notebook, as_version=4), events)
    assert rendered.metadata.nbprod.status == "lost"
    nbformat.validate(rendered)


def test_the_journal_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"v": 1, "t": 1, "type": "cell_sta')

    with Journal(path) as journal:
        journal.append(EventType.CELL_STARTED, cell=3)

    assert [event.fields for event in read_events(path)] == [{"cell": 3}]


def test_undecodable_output_is_kept_and_the_notebook_is_valid(attempt: Make) -> None:
    made = attempt("print('ok \\udc80 \\u2028 end')")

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED
    assert made.text(0).startswith("ok ")
    assert made.text(0).endswith(" end\n")


def test_a_mime_type_that_nbformat_refuses_does_not_end_the_run(attempt: Make) -> None:
    made = attempt(
        "from IPython.display import display\n"
        "display({'application/vnd.vegalite.v5.json': {'mark': 'bar'}}, raw=True)"
    )

    result = made.execute()

    assert result.status is RunStatus.SUCCEEDED
    assert result.notebook is not None
    nbformat.validate(nbformat.read(result.notebook, as_version=4))


def test_a_module_in_the_folder_does_not_stand_in_for_the_librarys(
    attempt: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = attempt("1")
    (made.request.cwd / "json.py").write_text("raise RuntimeError('the wrong json')")
    monkeypatch.chdir(made.request.cwd)

    result = made.execute()

    assert result.reason == "Every cell finished."


def test_no_output_of_a_flood_is_lost(attempt: Make) -> None:
    # The reader stands still, so that the messages pile up in the kernel.
    made = attempt(
        "import os, signal, time, nbprod\nfrom IPython.display import display\n"
        "os.kill(os.getppid(), signal.SIGSTOP)\n"
        "for i in range(4000): display({'text/plain': str(i).rjust(5000)}, raw=True)\n"
        "nbprod.glue('last', 1)\n"
        "time.sleep(1)\n"
        "os.kill(os.getppid(), signal.SIGCONT)"
    )

    made.execute()

    assert len(made.cells()[0]["outputs"]) == 4001


def test_the_notebook_learns_its_run_folder_and_workspace(attempt: Make) -> None:
    made = attempt(
        "import os, nbprod\n"
        "print(os.environ['NBPROD_RUN']); print(nbprod.path('data/x.csv'))\n"
        "print(nbprod.output('model')); print(os.getcwd())"
    )

    made.execute()

    request = made.request
    assert made.text(0).splitlines() == [
        request.run,
        str(request.workspace / "data/x.csv"),
        str(request.folder / "scraps/model"),
        str(request.cwd),
    ]


def test_the_log_has_what_the_cells_printed(attempt: Make) -> None:
    made = attempt("print('hello')")

    made.execute()

    log = (made.request.folder / "log.txt").read_text()
    assert "nbprod.run: cell 1 started" in log
    assert "hello\n" in log
    assert "nbprod.run: succeeded: Every cell finished." in log


# plain papermill


def papermill(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", *arguments]
    environment = {key: value for key, value in os.environ.items() if "NBPROD" not in key}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_plain_papermill_runs_with_our_engine(tmp_path: Path) -> None:
    source = notebook(
        ("x = 1", "parameters"), "import nbprod\nnbprod.glue('x', x)", ("raise ValueError", "skip")
    )
    source.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(source, tmp_path / "in.ipynb")

    done = papermill(tmp_path, "--engine", "nbprod", "-p", "x", "5")

    assert done.returncode == 0, done.stderr
    scraps = read_scraps(tmp_path / "out.ipynb")
    assert {name: scrap.value for name, scrap in scraps.items()} == {"x": 5}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.ipynb", "out.ipynb"]


def test_plain_papermill_with_our_engine_fails_truthfully(tmp_path: Path) -> None:
    source = notebook("1", "import os; os.kill(os.getpid(), 9)", "3")
    source.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(source, tmp_path / "in.ipynb")

    done = papermill(tmp_path, "--engine", "nbprod")

    assert done.returncode != 0
    assert "The kernel died (killed by SIGKILL) while cell 2 was running." in done.stderr
    out = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    ours = [cell.metadata.nbprod.status for cell in out.cells if cell.cell_type == "code"]
    assert ours == ["ok", "error", "not_run"]


def test_a_template_that_stops_ends_well_under_papermills_own_engine(tmp_path: Path) -> None:
    source = notebook("import nbprod", "nbprod.stop('nothing to do')", "raise ValueError")
    source.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    nbformat.write(source, tmp_path / "in.ipynb")

    done = papermill(tmp_path)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.5, "0.5 s"), (45, "45 s"), (5400, "1 h 30 min"), (61, "1 min 1 s")]
)
def test_durations_read_as_people_write_them(seconds: float, words: str) -> None:
    from datetime import timedelta

    assert in_words(timedelta(seconds=seconds)) == words
