"""Cold kernels and warm ones to compare, of one zygote with the heavy libraries in it."""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; what tests share lies beside them.
sys.path.insert(0, str(Path(__file__).parent))

from ways import Executed, Kernels, Same, Way, differences, reference

from nbprod.kernels import client

#: What a cold kernel left, by cells and variables: forked ones and spares are compared with it.
_cold: dict[tuple[object, ...], Executed] = {}


@pytest.fixture(scope="session")
def _meeting_place() -> Iterator[Path]:
    """A runtime folder for all tests here: a zygote with torch in it takes its time to import."""
    folder = Path(tempfile.mkdtemp(prefix="nbprod-"))  # a socket's path has 107 bytes at most
    yield folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBPROD_RUNTIME_DIR", str(folder))
        zygotes = [state["pid"] for state in client.states() if "pid" in state]
    for pid in zygotes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def _workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kernels run: short, the same for all, with one spare at a time."""
    folder = tmp_path_factory.mktemp("same")
    (folder / "nbprod.toml").write_text("[kernels]\nspares = 1\n")
    (folder / "home").mkdir()
    return folder


@pytest.fixture
def environment(_workspace: Path) -> dict[str, str]:
    """The variables of a kernel, without those of whoever runs the tests."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "HOME": str(_workspace / "home"),
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture
def kernels(
    _workspace: Path,
    _meeting_place: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Kernels:
    """Kernels in a folder of their own, cold or warm as asked for."""
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", str(_meeting_place))
    monkeypatch.setenv("NBPROD_WARM", "wait")
    monkeypatch.delenv("NBPROD_PRELOAD", raising=False)
    return Kernels(environment, _workspace / "here")


@pytest.fixture(params=[Way.FORKED, Way.SPARE])
def way(request: pytest.FixtureRequest) -> Way:
    """Return where the warm kernel comes from."""
    return Way(request.param)


@pytest.fixture
def bare() -> dict[str, str]:
    """Variables with which a zygote imports no library, and is there in half a second."""
    return {"NBPROD_PRELOAD": ""}


@pytest.fixture
def same(kernels: Kernels, way: Way) -> Same:
    """Run cells cold and warm, compare all that is left of both, and return it."""
    return lambda cells, more=None: _compared(kernels, way, cells, more or {})


@pytest.fixture
def light(kernels: Kernels, way: Way, bare: dict[str, str]) -> Same:
    """Do as `same` does, of a zygote that imports no library."""
    return lambda cells, more=None: _compared(kernels, way, cells, {**bare, **(more or {})})


def _compared(
    kernels: Kernels, way: Way, cells: Sequence[str], variables: Mapping[str, str]
) -> Executed:
    key = (tuple(cells), tuple(sorted(variables.items())))
    if key not in _cold:
        _cold[key] = reference(kernels, cells, variables)
    cold, warm = _cold[key], kernels.execute(cells, way, variables)
    for number in range(len(cells)):
        assert differences(cold, warm, number) == {}, f"cell {number}"
    assert warm == cold
    return warm
