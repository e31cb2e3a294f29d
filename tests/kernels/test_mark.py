"""Whose run a forked process is of can be seen from outside; its variables stay as they were."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nbprod.kernels import mark

PROGRAM = """\
import ctypes, os, sys
from nbprod.kernels import mark
mark.clear()
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
pid = os.fork()
if pid == 0:
    is_written = mark.write({mark.MARK: sys.argv[1]})
    said = f"{is_written} {getenv(b'BEFORE').decode()} {getenv(b'LAST').decode()}"
    os.write(1, f"{said}\\n".encode())
    if os.fork() == 0:
        os.setsid()
    sys.stdin.read()
    os._exit(0)
os.write(1, b"%d\\n" % pid)
os.waitpid(pid, 0)
"""


@pytest.mark.parametrize("folder", ["/srv/team/.nbprod/runs/1", "/srv/Ärger mit Leerzeichen"])
def test_a_fork_and_what_it_forks_show_the_run_they_are_of(folder: str) -> None:
    environment = {"BEFORE": "one", **mark.room(), "LAST": "two", "PATH": os.environ["PATH"]}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, folder],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = sorted(process.stdout.readline() for _ in range(2))
    fork = psutil.Process(int(lines[0]))

    shown = [fork.environ(), *(child.environ() for child in fork.children(recursive=True))]
    zygote = psutil.Process(process.pid).environ()
    process.communicate(timeout=30)

    assert lines[1] == "True one two\n"
    assert shown[0] == {
        "BEFORE": "one",
        mark.MARK: folder,
        "LAST": "two",
        "PATH": os.environ["PATH"],
    }
    assert all(environ == shown[0] for environ in shown)
    assert zygote == environment


def test_without_room_nothing_is_written(tmp_path: Path) -> None:
    code = f"from nbprod.kernels import mark; print(mark.write({{mark.MARK: {str(tmp_path)!r}}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"A": "b"}, capture_output=True, text=True, check=True
    )
    other = mark.write({"PATH": "/bin"})

    assert (done.stdout, done.stderr, other) == ("False\n", "", False)
