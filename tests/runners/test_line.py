"""The line wakes a supervisor, and tells an attempt that its supervisor is gone."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from nbprod.runners.line import SupervisorLine

#: Takes the line from its stdin, says so, and leaves when its supervisor does.
ATTEMPT = """\
import os, sys, threading
from nbprod.runners.line import AttemptLine
line = AttemptLine.take()
line.when_over(lambda: os._exit(7), supervisor=int(sys.argv[1]))
line.ring()
os.write(1, b"True\\n" if sys.stdin.read() == "" else b"False\\n")
threading.Event().wait()
"""
#: Starts that as its attempt, hands its own end of the line to a fork that outlives it, and waits.
SUPERVISOR = """\
import os, subprocess, sys, time
from nbprod.runners.line import SupervisorLine
line = SupervisorLine()
attempt = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1], str(os.getpid())], stdin=line.descriptor
)
line.hand_over()
assert line.wait(60)
if os.fork() == 0:
    time.sleep(600)
os.write(1, b"%d\\n" % attempt.pid)
time.sleep(600)
"""


def start(line: SupervisorLine, supervisor: int) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", ATTEMPT, str(supervisor)],
        stdin=line.descriptor,
        stdout=subprocess.PIPE,
        text=True,
    )
    line.hand_over()
    return process


def test_an_attempt_wakes_its_supervisor_and_leaves_with_it() -> None:
    line = SupervisorLine()
    assert not line.wait(0)
    process = start(line, os.getpid())
    assert process.stdout is not None

    assert line.wait(60)
    assert process.stdout.readline() == "True\n"
    assert process.poll() is None
    line.close()

    assert process.wait(timeout=60) == 7
    process.stdout.close()


def test_an_attempt_that_ends_wakes_its_supervisor_once() -> None:
    with SupervisorLine() as line:
        process = start(line, os.getpid())
        assert line.wait(60)
        process.kill()
        process.communicate(timeout=60)

        assert line.wait(60)
        assert line.is_over
        assert not line.wait(0.001)


def test_an_attempt_leaves_also_when_a_fork_of_its_supervisor_lives_on() -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, ATTEMPT], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    # two processes write to it, each a line at once, in either order
    said = {supervisor.stdout.readline().strip() for _ in range(2)}
    assert "True" in said
    attempt = int(*(said - {"True"}))
    heirs = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()

    supervisor.kill()
    supervisor.wait(timeout=60)

    deadline = time.monotonic() + 60
    while _runs(attempt) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    lives_on = [pid for pid in map(int, heirs) if pid != attempt and _runs(pid)]
    for pid in lives_on:
        os.kill(pid, 9)
    supervisor.stdout.close()
    assert not _runs(attempt)
    assert len(lives_on) == 1


def test_what_is_no_line_is_left_alone() -> None:
    code = (
        "import sys; from nbprod.runners.line import AttemptLine;"
        "print(AttemptLine.take(), sys.stdin.read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input="kept", capture_output=True, text=True, check=True
    )

    assert done.stdout == "None kept\n"


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
