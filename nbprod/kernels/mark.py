"""Show of a forked process which run it belongs to, as /proc shows it of any other.

/proc/PID/environ is the memory where the environment lay when the program began. A fork has its
zygote's there, whatever its variables are by now, and a run's processes are found by what stands
there: also those that left their parents and their session. So a zygote begins with room for the
mark, and a fork writes the mark into that room; what it forks itself inherits it.
"""

import ctypes
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

logger = logging.getLogger(__name__)

#: The variable by which a run's processes are found; its value is the attempt's folder.
MARK = "NBPROD_RUN_FOLDER"
#: What a zygote is started with: as many bytes as the longest path has, and the name.
ROOM = "NBPROD_MARK_ROOM"
_BYTES = 4096 + len(MARK) + 2


def room() -> dict[str, str]:
    """Return the variable to start a zygote with."""
    return {ROOM: "x" * (_BYTES - len(ROOM) - 1)}


def write(environment: Mapping[str, str]) -> bool:
    """Let /proc show the mark in `environment`; say whether it can be seen there now.

    Without a mark, without room, and elsewhere than on Linux nothing changes.
    """
    folder = environment.get(MARK)
    if folder is None or sys.platform != "linux":
        return False
    text = f"{MARK}={folder}\0".encode(errors="surrogateescape")
    try:
        start, end = _region()
        place = ctypes.string_at(start, end - start).find(f"{ROOM}=".encode())
    except (OSError, ValueError) as error:
        logger.warning("the run's mark could not be written: %s", error)
        return False
    if place < 0 or len(text) > _BYTES:
        return False
    ctypes.memmove(start + place, text, len(text))
    return True


def clear() -> None:
    """Let the room be no variable of this process; the memory stays."""
    os.environ.pop(ROOM, None)


def _region() -> tuple[int, int]:
    """Return where the environment lay at the program's start: addresses."""
    text = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace")
    fields = text[text.rfind(")") + 2 :].split()
    start, end = int(fields[47]), int(fields[48])
    if not 0 < start < end:
        raise ValueError("/proc tells no addresses of this process")
    return start, end
