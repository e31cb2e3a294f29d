"""Start a zygote: one at a time for a key, detached from whoever needed it first."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from nbprod.core.errors import RuntimeFolderError
from nbprod.kernels.mark import room
from nbprod.kernels.places import FOLDER_VARIABLE, is_locked, log_path, runtime_folder
from nbprod.kernels.settings import KernelSettings

#: The zygote must not be our child: it outlives us, and is no part of a run that is ended whole.
#: What a shell in the background or nohup ignores, the kernels would ignore as well.
_DETACH = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.umask(0o077)
os.fork() and os._exit(0)
os.execv(sys.argv[1], sys.argv[1:])
"""
#: How often a zygote may end before anybody reached it, and for how long that is held against it.
#: More than once: a module that ends it is left out the next time, and there may be two of them.
TRIES = 4
TRIES_SECONDS = 300.0
#: Seconds from the start of a zygote until it holds its lock: whoever comes meanwhile lets it be.
#: It takes 0.2, and 0.7 where five others wanted the same two cores.
HEAD_START = 10.0

#: Seconds that the log of a zygote is kept.
KEPT_SECONDS = 7 * 86_400.0


class NotWarmError(Exception):
    """There is no warm process, and why: start a cold one. Internal: it never reaches a user."""

    def __init__(self, reason: str, *, is_chosen: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason  #: a sentence
        self.is_chosen = is_chosen  #: the user wants it so: nothing to warn of


def ensure_zygote(
    key: str,
    *,
    role: str,
    python: str,
    settings: KernelSettings,
    environment: Mapping[str, str],
) -> bool:
    """Start the zygote of that key, unless one is on its way; say whether it was started now.

    Raises:
        NotWarmError: it cannot be started, or ends as often as it is started.
    """
    try:
        if is_locked(key) or not _may_try(key):
            return False
        _start(key, zygote_command(python, role=role, key=key, settings=settings), environment)
        _sweep()
        return True
    except (RuntimeFolderError, OSError, subprocess.SubprocessError) as error:
        raise NotWarmError(f"its zygote could not be started ({error})") from error


def forget_tries(key: str) -> None:
    """Forget that the zygote ended before: somebody has reached it now, or wants it tried anew."""
    path = _tries_path(key)
    with contextlib.suppress(OSError):
        if path.stat().st_size:
            os.truncate(path, 0)


def put_down(pid: int, key: str) -> bool:
    """Kill a zygote that does not answer, if `pid` is one. Kernels that it forked live on."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"nbprod.kernels.zygote" not in command or key.encode() not in command:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(pidfd)


def zygote_command(python: str, *, role: str, key: str, settings: KernelSettings) -> list[str]:
    """Return the command line of a zygote."""
    given = json.dumps(settings.as_json())
    # Not -P: sys.flags.safe_path would be every fork's, and IPython leave the notebook's folder out
    # of sys.path. It starts in `/`, where only root could put something in the way.
    program = ["-m", "nbprod.kernels.zygote"]
    return [python, *program, "--role", role, "--key", key, "--settings", given]


def _tries_path(key: str) -> Path:
    return runtime_folder() / f"{key}.tries"


def _may_try(key: str) -> bool:
    """Note that the zygote is started now; False where somebody else has just done so."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    tries = os.open(_tries_path(key), flags, 0o600)
    try:
        try:
            fcntl.flock(tries, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        moments = [float(word) for word in os.pread(tries, 4096, 0).split()]
        recent = [moment for moment in moments if 0 <= time.time() - moment < TRIES_SECONDS]
        if recent and time.time() - recent[-1] < HEAD_START:
            return False
        if len(recent) >= TRIES:
            raise NotWarmError(
                f"its zygote ended {len(recent)} times as it started, see {log_path(key)}; "
                "nbprod kernels warm tries again"
            )
        os.ftruncate(tries, 0)
        os.pwrite(tries, " ".join(map(str, [*recent, time.time()])).encode(), 0)
        return True
    finally:
        os.close(tries)


def _start(key: str, command: list[str], environment: Mapping[str, str]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    log = os.open(log_path(key), flags, 0o600)
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _DETACH, *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env=_of_no_run(environment) | room(),
            start_new_session=True,
            timeout=30,
            check=True,
        )
    finally:
        os.close(log)


def _sweep() -> None:
    """Remove what zygotes have left whose packages, or versions of nbprod, are history."""
    too_old = time.time() - KEPT_SECONDS
    for path in runtime_folder().glob("*.log"):
        key = path.stem
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < too_old and not is_locked(key):
                for left in path.parent.glob(f"{key}.*"):
                    left.unlink()


def _of_no_run(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out what marks a process as part of a run, which is ended with all its processes.

    It meets its clients where we look for it, whatever folder its kernels' variables would choose.
    """
    of_none = {name: value for name, value in environment.items() if not name.startswith("NBPROD_")}
    return {**of_none, FOLDER_VARIABLE: str(runtime_folder())}
