"""How much memory a run holds on its GPUs, as the driver (NVML) tells it."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

logger = logging.getLogger(__name__)


class GpuMemory:
    """The memory that processes hold on devices. The driver is asked when it is first needed.

    Inside a container the driver names processes by ids that mean nothing there, or none at all.
    Then it is what the devices hold beyond what they held at first: a run leases whole devices.
    """

    def __init__(self, uuids: Sequence[str]) -> None:
        """Measure the devices of those UUIDs."""
        self._uuids = uuids
        self._devices: list[Any] | None = None
        self._before: dict[int, int] = {}  # place of the device -> bytes in use at first
        self.is_measured = False  #: whether the driver has answered

    def held(self, pids: Iterable[int]) -> int:
        """Return the bytes that those processes hold now; 0 where the driver does not say."""
        if not self._uuids:
            return 0
        try:
            import pynvml

            if self._devices is None:
                self._devices = []  # a driver that fails is not asked again
                pynvml.nvmlInit()
                self._devices = [pynvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in self._uuids]
                self._before = {place: _used(device) for place, device in enumerate(self._devices)}
            ours = set(pids)
            held = sum(self._on(place, ours) for place in range(len(self._devices)))
        except Exception as error:  # noqa: BLE001 - NVML fails in many ways, and it is only told
            logger.info("the memory held on GPUs is not measured: %s", error)
            self._devices, self._uuids = [], ()
            return 0
        self.is_measured = bool(self._devices)
        return held

    def _on(self, place: int, ours: set[int]) -> int:
        import pynvml

        assert self._devices is not None
        device = self._devices[place]
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(device)
        found = [process for process in processes if process.pid in ours]
        if found and all(process.usedGpuMemory is not None for process in found):
            return sum(int(process.usedGpuMemory) for process in found)
        return max(0, _used(device) - self._before[place])


def _used(device: Any) -> int:
    import pynvml

    return int(pynvml.nvmlDeviceGetMemoryInfo(device).used)
