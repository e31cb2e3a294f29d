"""Whether this process may fork: what a fork would break, it must not have begun.

A fork copies one thread. What others held (locks, a pool's work) is held for ever in the child;
and a GPU that was opened before the fork cannot be used after it.
"""

import contextlib
import os
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path

_TASKS = Path("/proc/self/task")
#: Device files that computing on a GPU opens, and looking at it (NVML, nvidia-smi) does not. They
#: tell more than a library does: `torch.cuda.is_available` alone may spoil every fork.
_GPUS = ("/dev/nvidia-uvm", "/dev/kfd")
#: pyarrow's allocator; it stops its thread for a fork and starts it anew on both sides.
_SAFE_THREADS = ("jemalloc_bg_thd", "jemalloc_bg_th")


def threads() -> set[int]:
    """Return the ids of this process's threads as Linux counts them, also those of C libraries."""
    return {int(name) for name in os.listdir(_TASKS)}  # noqa: PTH208 - 10 times quicker


def fork() -> int:
    """Fork as `os.fork` does, whatever this process has been told of warnings.

    Newer Pythons warn of any second thread, also of those that know of forks.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def settle() -> None:
    """Fork once for nothing: libraries that know of forks end their threads for it.

    OpenBLAS starts threads when NumPy is imported, ends them before a fork, and starts them again
    when it needs them. What still runs after this is of something that knows nothing of forks.
    """
    with contextlib.suppress(OSError):  # no process to be had: then those threads are strangers
        pid = fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)


def why_unsafe(started_by: Mapping[int, str], gpu: str) -> str:
    """Return why this process must not fork, in words; empty when it may."""
    if gpu:
        return f"importing {gpu} initialised a GPU, which a forked process could not use"
    opened = gpu_devices()
    if opened:
        return f"a GPU was initialised ({opened[0]} is open), which a forked process could not use"
    torch = sys.modules.get("torch")
    if torch is not None and getattr(torch, "cuda", None) and torch.cuda.is_initialized():
        return "CUDA was initialised, and a forked process could not use it"
    found = strangers()
    if not found:
        return ""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    name = names.get(found[0]) or _name(found[0])
    module = started_by.get(found[0])
    whose = f"importing {module} started a thread" if module else "a thread runs"
    return f"{whose} ({name}), which a forked process would lack"


def strangers() -> list[int]:
    """Return the ids of threads that would be missed in a fork."""
    others = threads() - {os.getpid()}
    return sorted(thread for thread in others if _name(thread) not in _SAFE_THREADS)


def gpu_devices() -> list[str]:
    """Return the device files of GPUs on which this process could compute by now."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            target = str(path.readlink())
        except OSError:
            continue  # the descriptor of this very listing
        if target.startswith(_GPUS):
            found.append(target)
    return sorted(found)


def _name(thread: int) -> str:
    try:
        return (_TASKS / str(thread) / "comm").read_text(encoding="utf-8").strip()
    except OSError:
        return "gone"
