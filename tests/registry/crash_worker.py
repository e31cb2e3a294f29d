"""Die at each step of an operation: `crash_worker.py URL ROOT OPERATION`, one JSON line a death.

Each attempt is a forked process that kills itself with SIGKILL at its n-th step: a statement
sent to the database, before and after it, a commit, or anything done to a file. After each
death the survivor opens the store and checks that everything on record loads as it should.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from model_files import model_folder, open_registry
from sqlalchemy import event

from nbprod.core.digest import digest_folder
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.registry.registry import Registry

PASSED = Verdict(gate="g", outcome=Outcome.PASSED, reason="It passed.")
#: What Python's audit hooks say when a file is opened for writing, made, moved or removed.
FILE_EVENTS = {"os.mkdir", "os.rename", "os.remove", "os.chmod", "os.rmdir", "os.link"}


class Fuse:
    """Counts steps; the process dies at the one it was lit for."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.is_lit = False

    def burn(self, *_: object) -> None:
        if not self.is_lit:
            return
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.left -= 1

    def on_audit(self, name: str, arguments: tuple[object, ...]) -> None:
        flags = arguments[2] if name == "open" and len(arguments) == 3 else 0
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        if name in FILE_EVENTS or writes:
            self.burn()

    def fit(self, engine: sa.Engine) -> None:
        for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
            event.listen(engine, moment, self.burn)
        # a commit that was sent, but whose answer nobody saw
        commit = engine.dialect.do_commit

        def do_commit(connection: object) -> None:
            commit(connection)
            self.burn()

        engine.dialect.do_commit = do_commit
        sys.addaudithook(self.on_audit)


def register(registry: Registry, root: Path) -> None:
    registry.register("router", root / "new", actor="ann", run="r1")


def promote(registry: Registry, root: Path) -> None:
    registry.promote("router", 2, expected=1, verdicts=(PASSED, PASSED), actor="ann")


def rollback(registry: Registry, root: Path) -> None:
    registry.rollback("router", actor="ann", reason="too slow")


def materialise(registry: Registry, root: Path) -> None:
    registry.path("router@2")


def repair(registry: Registry, root: Path) -> None:
    registry.repair("router@1")


OPERATIONS: dict[str, Callable[[Registry, Path], None]] = {
    "register": register,
    "promote": promote,
    "rollback": rollback,
    "materialise": materialise,
    "repair": repair,
}


def prepare(url: str, root: Path, operation: str) -> None:
    registry, store = open_registry(url, root)
    with store, store.write() as connection:
        for table in ("verdicts", "audit", "aliases", "versions", "models"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    shutil.rmtree(root / ".nbprod" / "models", ignore_errors=True)
    shutil.rmtree(root / ".nbprod" / "artifacts", ignore_errors=True)
    with store:
        for seed in range(2):
            registry.register("router", root / str(seed), actor="ann")
        registry.promote("router", 1, expected=None, verdicts=(PASSED,), actor="ann")
        registry.path("router@1")
        if operation == "rollback":
            registry.promote("router", 2, expected=1, verdicts=(PASSED,), actor="ann")


def attempt(url: str, root: Path, operation: str, steps: int) -> bool:
    """Run the operation in a process that dies at step `steps`; say whether it got through."""
    child = os.fork()
    if child == 0:
        fuse = Fuse(steps)
        registry, store = open_registry(url, root)
        fuse.fit(store.engine)
        fuse.is_lit = True
        OPERATIONS[operation](registry, root)
        fuse.is_lit = False
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return not os.WIFSIGNALED(status)


def inspect(url: str, root: Path) -> dict[str, object]:
    """Say what is on record, after loading all of it."""
    registry, store = open_registry(url, root)
    with store:
        for version in registry.versions("router"):
            path = registry.verify(f"router@{version.version}")
            assert digest_folder(path) == version.digest
        return {
            "versions": [version.version for version in registry.versions("router")],
            "champion": registry.get("router").version,
            "decisions": [
                [decision.action, decision.version, len(registry.verdicts(decision.id))]
                for decision in registry.history("router")
            ],
        }


def main(url: str, root: Path, operation: str) -> None:
    for seed in range(2):
        model_folder(root / str(seed), seed)
    model_folder(root / "new", 9)
    steps, survived = 0, False
    while not survived:
        prepare(url, root, operation)
        survived = attempt(url, root, operation, steps)
        found = inspect(url, root)
        if not survived:
            OPERATIONS[operation](open_registry(url, root)[0], root) if retry(
                operation, found
            ) else None
        again = inspect(url, root)
        sys.stdout.write(
            json.dumps({"steps": steps, "survived": survived, "found": found, "again": again})
            + "\n"
        )
        sys.stdout.flush()
        steps += 1


def retry(operation: str, found: dict[str, object]) -> bool:
    """Say whether the operation is still to be done, as whoever repeats it would find out."""
    match operation:
        case "promote":
            return found["champion"] == 1
        case "rollback":
            return found["champion"] == 2
        case _:
            return True


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
