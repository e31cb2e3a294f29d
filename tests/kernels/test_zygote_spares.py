"""A zygote and its spares where something comes between: an end, a reason to make none."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest
from zygote_forks import Forks, is_over, until

from nbprod.kernels import places
from nbprod.kernels.protocol import Inbox, Stop, Stopping, send


def test_a_spare_that_ends_as_its_zygote_is_stopped_takes_nobody_along(
    runtime: Path, tmp_path: Path
) -> None:
    forks = Forks(tmp_path, spares=1)
    until(lambda: forks.state()["spares"]["count"])
    [spare] = forks.state()["spares"]["pids"]
    process = forks.ask(forks.request("wait"))
    zygote, key = forks.state()["pid"], forks.state()["key"]
    with closing(places.connect(key, timeout=20)) as peer:
        forks.state()  # whoever comes later is served: so it knows of us by now

        # Both are seen in one look, the request first.
        os.kill(zygote, signal.SIGSTOP)
        until(lambda: state_of(zygote) == "T")
        send(peer, Stop())
        os.kill(spare, signal.SIGKILL)
        until(lambda: is_over(spare))
        os.kill(zygote, signal.SIGCONT)

        assert Inbox(peer).receive() == (Stopping(), [])
    process.terminate()
    assert (process.wait(20), process.is_exit_known) == (-signal.SIGTERM, True)
    assert "Traceback" not in places.log_path(key).read_text()


@pytest.mark.parametrize("obstacle", ["a thread", "a configuration"])
def test_a_zygote_that_may_make_no_spare_sleeps(
    runtime: Path, tmp_path: Path, obstacle: str
) -> None:
    forks = Forks(tmp_path, preload=("probe", "threaded"), spares=1)
    (tmp_path / "modules" / "threaded.py").write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        if obstacle == "a thread"
        else ""
    )
    profile = tmp_path / ".ipython" / "profile_default"
    profile.mkdir(parents=True)
    if obstacle == "a configuration":
        (profile / "ipython_config.py").touch()
    pid = forks.state()["pid"]

    # One that looks whether a spare is due does so 20 times a second.
    until(lambda: woken_within_a_second(pid) < 8)

    assert forks.state()["spares"]["pids"] == []


def state_of(pid: int) -> str:
    """Return the letter by which Linux tells what a process does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def woken_within_a_second(pid: int) -> int:
    """Return how often a process went on in a second."""

    def count() -> int:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_"))

    before = count()
    time.sleep(1.0)
    return count() - before
