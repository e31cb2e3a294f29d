"""`nbprod kernels` and what `nbprod doctor` says of warm kernels."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner
from jupyter_client.kernelspec import KernelSpecManager
from kernel_starts import Starts
from nbclient import NotebookClient

from nbprod.cli.kernels import kernels
from nbprod.core.errors import NotKeptWarmError, UnknownZygoteError
from nbprod.kernels import client, places
from nbprod.kernels.starts import Start, StartKind, record
from nbprod.kernels.tally import Kinds, Reason, Tally, tally

Nbprod = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def nbprod(tmp_path: Path) -> Nbprod:
    """Run `nbprod` in an empty folder, as the user of the test's runtime folder."""

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        program = Path(sys.executable).parent / "nbprod"
        return subprocess.run(
            [program, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    return run


def told(nbprod: Nbprod, *words: str) -> Any:
    """Return what a command says in JSON."""
    ran = nbprod(*words, "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def counted_kernels(stats: Any) -> int:
    """Return how many warm kernels `nbprod kernels stats --json` has counted."""
    warm = ("spare", "forked")
    starts = [each for each in stats["starts"] if each["role"] == "kernel"]
    return sum(each["count"] for each in starts if each["kind"] in warm)


def run_notebook() -> None:
    cell = nbformat.v4.new_code_cell("print('ran')")
    NotebookClient(
        nbformat.v4.new_notebook(cells=[cell]), kernel_name="python3-warm", timeout=60
    ).execute()


def test_what_is_warm_is_started_listed_used_counted_and_stopped(
    nbprod: Nbprod, warm: Starts
) -> None:
    assert told(nbprod, "kernels", "list") == []

    (started,) = told(nbprod, "kernels", "warm", "--role", "kernel")
    before = counted_kernels(told(nbprod, "kernels", "stats"))
    run_notebook()
    (listed,) = told(nbprod, "kernels", "list")
    counted = told(nbprod, "kernels", "stats")
    stopped = told(nbprod, "kernels", "stop", started["key"][:8])

    assert listed["key"] == started["key"]
    assert (listed["role"], listed["is_safe"]) == ("kernel", True)
    assert listed["memory"]["shared_bytes"] > 0
    assert counted_kernels(counted) == before + 1
    assert counted["memory"]["zygotes"] == 1
    assert stopped == {"stopped": [started["key"]]}
    assert told(nbprod, "kernels", "list") == []


def test_in_a_workspace_runs_are_warm_from_the_first_one(
    nbprod: Nbprod, warm: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBPROD_WARM", "on")
    assert nbprod("init", ".").returncode == 0
    assert nbprod("templates", "new", "look", "--kind", "explore").returncode == 0
    told(nbprod, "kernels", "warm")
    before = len(warm.found())

    ran = nbprod("run", "look", "-p", "sample_rows=8")

    assert ran.returncode == 0, ran.stderr
    assert {start.role for start in warm.found()[before:]} == {"command", "kernel"}
    assert [start.reason for start in warm.found()[before:] if start.kind is StartKind.COLD] == []
    nbprod("kernels", "stop")


def test_the_log_of_a_run_says_why_its_kernel_was_cold(
    nbprod: Nbprod, runtime: Path, tmp_path: Path
) -> None:
    assert nbprod("init", ".").returncode == 0
    assert nbprod("templates", "new", "look", "--kind", "explore").returncode == 0

    ran = nbprod("run", "look", "-p", "sample_rows=8")

    assert ran.returncode == 0, ran.stderr
    (log,) = tmp_path.glob(".nbprod/runs/*/1/log.txt")
    assert log.read_text().count("A cold kernel is used: the zygote is still importing") == 1
    reasons = {
        (each["role"], each["reason"]) for each in told(nbprod, "kernels", "stats")["reasons"]
    }
    assert ("kernel", "the zygote is still importing") in reasons


def test_people_get_tables(nbprod: Nbprod, warm: Starts) -> None:
    warmed = nbprod("kernels", "warm", "--role", "kernel")
    listed = nbprod("kernels", "list")
    run_notebook()
    counted = nbprod("kernels", "stats")
    (state,) = told(nbprod, "kernels", "list")
    stopped = nbprod("kernels", "stop")

    key = state["key"]
    assert warmed.stdout.startswith(f"{key} is warm for kernels: ")
    heading, line = listed.stdout.splitlines()
    assert heading.split() == [
        "ZYGOTE",
        "ROLE",
        "PID",
        "RUNNING",
        "SPARES",
        "OWN",
        "SHARED",
        "UP",
        "STATE",
    ]
    assert line.split()[:4] == [key, "kernel", str(state["pid"]), "0"]
    assert line.split()[-1] == "forks"
    assert counted.stdout.splitlines()[0].split() == ["ROLE", "FROM", "STARTS", "MEDIAN", "LAST"]
    assert "1 zygote, " in counted.stdout.splitlines()[-1]
    assert stopped.stdout == f"Stopped: {key}\n"


def test_with_nothing_warm_the_commands_say_what_to_do(nbprod: Nbprod, runtime: Path) -> None:
    said = {words: nbprod("kernels", words) for words in ("list", "stats", "stop")}

    assert {words: ran.returncode for words, ran in said.items()} == dict.fromkeys(said, 0)
    assert {words: ran.stderr for words, ran in said.items()} == {
        "list": "Nothing is kept warm. Start it now: nbprod kernels warm\n",
        "stats": "No start is on record. Run a notebook: nbprod run TEMPLATE\n",
        "stop": "Nothing was kept warm.\n",
    }


def test_a_module_that_is_missing_is_named_and_the_rest_is_warm(
    nbprod: Nbprod, warm: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBPROD_PRELOAD", "not_installed,json")

    warmed = nbprod("kernels", "warm", "--role", "kernel")
    listed = nbprod("kernels", "list")

    assert warmed.returncode == 0
    assert "\n  not_installed was left out: " in warmed.stdout
    assert " does not import not_installed: " in listed.stderr
    nbprod("kernels", "stop")


def test_a_module_that_starts_a_thread_is_why_nothing_is_forked(
    nbprod: Nbprod, warm: Starts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "threaded.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("NBPROD_PRELOAD", "threaded")

    warmed = nbprod("kernels", "warm", "--role", "kernel")
    run_notebook()

    (refusal,) = [line for line in warmed.stdout.splitlines() if "refuses to fork" in line]
    assert warmed.returncode == 1
    assert "threaded" in refusal
    last = warm.found()[-1]
    assert (last.kind, f"  It refuses to fork: {last.reason}") == (StartKind.COLD, refusal)
    examined = nbprod("doctor")
    assert last.reason in examined.stdout
    nbprod("kernels", "stop")


def test_off_is_said_and_nothing_is_started(
    nbprod: Nbprod, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBPROD_WARM", "off")

    warmed, examined = nbprod("kernels", "warm"), nbprod("doctor")

    assert (warmed.returncode, warmed.stderr) == (
        1,
        f"{NotKeptWarmError('kernel', 'NBPROD_WARM is off')}\n",
    )
    assert "- warm        every kernel is cold: NBPROD_WARM is off" in examined.stdout
    assert list(runtime.iterdir()) == []


def test_a_zygote_that_hangs_is_killed_and_counts_as_stopped(
    nbprod: Nbprod, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (warmed,) = told(nbprod, "kernels", "warm", "--role", "kernel")
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.5)
    os.kill(warmed["pid"], signal.SIGSTOP)

    stopped = CliRunner().invoke(kernels, ["stop", "--json"])

    assert json.loads(stopped.stdout) == {"stopped": [warmed["key"]]}
    assert client.keys() == []


def test_an_unknown_key_is_misuse(nbprod: Nbprod, runtime: Path) -> None:
    ran = nbprod("kernels", "stop", "abc")

    assert (ran.returncode, ran.stderr) == (2, f"{UnknownZygoteError('abc', [])}\n")


def test_doctor_says_that_nothing_can_be_kept_warm_and_why(
    nbprod: Nbprod, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = runtime / "link"
    link.symlink_to(runtime)
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(link))

    examined = nbprod("doctor").stdout

    assert (
        f"- warm        every kernel is cold: Nothing can be kept warm: {link} cannot be used. "
        "It is a link, not a folder.\n" in examined
    )


def test_doctor_says_how_many_kernels_were_warm_and_why_the_last_was_not(
    nbprod: Nbprod, runtime: Path
) -> None:
    common = {"role": "kernel", "key": "k", "seconds": 0.1}
    record(places.runtime_folder(), Start(t=1.0, kind=StartKind.SPARE, **common))
    record(places.runtime_folder(), Start(t=2.0, kind=StartKind.FORKED, **common))
    record(places.runtime_folder(), Start(t=3.0, kind=StartKind.COLD, reason="of age", **common))

    examined = nbprod("doctor").stdout

    line = "✓ warm        0 zygotes; of 3 kernels 2 were warm; the last cold one because of age\n"
    assert line + "              nbprod kernels warm\n" in examined


def test_the_kernelspec_is_installed_for_this_interpreter_where_it_is_asked_for(
    nbprod: Nbprod, tmp_path: Path
) -> None:
    asked = ("--prefix", str(tmp_path), "--name", "team", "--display-name", "Team (warm)")

    done = told(nbprod, "kernels", "install", *asked)

    folder = tmp_path / "share/jupyter/kernels/team"
    spec = json.loads((folder / "kernel.json").read_text())
    assert done == {"name": "team", "folder": str(folder)}
    assert (Path(spec["argv"][0]).name[:6], spec["argv"][1:3]) == (
        "python",
        ["-m", "ipykernel_launcher"],
    )
    assert spec["display_name"] == "Team (warm)"
    assert spec["metadata"]["kernel_provisioner"]["provisioner_name"] == "nbprod-warm"


def test_a_kernelspec_goes_to_one_place_under_a_name_that_jupyter_allows(
    nbprod: Nbprod, tmp_path: Path
) -> None:
    two = nbprod("kernels", "install", "--user", "--prefix", str(tmp_path))
    named = nbprod("kernels", "install", "--prefix", str(tmp_path), "--name", "a/b")

    assert (two.returncode, named.returncode) == (2, 2)
    assert "--user and --prefix are two places: name one." in two.stderr
    assert "a/b" in named.stderr


def test_the_package_brings_the_kernelspec() -> None:
    spec = KernelSpecManager().get_kernel_spec("python3-warm")

    assert spec.display_name == "Python 3 (warm)"
    assert spec.argv[:3] == ["python", "-m", "ipykernel_launcher"]


def test_starts_add_up() -> None:
    def start(t: float, kind: StartKind, reason: str = "", seconds: float = 0.0) -> Start:
        return Start(t=t, role="kernel", key="k", kind=kind, reason=reason, seconds=seconds)

    added = tally(
        [
            start(1.0, StartKind.SPARE, seconds=0.01),
            start(2.0, StartKind.FORKED, "none was ready", 0.1),
            start(3.0, StartKind.SPARE, seconds=0.03),
            start(4.0, StartKind.COLD, "it imports"),
            start(5.0, StartKind.FORKED, "none was ready", 0.3),
        ]
    )

    def kinds(kind: StartKind, count: int, median: float | None, last: float) -> Kinds:
        return Kinds(role="kernel", kind=kind, count=count, median_seconds=median, last=last)

    assert added == Tally(
        kinds=(
            kinds(StartKind.SPARE, 2, 0.02, 3.0),
            kinds(StartKind.FORKED, 2, 0.2, 5.0),
            kinds(StartKind.COLD, 1, None, 4.0),
        ),
        reasons=(
            Reason(
                role="kernel", kind=StartKind.FORKED, reason="none was ready", count=2, last=5.0
            ),
            Reason(role="kernel", kind=StartKind.COLD, reason="it imports", count=1, last=4.0),
        ),
    )
    assert added.count("kernel", StartKind.SPARE, StartKind.FORKED) == 4
    assert added.last_cold("kernel") == added.reasons[1]
    assert added.last_cold("command") is None
