"""Kernels ahead of need: how many, when, lent to whom, and as if they had been asked for."""

import json
import os
import signal
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from zygote_forks import Forks, is_gone, is_over, until

from nbprod.kernels import fidelity, spares
from nbprod.kernels.protocol import Forked, send
from nbprod.kernels.spares import (
    COURTESY,
    FAILURES,
    LONGEST_LIFE,
    PATIENCE,
    USUAL_EXTRA,
    WINDOW,
    Spare,
    Spares,
)


@pytest.fixture
def forks(runtime: Path, tmp_path: Path) -> Forks:
    return Forks(tmp_path, spares=2)


def ready(forks: Forks, count: int = 1) -> list[int]:
    """Wait for spares and return their pids."""
    seen: list[Any] = []

    def are_there() -> bool:
        seen.append(forks.state()["spares"])
        return bool(seen[-1]["count"] >= count)

    until(are_there)
    pids: list[int] = seen[-1]["pids"]
    return pids


def test_a_spare_is_lent_once_and_replaced(forks: Forks) -> None:
    [first] = ready(forks)

    one = forks.kernel()
    assert (one.process.is_spare, one.process.pid) == (True, first)
    [second, *_] = ready(forks)
    other = forks.kernel()

    assert (other.process.is_spare, other.process.pid) == (True, second)
    assert first != second
    one.says("mine = 1")
    assert other.says("print('mine' in globals())") == "False"
    assert (one.end(), other.end()) == (0, 0)
    until(lambda: not forks.state()["kernels"])
    assert forks.state()["lent"] == 2


LOOK = """
import json, logging, os, sys, threading, time
from ipykernel import get_connection_file, get_connection_info
file = get_connection_file()
print(json.dumps({
    "argv": sys.argv, "cwd": os.getcwd(), "path": sys.path, "names": sorted(globals()),
    "file": file, "umask": os.umask(0o22), "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "environment": {k: v for k, v in os.environ.items()}, "zone": time.tzname,
    "home": get_ipython().starting_dir, "count": get_ipython().execution_count,
    "threads": [t.name for t in threading.enumerate()],
    "stdout": [os.readlink(f"/proc/self/fd/{sys.stdout._original_stdstream_copy}")],
    "stdin": os.readlink("/proc/self/fd/0"), "leads": os.getsid(0) == os.getpid(),
    "logging": len(logging.getLogger().handlers), "main": __name__,
    "session": globals().get("__session__"),
    "last": [repr(get_ipython().last_execution_result), get_ipython().last_execution_succeeded],
    "mpl": os.environ.get("MPLBACKEND"), "ids": len(get_ipython().history_manager.input_hist_raw),
}))
"""


def test_a_spare_is_as_if_it_had_started_for_its_request(forks: Forks, tmp_path: Path) -> None:
    more = {"TZ": "America/Lima", "ASKED": "yes", "JPY_SESSION_NAME": "sitting"}
    folder = tmp_path / "job"
    folder.mkdir()
    ready(forks)

    def look(**options: Any) -> dict[str, Any]:
        kernel = forks.kernel(cwd=folder, more=more, **options)
        found: dict[str, Any] = json.loads(kernel.says(LOOK))
        found["argv"][2] = found["argv"][2].rpartition("-")[0]  # each has a file of its own
        assert found.pop("file").startswith(str(tmp_path))
        found["is spare"] = kernel.process.is_spare
        assert kernel.end() == 0
        return found

    spare = look()
    forks.may_be_spare = False
    forked = look()

    assert (spare.pop("is spare"), forked.pop("is spare")) == (True, False)
    assert spare == forked
    assert (spare["cwd"], spare["zone"], spare["session"]) == (
        str(folder),
        ["-05", "-05"],
        "sitting",
    )


def test_a_spare_that_cannot_be_faithful_is_not_used_and_the_reason_is_told(
    forks: Forks, tmp_path: Path
) -> None:
    ready(forks)
    startup = tmp_path / ".ipython" / "profile_default" / "startup"
    script = tmp_path / "first.py"
    script.write_text("began = 'with this'\n")

    other = forks.kernel("--InteractiveShell.xmode=Minimal")
    named = forks.kernel(more={"PYTHONSTARTUP": str(script)})
    (startup / "begin.py").write_text("started = 'yes'\n")
    started = forks.kernel()

    assert [kernel.process.not_spare_because for kernel in (other, named, started)] == [
        "it has other command line arguments than spares",
        "PYTHONSTARTUP names a file to run first",
        f"{startup}/begin.py is to be run first",
    ]
    assert not any(kernel.process.is_spare for kernel in (other, named, started))
    assert other.says("print(get_ipython().InteractiveTB.mode)") == "Minimal"
    assert named.says("print(began)") == "with this"
    assert started.says("print(started)") == "yes"
    assert [kernel.end() for kernel in (other, named, started)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("connection", "reason"),
    [
        ({}, ""),
        ({"transport": "ipc"}, "its connection has the transport 'ipc'"),
        ({"ip": "0.0.0.0"}, "its connection has the ip '0.0.0.0'"),
        ({"curve_publickey": "x"}, "its connection is encrypted"),
    ],
)
def test_a_connection_of_another_kind_takes_no_spare(
    forks: Forks, tmp_path: Path, connection: dict[str, str], reason: str
) -> None:
    file = tmp_path / "asked.json"
    file.write_text(json.dumps(connection))
    request = forks.request("leave")

    found = fidelity.why_not_spare(
        forks.request("leave", "-f", str(file), environment={"HOME": str(tmp_path)})
    )

    assert found == reason
    assert fidelity.why_not_spare(request) == "it has no connection file yet"


def test_arguments_that_come_twice_are_those_of_the_next_spares(forks: Forks) -> None:
    extra = "--InteractiveShell.xmode=Minimal"
    ready(forks)

    kernels = [forks.kernel(extra) for _ in range(2)]
    until(lambda: forks.state()["spares"]["count"] >= 1)
    kernels.append(forks.kernel(extra))

    assert [kernel.process.is_spare for kernel in kernels] == [False, False, True]
    assert kernels[2].says("print(get_ipython().InteractiveTB.mode)") == "Minimal"
    assert [kernel.end() for kernel in kernels] == [0, 0, 0]


def test_a_spare_whose_owner_leaves_is_gone_within_a_second(forks: Forks) -> None:
    ready(forks)
    kernel = forks.kernel()
    assert kernel.process.is_spare

    kernel.leave()

    until(lambda: is_gone(kernel.process.pid), seconds=5.0)


def test_spares_end_with_their_zygote_and_lent_ones_do_not(forks: Forks) -> None:
    ready(forks)
    kernel = forks.kernel()
    [spare, *_] = ready(forks)

    os.kill(forks.state()["pid"], signal.SIGKILL)

    until(lambda: is_over(spare))
    assert kernel.says("print(1)") == "1"
    kernel.process.kill()
    kernel.leave()


def test_a_spare_that_was_killed_is_not_lent(forks: Forks) -> None:
    [spare] = ready(forks)
    os.kill(spare, signal.SIGKILL)
    until(lambda: is_gone(spare))

    kernel = forks.kernel()

    assert kernel.process.pid != spare
    assert kernel.says("print(1)") == "1"
    assert kernel.end() == 0


def test_an_idle_zygote_takes_its_spares_along(runtime: Path, tmp_path: Path) -> None:
    forks = Forks(tmp_path, spares=1, idle=timedelta(seconds=8))  # on busy cores a spare takes 2
    [spare] = ready(forks)
    pid = forks.state()["pid"]

    until(lambda: is_over(pid))

    until(lambda: is_over(spare))
    assert not list(runtime.glob("spare-*"))


def some(**settings: Any) -> Spares:
    return Spares(**({"limit": 4, "memory_limit_bytes": 10**9} | settings))


def spare(pid: int = 1, *, made: float = 0.0, size: int = 0, is_ready: bool = True) -> Spare:
    """A spare without a process: the policy looks at nothing else."""
    found = Spare(pid, None, None, USUAL_EXTRA, made)  # type: ignore[arg-type]
    found.ready = Forked(pid=pid) if is_ready else None
    found.private_bytes = size
    return found


@pytest.mark.parametrize(("rate", "wanted"), [(0, 1), (0.3, 2), (1, 2), (2, 3), (9, 4)])
def test_the_count_follows_the_load_up_to_the_limit(rate: float, wanted: int) -> None:
    pool = some()
    for number in range(int(rate * WINDOW)):
        pool.take(USUAL_EXTRA, number / rate)

    assert pool.wanted(WINDOW) == wanted
    assert pool.wanted(3 * WINDOW) == 1
    assert some(limit=0).wanted(0) == 0


def test_memory_bounds_the_count_by_the_largest_spare() -> None:
    pool = some(memory_limit_bytes=250)
    for number in range(100):
        pool.take(USUAL_EXTRA, number / 10)
    pool.spares = [spare(size=100), spare(2, size=80)]

    assert pool.wanted(WINDOW) == 2
    pool.spares = [spare(size=300)]
    assert pool.wanted(WINDOW) == 0
    assert [found.pid for found in pool.surplus(1.0)] == [1]
    pool.spares = []
    assert pool.wanted(WINDOW) == 0  # the next one would be as large


def test_while_something_is_in_the_way_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = some()
    monkeypatch.setattr(spares, "has_idle_cpu", lambda: True)
    assert (pool.is_due(90.0), pool.is_due(100.0), pool.pause(100.0)) == (False, True, spares.LOOK)

    pool.put_off(105.0)

    assert (pool.is_due(104.9), pool.pause(100.0)) == (False, 5.0)
    assert (pool.is_due(105.0), pool.pause(105.0)) == (True, spares.LOOK)


def test_another_is_made_after_a_courtesy_and_on_a_busy_machine_after_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, is_idle = some(), True
    monkeypatch.setattr(spares, "has_idle_cpu", lambda: is_idle)

    assert not pool.is_due(100.0)  # from now on one is missing
    assert not pool.is_due(100.0 + COURTESY - 0.01)
    assert pool.is_due(100.0 + COURTESY)
    is_idle = False
    assert not pool.is_due(100.0 + COURTESY)
    assert pool.is_due(100.0 + PATIENCE)
    pool.spares = [spare(is_ready=False)]
    assert not pool.is_due(200.0)


def test_whoever_was_lent_a_kernel_has_the_processor_first() -> None:
    pool = some()
    pool.spares = [spare(1), spare(2)]

    taken = pool.take(USUAL_EXTRA, 100.0)

    assert taken is not None
    assert not pool.is_due(100.0 + COURTESY / 2)


def test_old_slow_and_superfluous_ones_are_ended() -> None:
    pool = some()
    pool.spares = [spare(1, made=0.0), spare(2, made=1e5), spare(3, made=1e5 - 70, is_ready=False)]
    now = 1e5 + 1

    ended = pool.surplus(now)

    assert LONGEST_LIFE.total_seconds() < now
    assert sorted(found.pid for found in ended) == [1, 3]
    pool.spares = [spare(number, made=now) for number in range(5)]
    assert len(pool.surplus(now)) == 3  # one is wanted, one more is kept


def test_spares_that_fail_while_they_start_are_given_up() -> None:
    pool = some()
    for number in range(FAILURES):
        mine, its = socket.socketpair()
        with mine, its:
            started = pool.add(number, mine)
            its.shutdown(socket.SHUT_RDWR)
            assert not pool.heard(started)
        pool.spares.clear()

    assert pool.problem == "3 in a row ended while they started"
    assert (pool.wanted(0.0), pool.is_due(100.0)) == (0, False)


def test_a_spare_says_when_it_is_ready() -> None:
    pool = some()
    mine, its = socket.socketpair()
    with mine, its:
        started = pool.add(os.getpid(), mine)
        assert pool.heard(started)
        assert pool.take(USUAL_EXTRA, 0.0) is None

        send(its, Forked(pid=os.getpid(), is_spare=True))

        assert pool.heard(started)
    assert started.private_bytes > 0
    assert pool.take(USUAL_EXTRA, 0.0) is started
