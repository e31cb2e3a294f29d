"""A runtime folder of a test's own, with no process left in it at the end."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; what tests share lies beside them.
sys.path.insert(0, str(Path(__file__).parent))

from kernel_starts import Starts
from meeting_places import runtime_folder, use


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which zygotes and clients of this test meet."""
    with runtime_folder() as folder:
        use(folder, monkeypatch, warm="on")
        yield folder


@pytest.fixture(scope="module")
def shared_runtime() -> Iterator[Path]:
    """A runtime folder for the tests of a module: a zygote takes seconds to import."""
    with runtime_folder() as folder:
        yield folder


@pytest.fixture
def warm(shared_runtime: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """Kernels that wait for their zygote, which imports nothing but what a kernel needs."""
    use(shared_runtime, monkeypatch, warm="wait")
    return Starts(shared_runtime)
