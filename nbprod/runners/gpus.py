"""Which GPUs this machine has, and how a run is confined to those it leased.

Always by UUID: an index means another device to a process that sees fewer of them, and CUDA and
NVML may count in different orders.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbprod.core.errors.runners import GpuInventoryError
from nbprod.core.resources import Gpu

VISIBLE = "CUDA_VISIBLE_DEVICES"
#: A JSON list of {"uuid", "name", "memory_bytes"}, instead of asking the driver.
DECLARED = "NBPROD_GPU_INVENTORY"


def inventory(environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, in the driver's order; none without a driver.

    An inherited CUDA_VISIBLE_DEVICES is a fence that somebody else set up (a scheduler, an outer
    run), so devices outside it do not exist here.

    Raises:
        GpuInventoryError: when NBPROD_GPU_INVENTORY is set and malformed.
    """
    declared = environ.get(DECLARED)
    found = _devices() if declared is None else _parse(declared)
    visible = environ.get(VISIBLE)
    return found if visible is None else _visible(found, visible)


def environment(gpus: Iterable[Gpu]) -> dict[str, str]:
    """Return the variables that confine a process to `gpus`.

    For none of them the value is empty: left out, CUDA would show all.
    """
    return {VISIBLE: ",".join(gpu.uuid for gpu in gpus)}


def _visible(found: Sequence[Gpu], visible: str) -> tuple[Gpu, ...]:
    """Read CUDA_VISIBLE_DEVICES as CUDA does: indices or UUID prefixes, up to an invalid one."""
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdigit():
            matches = [found[int(entry)]] if int(entry) < len(found) else []
        else:
            matches = [gpu for gpu in found if entry and gpu.uuid.startswith(entry)]
            if not matches and entry.startswith("MIG-"):
                matches = _slice_of_device(entry)
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return tuple(chosen)


def _devices() -> tuple[Gpu, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        return tuple(_describe(handle) for handle in handles)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _slice_of_device(uuid: str) -> list[Gpu]:
    """Return the MIG slice of that UUID: it is no device of its own in the driver's count."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_describe(pynvml.nvmlDeviceGetHandleByUUID(uuid))]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _describe(handle: Any) -> Gpu:
    import pynvml

    return Gpu(
        uuid=str(pynvml.nvmlDeviceGetUUID(handle)),
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
    )


def _parse(declared: str) -> tuple[Gpu, ...]:
    try:
        return tuple(
            Gpu(
                uuid=str(item["uuid"]),
                name=str(item.get("name", "declared")),
                memory_bytes=int(item.get("memory_bytes", 0)),
            )
            for item in json.loads(declared)
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise GpuInventoryError(f"{type(error).__name__}: {error}") from error
