"""Settings of kernels: found upwards, lenient where a kernel must start anyway."""

import logging
from datetime import timedelta
from pathlib import Path

import pytest

from nbprod.kernels.settings import KernelSettings, find_settings
from nbprod.workspace.settings import KernelsTable

TABLE = """
[kernels]
preload = ["torch", "pandas"]
spares = 3
spare_memory = "512MiB"
idle = "1h30m"
outputs = "of another reader"
"""


def written(folder: Path, text: str) -> Path:
    (folder / "nbprod.toml").write_text(text)
    return folder


def test_settings_are_those_of_the_nearest_file(tmp_path: Path) -> None:
    below = tmp_path / "notebooks" / "deep"
    below.mkdir(parents=True)
    written(tmp_path, TABLE)

    assert find_settings(below, {}) == KernelSettings(
        preload=("torch", "pandas"),
        spares=3,
        spare_memory_bytes=512 * 2**20,
        idle=timedelta(minutes=90),
    )


def test_without_a_file_or_a_table_they_are_the_usual_ones(tmp_path: Path) -> None:
    written(tmp_path, '[workspace]\nname = "team"\n')

    assert find_settings(tmp_path, {}) == find_settings(Path("/"), {}) == KernelSettings()


def test_the_usual_ones_are_those_of_a_workspace() -> None:
    table = KernelsTable()

    usual = KernelSettings()

    assert (usual.preload, usual.spares) == (table.preload, table.spares)
    assert (table.spare_memory, table.idle) == ("1GB", "10min")
    assert (usual.spare_memory_bytes, usual.idle) == (10**9, timedelta(minutes=10))


@pytest.mark.parametrize(
    ("named", "preload"), [("torch, pandas", ("torch", "pandas")), ("", ()), (" , ", ())]
)
def test_a_variable_names_other_modules(
    tmp_path: Path, named: str, preload: tuple[str, ...]
) -> None:
    written(tmp_path, TABLE)

    assert find_settings(tmp_path, {"NBPROD_PRELOAD": named}).preload == preload


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("preload = 'torch'", "preload is a list of modules, not 'torch'."),
        ("preload = [1]", "preload is a list of modules, not [1]."),
        ("spares = -1", "spares is a whole number from 0, not -1."),
        ("spares = true", "spares is a whole number from 0, not True."),
        ("spare_memory = 'much'", "spare_memory is a size such as 1GB, not 'much'."),
        ("idle = 'soon'", "idle is a duration such as 10min, not 'soon'."),
        ("idle =", "Invalid value (at line 2, column 7)"),
    ],
)
def test_a_file_that_cannot_be_used_costs_its_settings_and_no_kernel(
    tmp_path: Path, text: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, f"[kernels]\n{text}\n") / "nbprod.toml"

    with caplog.at_level(logging.WARNING):
        settings = find_settings(tmp_path, {})

    assert settings == KernelSettings()
    assert caplog.messages == [f"[kernels] of {path} is not used: {problem}"]


def test_settings_reach_a_zygote_as_they_are() -> None:
    some = KernelSettings(preload=("torch",), spares=1, idle=timedelta(seconds=2.5))

    assert KernelSettings.from_json(some.as_json()) == some
    assert KernelSettings.from_json(KernelSettings().as_json()) == KernelSettings()
