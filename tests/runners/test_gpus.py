"""Which GPUs there are, from a declared inventory; on a CUDA machine also from the driver."""

import json
from typing import Any

import pytest

from nbprod.core.errors import GpuInventoryError
from nbprod.core.resources import Gpu
from nbprod.runners.gpus import environment, inventory

GPUS = [Gpu(uuid=f"GPU-{letter}000", name="H100", memory_bytes=80 << 30) for letter in "abc"]
DECLARED = json.dumps(
    [{"uuid": gpu.uuid, "name": gpu.name, "memory_bytes": gpu.memory_bytes} for gpu in GPUS]
)


@pytest.mark.parametrize(
    ("visible", "seen"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("2,0", [2, 0]),
        ("GPU-b000", [1]),
        ("GPU-b", [1]),
        ("GPU-", []),  # not unique: CUDA refuses it too
        ("0,9,1", [0]),  # CUDA stops at the first that is invalid
        ("1,1", [1]),
        ("NoDevFiles", []),
    ],
)
def test_an_inherited_fence_is_honoured_as_cuda_does(visible: str | None, seen: list[int]) -> None:
    environ: dict[str, str] = {"NBPROD_GPU_INVENTORY": DECLARED}
    if visible is not None:
        environ["CUDA_VISIBLE_DEVICES"] = visible

    assert list(inventory(environ)) == [GPUS[index] for index in seen]


def test_a_run_is_confined_by_uuid_and_without_gpus_sees_none() -> None:
    assert environment(GPUS[1:]) == {"CUDA_VISIBLE_DEVICES": "GPU-b000,GPU-c000"}
    assert environment([]) == {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize("declared", ["nonsense", "[1]", '[{"name": "x"}]', "5"])
def test_a_malformed_inventory_is_refused(declared: str) -> None:
    with pytest.raises(GpuInventoryError) as raised:
        inventory({"NBPROD_GPU_INVENTORY": declared})

    assert raised.value.what == "NBPROD_GPU_INVENTORY cannot be read."
    assert str(raised.value).endswith(
        """    export NBPROD_GPU_INVENTORY='[{"uuid": "GPU-0", "name": "A100"}]'"""
    )


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def fail() -> None:
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", fail)

    assert inventory({}) == ()


@pytest.mark.gpu
def test_the_drivers_devices_are_what_a_confined_process_sees() -> None:
    import os
    import subprocess
    import sys

    found = inventory({})
    if not found:
        pytest.skip("no CUDA device here")
    code = "import torch; print(torch.cuda.device_count())"
    counts: list[Any] = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | environment(gpus),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for gpus in ([], found[:1])
    ]
    assert counts == ["0", "1"]
