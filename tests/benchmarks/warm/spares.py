"""What an idle spare costs: memory that it has for itself, measured from outside."""

import time
from collections.abc import Iterator
from pathlib import Path

from figures import Figure

from warm.processes import MIB, Memory, memory, tree
from warm.workspaces import OpenWorkspace

GOAL = 80 * MIB
#: Seconds in which a spare that is just there comes to rest.
REST = 3.0
TORCH = "libtorch"


def idle_spares(workspace: OpenWorkspace) -> tuple[list[Memory], Memory | None, bool]:
    """Return the spares' memory, the zygote's, and whether torch is in each of them."""
    workspace.settle()
    time.sleep(REST)
    zygote = workspace.zygotes()["kernel"]
    spares = [pid for pid in tree([zygote]) if pid != zygote]
    has_torch = all(TORCH in Path(f"/proc/{pid}/maps").read_text() for pid in spares)
    found = [held for pid in spares if (held := memory(pid)) is not None]
    return found, memory(zygote), has_torch


def figures(spares: list[Memory], zygote: Memory | None, *, has_torch: bool) -> Iterator[Figure]:
    """Yield the largest spare's private memory."""
    imported = "torch and transformers" if has_torch else "no torch"
    largest = max((held.private for held in spares), default=0)
    resident = max((held.rss for held in spares), default=0)
    yield Figure(
        name=f"private memory of an idle spare, {imported} imported",
        ratio=f"{largest / resident:.2f} of its resident memory" if resident else "",
        measured=f"{largest / MIB:.0f} MiB, the largest of {len(spares)}; "
        f"the zygote has {(zygote.pss if zygote else 0) / MIB:.0f} MiB (PSS)",
        goal="under 80 MiB",
        holds=bool(spares) and has_torch and largest < GOAL,
    )
