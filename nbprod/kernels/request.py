"""Ask for a fork that has from us what a child of ours would inherit.

Loads next to nothing: the thin client is as quick as what it imports.
"""

import os
import resource
from collections.abc import Mapping, Sequence

from nbprod.kernels.protocol import Fork


def request_here(
    target: str,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: str,
    may_be_spare: bool = True,
) -> Fork:
    """Return a request for a process that has from us what a child would inherit."""
    return Fork(
        target=target,
        argv=list(argv),
        environment=dict(environment),
        cwd=cwd,
        umask=_umask(),
        nice=os.getpriority(os.PRIO_PROCESS, 0),
        affinity=sorted(os.sched_getaffinity(0)),
        limits={
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource)
            if name.startswith("RLIMIT_")
        },
        may_be_spare=may_be_spare,
    )


def _umask() -> int:
    # os.umask can only be read by setting it, for every thread of this process.
    with open("/proc/self/status", encoding="utf-8", errors="replace") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
