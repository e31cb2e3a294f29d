"""A run's life, killed with SIGKILL before its n-th statement. Run as a program by the tests.

python crashing.py URL ROOT: for n = 1, 2, ... fork a process that opens the store at URL, moves a
run through every state and kills itself before its n-th statement; print how each ended.
"""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from nbprod.core.runs import Lineage, Run, RunStatus
from nbprod.core.scraps import Scrap, ScrapType
from nbprod.store.store import Store

SCRAPS = [
    Scrap(name=name, encoder="json", type=ScrapType.NUMBER, value=0.5) for name in ("f1", "loss")
]
FILES = [("scraps/model/weights", "b" * 64, 90)]


def live(url: str, root: Path, number: int) -> None:
    """Insert, start, beat and finish run `number`; die before that statement."""
    left = number

    def count(*anything: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    lease = timedelta(seconds=-1)  # expired at once: whoever opens the store next finds it
    store = Store.open(url, root=root)
    sa.event.listen(store.engine, "before_cursor_execute", count)
    sa.event.listen(store.engine, "commit", count)
    lineage = Lineage(template_digest="a" * 64)
    run = Run(id=f"20261121-{number:06d}-aaaaaa", template="train", lineage=lineage)
    store.runs.insert(run, owner="host/1/token", lease=lease)
    store.runs.started(run.id, 1, pid=2**22 + 1, pid_started=1.0, folder=str(root / "x"))
    store.runs.heartbeat(run.id, 1, lease=lease)
    store.runs.finish(
        run.id,
        1,
        status=RunStatus.SUCCEEDED,
        reason="Done.",
        scraps=SCRAPS,
        artifacts=FILES,
        notebook_digest="9" * 64,
    )
    store.close()


def main() -> None:
    """Fork until a life comes to its end."""
    url, root = sys.argv[1], Path(sys.argv[2])
    number, signalled = 0, int(signal.SIGKILL)
    while signalled == signal.SIGKILL:
        number += 1
        child = os.fork()
        if child == 0:
            live(url, root, number)
            os._exit(0)
        signalled = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{number} {signalled}\n")
        sys.stdout.flush()  # before the next fork, which would write it again


if __name__ == "__main__":
    main()
