"""What a spare plays through ahead is an attempt's own way, and leaves nothing behind."""

import json
import subprocess
import sys

PROGRAM = """\
import gc, json, os, signal, sys, threading, time
from pathlib import Path
from nbprod.runners import rehearsal
from nbprod.runners.kernel_run import KernelRun

ends = []
execute = KernelRun.execute
KernelRun.execute = lambda run: ends.append(execute(run)) or ends[-1]
rehearsal.rehearse()  # what it imports stays, and the event loop of this thread

def seen():
    return {
        "variables": dict(os.environ),
        "folder": os.getcwd(),
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "tasks": len(os.listdir("/proc/self/task")),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        "files": sorted(str(path) for path in Path(sys.argv[1]).rglob("*")),
        "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
    }

def settled():
    gc.collect()
    time.sleep(0.5)  # a joined thread stays in /proc until Linux has taken it away
    return seen()

before = settled()
rehearsal.rehearse()
print(json.dumps({"before": before, "after": settled(), "ends": [str(end[0]) for end in ends]}))
"""


def test_a_rehearsal_succeeds_and_leaves_nothing(tmp_path: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    said = json.loads(done.stdout)
    assert said["ends"] == ["succeeded", "succeeded"]
    assert said["after"] == said["before"]
    assert done.stderr == ""
