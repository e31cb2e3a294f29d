"""A process with its imports done, which forks the processes that its clients ask for.

`python -m nbprod.kernels.zygote --role kernel|command --key KEY --settings JSON`, started by a
client, from `/`, with the variables that its forks will have. It does one thing at a time and has
one thread, for a fork copies no others. What it forks lives on without it; it waits for that only
to say how it ended.
"""

import argparse
import contextlib
import gc
import json
import os
import signal
import sys
import time
from collections.abc import Sequence

from nbprod.kernels import mark, places
from nbprod.kernels.children import disown_finalizers, forget_absent_folders
from nbprod.kernels.log import open_log
from nbprod.kernels.preload import Preloaded, preload
from nbprod.kernels.safety import settle, strangers, why_unsafe
from nbprod.kernels.server import Zygote
from nbprod.kernels.settings import KernelSettings
from nbprod.kernels.staleness import Snapshot

#: How often the lock is tried, and the seconds between: whoever looks whether a zygote is there
#: takes it for a moment.
TRIES, PAUSE = 10, 0.01


def main(argv: Sequence[str]) -> None:
    """Be a zygote, or one of its forks. Never returns."""
    parser = argparse.ArgumentParser(prog="nbprod.kernels.zygote")
    parser.add_argument("--role", choices=("kernel", "command"), required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--settings", required=True)
    parser.add_argument("--without", default="{}", help="modules to skip, and why: JSON")
    given = parser.parse_args(argv)
    settings = KernelSettings.from_json(json.loads(given.settings))
    open_log()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lock = _take_lock(given.key)
    if lock is None:
        os._exit(0)  # another one serves, or will
    # Of `-m`: where it was started, which no fork looks in.
    if sys.path and sys.path[0] in ("", "/"):
        del sys.path[0]
    mark.clear()
    note = places.log_path(given.key).with_suffix(".importing")
    snapshot = Snapshot()
    without = json.loads(given.without)
    preloaded = preload(given.role, settings.preload, without=without, note_path=note)
    snapshot.take_files()
    settle()
    if spoilers := _spoilers(preloaded, settings):
        # What is imported stays imported: only a new process is without it.
        again = [*argv, "--without", json.dumps(without | spoilers)]
        program = [sys.executable, "-m", "nbprod.kernels.zygote", *again]
        os.execve(sys.executable, program, os.environ | mark.room())
    forget_absent_folders()
    disown_finalizers()
    gc.collect()
    # Children neither walk these objects nor write into them: their pages stay shared.
    gc.freeze()
    zygote = Zygote(
        role=given.role,
        key=given.key,
        settings=settings,
        preloaded=preloaded,
        snapshot=snapshot,
        lock=lock,
    )
    child = zygote.serve()
    if child is None:
        os._exit(0)
    del zygote
    child()


def _take_lock(key: str) -> int | None:
    """Return the lock's descriptor; None where another zygote holds it."""
    for _ in range(TRIES):
        with contextlib.suppress(BlockingIOError):
            return places.take_lock(key)
        time.sleep(PAUSE)
    return None


def _spoilers(preloaded: Preloaded, settings: KernelSettings) -> dict[str, str]:
    """Return modules without which a zygote could serve, or would serve in truth; and why."""
    found = dict(preloaded.spoilers)
    if settings.preload is not None:
        return found  # who names a module that is not safe is told so, by each kernel
    unsafe = why_unsafe(preloaded.started_by, preloaded.gpu)
    modules = {preloaded.started_by.get(thread) for thread in strangers()} | {preloaded.gpu}
    return found | {module: unsafe for module in modules if module}


if __name__ == "__main__":
    main(sys.argv[1:])
