"""Runtime folders of tests, in which nothing lives on."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def use(folder: Path, monkeypatch: pytest.MonkeyPatch, *, warm: str) -> None:
    """Have this process, and what it starts, be a client of zygotes in `folder`."""
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("NBPROD_WARM", warm)
    monkeypatch.setenv("NBPROD_PRELOAD", "")


@contextmanager
def runtime_folder() -> Iterator[Path]:
    """Make a runtime folder; at the end nothing lives that was started with it."""
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))  # a socket's path has 107 bytes at most
    try:
        yield folder
    finally:
        deadline = time.monotonic() + 10
        while (left := left_in(folder)) and time.monotonic() < deadline:  # one may have forked
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
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
