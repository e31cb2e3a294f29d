"""The wheel, and two environments that it is installed in, made once for all tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _sibling(name: str) -> ModuleType:
    """Import a module of this folder, which is no package: tests are not installed."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


environments = _sibling("environments")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    environments.build(folder)
    return folder


@pytest.fixture(scope="session")
def wheel(built: Path) -> Path:
    (found,) = built.glob("nbprod-*.whl")
    return found


@pytest.fixture(scope="session")
def control_plane(wheel: Path, tmp_path_factory: pytest.TempPathFactory):
    """What `pip install nbprod` gives."""
    folder = tmp_path_factory.mktemp("control-plane")
    return environments.make_environment(wheel, folder=folder, extras=())


@pytest.fixture(scope="session")
def with_ml(wheel: Path, tmp_path_factory: pytest.TempPathFactory):
    """What `pip install 'nbprod[ml]'` gives."""
    folder = tmp_path_factory.mktemp("with-ml")
    return environments.make_environment(wheel, folder=folder, extras=("ml",))
