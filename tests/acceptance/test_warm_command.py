"""`nbprod` through a resident process: the same command, quicker, and as truthful about its end."""

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

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


@pytest.fixture(scope="module")
def runtime() -> Iterator[Path]:
    """The folder that zygotes of these tests live in; nothing lives there at the end."""
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))  # a socket's path has 107 bytes at most
    try:
        yield folder
    finally:
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("NBPROD_RUNTIME_DIR") == str(folder):
                    process.kill()
        shutil.rmtree(folder, ignore_errors=True)  # what is dying may still write there


@pytest.fixture
def team(tmp_path: Path, runtime: Path) -> Cli:
    """The command in a fresh workspace, with a zygote that has everything imported."""
    made = make_workspace(tmp_path / "team", lease=1)
    made = replace(made, environment=warm(runtime))
    made.ok("kernels", "warm", "--role", "command")
    return made


def warm(runtime: Path) -> dict[str, str]:
    return {"NBPROD_RUNTIME_DIR": str(runtime), "NBPROD_WARM": "on", "NBPROD_PRELOAD": ""}


def starts(runtime: Path) -> list[dict[str, Any]]:
    """Return what the ledger says of commands and attempts."""
    path = runtime / "starts.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [start for start in map(json.loads, lines) if start["role"] == "command"]


def zygotes(runtime: Path) -> list[psutil.Process]:
    """Return the zygotes of commands in that runtime folder."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("NBPROD_RUNTIME_DIR") == str(runtime)
            command = process.cmdline()
        except (psutil.Error, OSError):
            continue
        if is_ours and "nbprod.kernels.zygote" in command and "command" in command:
            found.append(process)
    pids = {process.pid for process in found}
    return [process for process in found if _parent(process) not in pids]  # forks look like it


def _parent(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.NoSuchProcess:
        return 0


def forks(runtime: Path) -> set[int]:
    """Return the commands and attempts that were forked and live."""
    found = set()
    for zygote in zygotes(runtime):
        with suppress(psutil.NoSuchProcess):
            for fork in zygote.children():
                with suppress(psutil.NoSuchProcess):
                    if fork.status() != psutil.STATUS_ZOMBIE:
                        found.add(fork.pid)
    return found


def slow(team: Cli, *, ends: str = "print('never')") -> Path:
    return write_notebook(
        team.folder / "notebooks" / "slow.ipynb",
        "import nbprod; nbprod.glue('found', 7)",
        "import subprocess; subprocess.run(['sleep', '600'])",
        ends,
    )


def begin(team: Cli, runtime: Path) -> tuple["subprocess.Popen[str]", int, int]:
    """Start a run and wait for its slow cell; return the client, the command, the attempt."""
    client = team.start("run", slow(team), "--quiet")
    wait_for(lambda: cells_started(team.folder) == 2, "the second cell")
    attempt = next(event["pid"] for event in journal(team.folder) if event["type"] == "run_started")
    with closing(sqlite3.connect(team.folder / ".nbprod" / "store.db")) as store:
        (owner,) = store.execute("SELECT owner FROM runs ORDER BY id DESC").fetchone()
    command = int(owner.split("/")[1])
    assert {command, attempt} <= forks(runtime)
    return client, command, attempt


def settled(team: Cli) -> dict[str, Any]:
    """Return the newest run when it is not running any more, with no process of it left."""

    def look() -> dict[str, Any] | None:
        found = team.json("runs", "list")
        return found[0] if found and found[0]["status"] != "running" else None

    run = wait_for(look, "the end of the run")
    wait_for(lambda: not processes_of(team.folder), "every process below the workspace is gone")
    shown: dict[str, Any] = team.json("runs", "show", run["id"])
    return shown


COMMANDS = [
    ("templates", "list"),
    ("templates", "show", "train"),
    ("templates", "list", "--json"),
    ("runs", "list"),
    ("runs", "show", "20990101-000000-abcdef"),
    ("run", "trian"),
    ("run", "train", "-p", "rate=fast"),
    ("run", "--frobnicate"),
    ("run", "--help"),
    ("models", "list"),
    ("models", "promote"),
    ("jobs", "check"),
    ("reports",),
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_is_the_same_in_a_fork(team: Cli, words: tuple[str, ...]) -> None:
    write_notebook(team.folder / "templates" / "train.ipynb", parameters="rate: float = 0.1  # of")
    cold = replace(team, environment={"NBPROD_WARM": "off"})

    found, expected = team(*words), cold(*words)

    assert found == expected


def test_commands_and_attempts_are_forked_and_on_the_ledger(team: Cli, runtime: Path) -> None:
    path = write_notebook(team.folder / "notebooks" / "one.ipynb", "print(1)")
    before = len(starts(runtime))

    team.ok("run", path)

    wait_for(lambda: len(starts(runtime)) == before + 2, "both starts are on the ledger")
    new = starts(runtime)[before:]
    assert {start["kind"] for start in new} <= {"forked", "spare"}
    owners = sorted(start["owner"].split()[0] for start in new)
    assert owners == ["nbprod.cli.served:main"] * 2  # the command asked for the attempt


def test_a_run_gets_variables_folder_and_mask_of_the_one_who_asked(
    team: Cli, tmp_path: Path
) -> None:
    path = write_notebook(
        team.folder / "notebooks" / "shows.ipynb",
        """
        import os, nbprod
        nbprod.glue("stage", os.environ.get("STAGE"))
        mask = os.umask(0)
        nbprod.glue("mask", mask)
        nbprod.glue("nice", os.nice(0))
        """,
    )
    asked = replace(team, environment={**team.environment, "STAGE": "blue"})

    done = subprocess.run(
        [
            "nice",
            "-n",
            "3",
            "sh",
            "-c",
            'umask 027 && exec "$0" run shows.ipynb --json',
            str(NBPROD),
        ],
        cwd=path.parent,
        env=asked._environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    run = json.loads(done.stdout)
    values = {name: scrap["value"] for name, scrap in run["scraps"].items()}
    assert values == {"stage": "blue", "mask": 0o027, "nice": 3}
    assert run["template"] == "notebooks/shows.ipynb"


def test_what_is_read_from_the_command_ends_before_its_kernel_does(team: Cli) -> None:
    path = write_notebook(
        team.folder / "notebooks" / "lingers.ipynb",
        """
        import atexit, time, nbprod
        def last():
            while not nbprod.path("go").exists():
                time.sleep(0.01)
            nbprod.path("ended").touch()
        atexit.register(last)
        """,
    )

    out = team.ok("run", path)

    assert "succeeded" in out
    assert not (team.folder / "ended").exists()
    (team.folder / "go").touch()
    wait_for(lambda: "how" in journal(team.folder)[-1], "the kernel's end is in the journal")
    assert (team.folder / "ended").exists()
    assert journal(team.folder)[-1]["how"] == "graceful"
    wait_for(lambda: not processes_of(team.folder), "every process below the workspace is gone")


def test_a_reader_that_leaves_is_no_failure(team: Cli) -> None:
    write_notebook(team.folder / "templates" / "train.ipynb", "1")
    script = f"{NBPROD} templates list | head -n 1; exit ${{PIPESTATUS[0]}}"

    done = subprocess.run(
        ["bash", "-c", script],
        cwd=team.folder,
        env=team._environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("TEMPLATE")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_the_run_on_record(
    team: Cli, runtime: Path, number: signal.Signals
) -> None:
    client, _, _ = begin(team, runtime)

    client.send_signal(number)
    out, err = client.communicate(timeout=60)

    run = settled(team)
    assert (client.returncode, out) == (1, "")
    assert err == f"\nCancelled. See how far it came: nbprod runs show {run['id']}\n"
    assert run["status"] == "cancelled"
    assert run["reason"] == "The run was cancelled while cell 2 was running."


def test_the_client_killed_dead_cancels_its_run(team: Cli, runtime: Path) -> None:
    client, command, _ = begin(team, runtime)

    client.kill()
    client.communicate(timeout=60)
    # Before that nobody may open the store: on busy cores a lease of 1 s can be over too soon.
    wait_for(lambda: command not in forks(runtime), "the command's process is gone")

    run = settled(team)
    assert run["status"] == "cancelled"
    assert run["scraps"]["found"]["value"] == 7


def test_the_command_killed_dead_loses_its_run(team: Cli, runtime: Path) -> None:
    client, command, _ = begin(team, runtime)

    os.kill(command, signal.SIGKILL)
    client.communicate(timeout=60)

    assert client.returncode == -signal.SIGKILL
    run = settled(team)
    assert run["status"] == "lost"
    assert run["scraps"]["found"]["value"] == 7


def test_the_attempt_killed_dead_fails_its_run(team: Cli, runtime: Path) -> None:
    client, _, attempt = begin(team, runtime)

    os.kill(attempt, signal.SIGKILL)
    _, err = client.communicate(timeout=60)

    run = settled(team)
    assert (client.returncode, run["status"]) == (1, "failed")
    reason = "The attempt process ended (killed by SIGKILL) while cell 2 was running."
    assert run["reason"] == reason
    assert err.startswith(f"\n{reason}\n")


def test_the_zygote_killed_dead_ends_nothing(team: Cli, runtime: Path) -> None:
    path = write_notebook(
        team.folder / "notebooks" / "waits.ipynb",
        """
        import time, nbprod
        print("begun", flush=True)
        while not nbprod.path("go").exists():
            time.sleep(0.01)
        """,
    )
    client = team.start("run", path, "--quiet")
    wait_for(lambda: cells_started(team.folder) == 1, "the cell")
    for zygote in zygotes(runtime):
        zygote.kill()

    (team.folder / "go").touch()
    _, err = client.communicate(timeout=60)

    assert (client.returncode, err) == (0, "")
    assert settled(team)["status"] == "succeeded"


def test_command_and_zygote_killed_dead_are_told_apart_from_success(
    team: Cli, runtime: Path
) -> None:
    client, command, _ = begin(team, runtime)
    for zygote in zygotes(runtime):
        zygote.kill()

    os.kill(command, signal.SIGKILL)
    _, err = client.communicate(timeout=60)

    assert client.returncode == 1
    assert err == (
        "The command was killed, and so was the process that it came from.\n"
        "What it recorded is in the store.\nSee it: nbprod runs list\n"
    )
    assert settled(team)["status"] == "lost"


def test_a_stopped_command_stops_its_fork_and_goes_on_with_it(team: Cli, runtime: Path) -> None:
    client, command, _ = begin(team, runtime)
    stopped = (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)

    client.send_signal(signal.SIGTSTP)
    wait_for(lambda: psutil.Process(client.pid).status() in stopped, "the client has stopped")
    wait_for(lambda: psutil.Process(command).status() in stopped, "its fork has stopped")
    client.send_signal(signal.SIGCONT)
    wait_for(lambda: psutil.Process(command).status() not in stopped, "its fork goes on")
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=60)

    assert client.returncode == 1


def test_nohup_lets_a_run_outlive_its_terminal(team: Cli, runtime: Path) -> None:
    path = write_notebook(
        team.folder / "notebooks" / "waits.ipynb",
        """
        import time, nbprod
        while not nbprod.path("go").exists():
            time.sleep(0.01)
        """,
    )
    client = team.start("run", path, "--quiet", before=("nohup",))
    wait_for(lambda: cells_started(team.folder) == 1, "the cell")

    client.send_signal(signal.SIGHUP)
    (team.folder / "go").touch()
    client.communicate(timeout=60)

    assert client.returncode == 0
    assert settled(team)["status"] == "succeeded"


def test_without_a_zygote_or_a_runtime_folder_commands_run_all_the_same(
    team: Cli, runtime: Path, tmp_path: Path
) -> None:
    expected = team.ok("templates", "list")
    (tmp_path / "file").write_text("")
    places = {"hostile": tmp_path / "file" / "below", "link": tmp_path / "link"}
    places["link"].symlink_to(tmp_path)

    for place in places.values():
        environment = {**team.environment, "NBPROD_RUNTIME_DIR": str(place)}
        done = replace(team, environment=environment)("templates", "list")
        assert (done.code, done.out, done.err) == (0, expected, "")


def test_a_zygote_that_does_not_answer_is_not_waited_for_long(team: Cli, runtime: Path) -> None:
    found = zygotes(runtime)
    for zygote in found:
        zygote.suspend()
    try:
        done = team("templates", "list")
    finally:
        for zygote in found:
            with suppress(psutil.NoSuchProcess):  # the client has put it down
                zygote.kill()

    assert (done.code, done.err) == (0, "")
    assert starts(runtime)[-1]["reason"] == "its zygote did not answer within 10 s"


def test_turned_off_no_process_is_resident(team: Cli) -> None:
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))
    off = {"NBPROD_WARM": "off", "NBPROD_RUNTIME_DIR": str(folder)}
    path = write_notebook(team.folder / "notebooks" / "one.ipynb", "print(1)")

    replace(team, environment=off).ok("run", path)

    assert list(folder.iterdir()) == []
    assert zygotes(folder) == []
    folder.rmdir()


def test_a_zygote_leaves_when_nobody_needs_it(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))
    team = make_workspace(tmp_path / "team", settings='[kernels]\nidle = "1s"\n')
    team = replace(team, environment=warm(folder))

    team.ok("runs", "list")

    wait_for(lambda: zygotes(folder), "a zygote has come")
    wait_for(lambda: not zygotes(folder), "it has left")
    assert list(folder.glob("*.sock")) == []
    shutil.rmtree(folder)


def test_a_command_is_there_before_it_is_asked_for(team: Cli, runtime: Path) -> None:
    def is_lent() -> bool:
        before = len(starts(runtime))
        team.ok("runs", "list")
        wait_for(lambda: len(starts(runtime)) > before, "the start is on the ledger")
        return any(start["kind"] == "spare" for start in starts(runtime)[before:])

    wait_for(is_lent, "a command that a spare carries out")


def test_streams_that_are_closed_are_no_obstacle(team: Cli) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" templates list <&-', str(NBPROD)],
        cwd=team.folder,
        env=team._environment(),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


IMPORTS = """\
import os, sys
from nbprod.cli import served
from nbprod.runners import attempt
from nbprod.workspace import background
known = set(sys.modules)
pid = os.fork()
if pid == 0:
    code = served.invoke(["run", *sys.argv[1:]])
    background.wait()
    folder = max(__import__("pathlib").Path(".nbprod/runs").glob("*/1"))
    for file in ("events.jsonl", "executed.ipynb"):
        (folder / file).unlink()
    attempt.main([str(folder / "request.json")])
    print(code, sorted(set(sys.modules) - known))
    sys.stdout.flush()
    os._exit(0)
os.waitpid(pid, 0)
"""


def test_what_a_command_and_an_attempt_need_is_imported_before(team: Cli) -> None:
    path = write_notebook(
        team.folder / "notebooks" / "one.ipynb",
        "import nbprod; nbprod.glue('x', n)",
        parameters="n: int = 3",
        front_matter="kind: explore\nscraps: {x: {type: number}}",
    )
    team.ok("runs", "list")  # makes the store, once in its life, with libraries of its own

    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, str(path), "-p", "n=7"],
        cwd=team.folder,
        env=replace(team, environment={})._environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    # papermill's handler of HDFS files, which attempts go without
    assert done.stdout.splitlines()[-1] == "0 ['pyarrow.fs']", done.stderr


def test_ctrl_c_on_a_terminal_cancels_the_run_whose_bar_it_shows(team: Cli) -> None:
    path = slow(team)
    client, terminal = pty.fork()
    if client == 0:
        os.chdir(team.folder)
        words = ["nbprod", "run", str(path)]
        os.execve(NBPROD, words, {**team._environment(), "TERM": "xterm"})
    wait_for(lambda: cells_started(team.folder) == 2, "the second cell")

    os.write(terminal, b"\x03")
    shown = _read_to_its_end(terminal)
    _, status = os.waitpid(client, 0)

    run = settled(team)
    assert run["status"] == "cancelled"
    assert os.waitstatus_to_exitcode(status) == 1
    assert f"Cancelled. See how far it came: nbprod runs show {run['id']}" in shown
    assert "cell 2" in shown  # of the bar, which only a terminal gets


def _read_to_its_end(terminal: int) -> str:
    shown = b""
    with suppress(OSError):  # how Linux says that nobody has the other side open any more
        while part := os.read(terminal, 65_536):
            shown += part
    os.close(terminal)
    return shown.decode()
