"""Start an attempt's process, and see to it that nothing of it stays."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nbprod.core.runner import LOG_FILE, REQUEST_FILE, SCRAPS_FOLDER, AttemptRequest
from nbprod.runners.attempt import SUPERVISOR_VARIABLE
from nbprod.runners.line import SupervisorLine
from nbprod.runners.processes import end_all
from nbprod.runners.reserve import release, reserve

logger = logging.getLogger(__name__)

#: What a zygote calls in a fork.
ATTEMPT = "nbprod.runners.attempt:main"
#: Seconds that an attempt gets after its last word, for the kernel to end in its own way.
REST_SECONDS = 60.0


class AttemptProcess(Protocol):
    """A child of ours or a fork of a zygote: both are handled alike."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, signum: int, /) -> None: ...

    def kill(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedAttempt:
    """An attempt's process and the line to it."""

    request: AttemptRequest
    process: AttemptProcess
    line: SupervisorLine

    def end(self) -> None:
        """Kill the process and everything it started."""
        try:
            kill(self.process)
            end_all(self.request.folder)
            release(self.request.folder)
        finally:
            self.line.close()

    def reap(self) -> None:
        """Wait until the process has cleaned up behind itself, and is gone with all it started."""
        try:
            self.process.wait(REST_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning(
                "run %s: its attempt did not end within %.0f s after its result, and was killed",
                self.request.run,
                REST_SECONDS,
            )
        finally:
            self.end()


def start_attempt(request: AttemptRequest) -> StartedAttempt:
    """Start the process that executes `request`.

    Raises:
        OSError: the folder cannot be written, or there is no room for another process.
    """
    folder = request.folder
    (folder / SCRAPS_FOLDER).mkdir(parents=True, exist_ok=True)
    path = folder / REQUEST_FILE
    path.write_text(json.dumps(request.to_json(), indent=1), encoding="utf-8")
    # Enough for the last events and a notebook without outputs.
    reserve(folder, 256 * 1024 + 2 * request.notebook.stat().st_size)
    # What the request adds, the attempt takes on itself: it is none of a zygote's key.
    environment = {**os.environ, SUPERVISOR_VARIABLE: str(os.getpid())}
    line = SupervisorLine()
    try:
        with (folder / LOG_FILE).open("ab") as log:
            process = _start(str(path), environment, [line.descriptor, log.fileno(), log.fileno()])
    except BaseException:
        line.close()
        release(folder)
        raise
    line.hand_over()
    return StartedAttempt(request=request, process=process, line=line)


def kill(process: AttemptProcess) -> None:
    """End the process, now."""
    if process.poll() is None:
        process.kill()
        process.wait()


def _start(request: str, environment: Mapping[str, str], stdio: Sequence[int]) -> AttemptProcess:
    """Return a fork of the zygote that has papermill imported, else a process of our own."""
    from nbprod.kernels import client
    from nbprod.kernels.launch import NotWarmError
    from nbprod.kernels.settings import find_settings

    if not client.is_off():
        try:
            wanted = client.request_here(
                ATTEMPT, [request], environment=environment, cwd=str(Path.cwd())
            )
            settings = replace(find_settings(Path.cwd()), preload=None)  # those are for kernels
            return client.fork(
                wanted, stdio, role="command", settings=settings, wait=client.wait_seconds(0)
            )
        except (NotWarmError, OSError) as error:
            logger.debug("the attempt is started cold: %s", error)
    return subprocess.Popen(
        # -P: a json.py in the current folder must not stand in for the library's.
        [sys.executable, "-P", "-m", "nbprod.runners.attempt", request],
        env=environment,
        stdin=stdio[0],
        stdout=stdio[1],
        stderr=stdio[2],
        start_new_session=True,
    )
