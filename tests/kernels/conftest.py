"""A runtime folder of a test's own, with no process left in it at the end."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbprod.kernels import client


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which zygotes and clients of this test meet."""
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))  # a socket's path has 107 bytes at most
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("NBPROD_WARM", "on")
    yield folder
    client.stop()
    for pid in left_in(folder):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder)


def left_in(folder: Path) -> list[int]:
    """Return the processes that were started with this runtime folder, but for this one."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mark = f"NBPROD_RUNTIME_DIR={folder}".encode()
        if mark in variables and int(place.name) != os.getpid():
            found.append(int(place.name))
    return found
