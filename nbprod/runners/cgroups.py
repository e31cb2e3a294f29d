"""A control group (cgroup v2) of a run's own, where this user may make one.

Somebody must have handed this user a part of the tree: systemd does for a user's own services
(`systemd-run --user --scope`, `Delegate=yes`), and so do some container runtimes. Processes lie
only in the leaves of that tree, so the group is made beside ours, below the nearest ancestor that
hands memory on to its children.
"""

import logging
import os
import time
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

#: Where cgroup v2 is mounted, alone or beside version 1.
ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
OWN = Path("/proc/self/cgroup")
_ABANDONED = 60.0  #: seconds


class MemoryGroup:
    """A group whose processes together get no more than so much memory, and end together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def make(cls, name: str, *, limit_bytes: int) -> "MemoryGroup | None":
        """Make a group of that name, or return None where that cannot be done."""
        for parent in _parents():
            _sweep(parent)
            group = cls(parent / f"nbprod-{name}")
            try:
                group.folder.mkdir()
            except OSError:
                continue
            try:
                group._write("memory.max", limit_bytes)
                # All at once: a kernel whose children were shot goes on without them, and waits.
                group._write("memory.oom.group", 1)
                with suppress(OSError):  # without it, what is too much would only become slow
                    group._write("memory.swap.max", 0)
            except OSError as error:
                logger.info("no control group for this run: %s", error)
                group.remove()
                continue
            return group
        return None

    def add(self, pid: int) -> bool:
        """Move a process in, and with it whatever it starts; say whether that could be done."""
        try:
            self._write("cgroup.procs", pid)
        except OSError as error:
            logger.info("the kernel could not be put into a control group: %s", error)
            return False
        return True

    def kills(self) -> int:
        """Return how many of its processes were killed because it had reached its limit."""
        # Linux counts those as well that it killed because the machine had no memory left.
        if not self._count("memory.events", "oom"):
            return 0
        return self._count("memory.events", "oom_kill")

    def peak(self) -> int:
        """Return the most memory it ever held; 0 where Linux does not say (before 5.19)."""
        with suppress(OSError, ValueError):
            return int((self.folder / "memory.peak").read_text())
        return 0

    def remove(self) -> None:
        """Kill what is still in it, and take it away."""
        deadline = time.monotonic() + 2.0
        with suppress(OSError):
            self._write("cgroup.kill", 1)
        while True:
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError as error:
                # Killed processes stay in it for a moment.
                if time.monotonic() > deadline:
                    logger.warning("a control group stays behind: %s", error)
                    return
                time.sleep(0.01)
            else:
                return

    def _write(self, name: str, value: int) -> None:
        (self.folder / name).write_text(str(value))

    def _count(self, name: str, key: str) -> int:
        with suppress(OSError, ValueError):
            for line in (self.folder / name).read_text().splitlines():
                if line.startswith(f"{key} "):
                    return int(line.split()[1])
        return 0


def _sweep(parent: Path) -> None:
    """Take away the groups of attempts that were killed before they could do it."""
    for folder in parent.glob("nbprod-*"):
        # One that was made just now is about to get its first process.
        with suppress(OSError):
            if time.time() - folder.stat().st_ctime > _ABANDONED:
                folder.rmdir()  # refused where a process is still in it


def _parents() -> list[Path]:
    """Return the groups above our own in which this user may make one with a limit, nearest first.

    Only up to where it may no longer move processes: both the old and the new place of a process
    must lie below one that it may write to.
    """
    own = _own_path()
    if own is None:
        return []
    found = []
    for root in ROOTS:
        folder = root / own.lstrip("/")
        if not (folder / "cgroup.controllers").is_file():
            continue
        while True:
            if _hands_on_memory(folder):
                found.append(folder)
            if folder == root or not os.access(folder.parent / "cgroup.procs", os.W_OK):
                break
            folder = folder.parent
        break
    return found


def _hands_on_memory(folder: Path) -> bool:
    with suppress(OSError):
        controllers = (folder / "cgroup.subtree_control").read_text().split()
        return "memory" in controllers and os.access(folder, os.W_OK)
    return False


def _own_path() -> str | None:
    with suppress(OSError):
        for line in OWN.read_text().splitlines():
            if line.startswith("0::"):
                return line[3:]
    return None
