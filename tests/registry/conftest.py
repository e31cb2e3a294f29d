import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# pytest's importlib mode puts no test folder on the path; the files made for these tests are a
# module beside them, which the worker processes import as well.
sys.path.insert(0, str(Path(__file__).parent))

from model_files import open_registry

from nbprod.registry.registry import Registry


@pytest.fixture
def registry(store_url: str, tmp_path: Path) -> Iterator[Registry]:
    """An empty registry: once on SQLite, once on PostgreSQL."""
    registry, store = open_registry(store_url, tmp_path)
    with store:
        yield registry


@pytest.fixture
def local_registry(tmp_path: Path) -> Iterator[Registry]:
    """An empty registry on SQLite, for what the database has no part in."""
    registry, store = open_registry("sqlite:///.nbprod/store.db", tmp_path)
    with store:
        yield registry
