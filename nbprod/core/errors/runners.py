"""Errors of the runners: what an attempt needs before it can start."""

from nbprod.core.errors.root import NbprodError


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
