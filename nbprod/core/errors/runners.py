"""Errors of the runners: what an attempt needs before it can start."""

import shlex
from collections.abc import Sequence

from nbprod.core.errors.root import NbprodError


class KernelNotInstalledError(NbprodError, LookupError):
    """A notebook asks for a Jupyter kernel that this machine does not have."""

    def __init__(self, template: str, kernel: str, installed: Sequence[str], other: str) -> None:
        super().__init__(template, kernel, tuple(installed), other)
        self.kernel = kernel
        self.what = f"{template} asks for the kernel {kernel!r}, which is not installed here."
        self.why = f"Installed: {', '.join(installed) or 'none'}."
        self.do = "Install it, then look: jupyter kernelspec list"
        if other:
            run = f"nbprod run {shlex.quote(template)} --kernel {shlex.quote(other)}"
            self.do = f"Run it in another of its language: {run}"


class GpuInventoryError(NbprodError, ValueError):
    """NBPROD_GPU_INVENTORY is set and is not a list of devices."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.what = "NBPROD_GPU_INVENTORY cannot be read."
        self.why = f"It must be a JSON list of devices with a uuid each. {problem}"
        self.do = (
            "Ask the driver instead:\n    unset NBPROD_GPU_INVENTORY\n"
            "or declare them:\n"
            """    export NBPROD_GPU_INVENTORY='[{"uuid": "GPU-0", "name": "A100"}]'"""
        )
