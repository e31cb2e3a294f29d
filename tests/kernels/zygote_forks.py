"""Forks of a real zygote that imports next to nothing, for tests of the zygote itself."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file

from nbprod.kernels import client
from nbprod.kernels.process import ForkedProcess
from nbprod.kernels.protocol import Fork
from nbprod.kernels.settings import KernelSettings
from nbprod.kernels.spares import USUAL_EXTRA

#: What forks run: functions of a module that lies on their path.
PROBE = '''
import ctypes, json, os, select, signal, sys, threading, time
from nbprod.kernels import children

def look(argv):
    """Print what this process is."""
    streams = [sys.stdin, sys.stdout, sys.stderr]
    print(json.dumps({
        "argv": argv, "sys.argv": sys.argv[1:], "environment": dict(os.environ),
        "cwd": os.getcwd(), "umask": os.umask(0), "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "affinity": sorted(os.sched_getaffinity(0)), "leads": os.getsid(0) == os.getpid(),
        "masked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "caught": sorted(n for n in signal.valid_signals() if signal.getsignal(n)
                         not in (signal.SIG_DFL, signal.SIG_IGN, None)),
        "ignored": sorted(n for n in signal.valid_signals()
                          if signal.getsignal(n) is signal.SIG_IGN),
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                              if os.path.exists(f"/proc/self/fd/{n}")),
        "threads": len(os.listdir("/proc/self/task")), "time": time.tzname,
        "streams": [[s.name, s.encoding, s.errors, s.mode, s.line_buffering] for s in streams],
        "path": sys.path, "main": sys.modules["__main__"].__name__,
        "log": [str(h) for h in __import__("logging").getLogger().handlers],
    }))
    return 0

def leave(argv):
    import atexit
    atexit.register(lambda: print("atexit", flush=True))
    exec(argv[0])
    return 5

def early(argv):
    children.done(3)
    children.done(4)
    gone = select.poll()
    gone.register(children.owner(), select.POLLRDHUP)
    gone.poll(20000)
    with open(argv[0], "w") as file:
        file.write("after its client")
    return 9

def draw(argv):
    import random
    print(random.random(), os.environ["PROBE"])

def version(argv):
    import edited
    print(edited.VERSION)

def wait(argv):
    print("waiting", flush=True)
    select.poll().poll(60000)
'''


class Forks:
    """Asks one zygote for processes. What they print comes back as text."""

    def __init__(
        self,
        folder: Path,
        *,
        preload: tuple[str, ...] = ("probe",),
        more: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.folder = folder
        (folder / "modules").mkdir(exist_ok=True)
        probe = folder / "modules" / "probe.py"
        if not probe.exists():  # a zygote that has imported it would be out of date
            probe.write_text(PROBE)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "NBPROD_RUNTIME_DIR": os.environ["NBPROD_RUNTIME_DIR"],
            "PYTHONPATH": str(folder / "modules"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(more or {}),
        }
        self.settings = KernelSettings(preload=preload, **settings)
        self.may_be_spare = True

    def state(self) -> Mapping[str, Any]:
        """Return what the zygote says of itself; it is started if need be."""
        return client.warm_up(role="kernel", settings=self.settings, environment=self.environment)

    def request(self, function: str, *argv: str, **changes: Any) -> Fork:
        found = client.request_here(
            f"probe:{function}", argv, environment=self.environment, cwd=str(self.folder)
        )
        return replace(found, **changes)

    def ask(
        self, request: Fork, descriptors: tuple[int, int, int] = (0, 1, 2), *, wait: float = 60.0
    ) -> ForkedProcess:
        return client.fork(request, descriptors, role="kernel", settings=self.settings, wait=wait)

    def run(self, request: Fork) -> tuple[int, str, str]:
        """Return its exit status, and what it wrote to stdout and stderr."""
        out, err = self.folder / "out", self.folder / "err"
        with Path(os.devnull).open() as nothing, out.open("w") as to, err.open("w") as complaints:
            process = self.ask(request, (nothing.fileno(), to.fileno(), complaints.fileno()))
            code = process.wait(30)
        return code, out.read_text(), err.read_text()

    def look(self, **changes: Any) -> dict[str, Any]:
        """Return what a fork sees of itself."""
        code, out, err = self.run(self.request("look", **changes))
        assert (code, err) == (0, ""), err
        found: dict[str, Any] = json.loads(out)
        return found

    def kernel(
        self, *extra: str, cwd: Path | None = None, more: Mapping[str, str] | None = None
    ) -> "ForkedKernel":
        return ForkedKernel(self, extra or USUAL_EXTRA, cwd or self.folder, more or {})


class ForkedKernel:
    """A kernel, and a client of it."""

    def __init__(
        self, forks: Forks, extra: tuple[str, ...], cwd: Path, more: Mapping[str, str]
    ) -> None:
        file, _ = write_connection_file(str(forks.folder / f"kernel-{time.monotonic_ns()}.json"))
        environment = {**forks.environment, **more}
        request = client.request_here(
            "kernel",
            ["-f", file, *extra],
            environment=environment,
            cwd=str(cwd),
            may_be_spare=forks.may_be_spare,
        )
        self.log = forks.folder / "kernel.log"
        with Path(os.devnull).open() as nothing, self.log.open("a") as log:
            self.process = forks.ask(request, (nothing.fileno(), log.fileno(), log.fileno()))
        self.client = BlockingKernelClient(connection_file=file)
        if self.process.connection_info is None:
            self.client.load_connection_file()
        else:
            found = dict(self.process.connection_info)
            self.client.load_connection_info({**found, "key": found["key"].encode()})
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def says(self, code: str) -> str:
        """Execute code and return what it prints."""
        printed: list[str] = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])

        reply = self.client.execute_interactive(code, output_hook=keep, timeout=60)
        while reply["content"]["status"] == "aborted":  # still clearing up after an error
            reply = self.client.execute_interactive(code, output_hook=keep, timeout=60)
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(printed).strip()

    def end(self) -> int:
        """Shut it down as a client does who gives it time; return its exit status."""
        self.client.shutdown()
        code = self.process.wait(30)
        self.client.stop_channels()
        return code

    def leave(self) -> None:
        """Be gone, as a client is that was killed."""
        self.client.stop_channels()
        self.process.close()


def until(is_so: Callable[[], Any], *, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Say whether there is no such process, a zombie included."""
    return not Path(f"/proc/{pid}").exists()


def is_over(pid: int) -> bool:
    """Say whether the process has ended: it is gone, or a zombie that somebody will reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


PYTHON = sys.executable
