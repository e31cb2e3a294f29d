"""A store on each database, and runs to put into it."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nbprod.core.runs import Lineage, Run
from nbprod.store.store import Store

MakeRun = Callable[..., Run]


@pytest.fixture
def store(store_url: str, tmp_path: Path) -> Iterator[Store]:
    """An empty store: once on SQLite, once on PostgreSQL."""
    with Store.open(store_url, root=tmp_path) as store:
        yield store


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """An empty store in a file."""
    with Store.open("sqlite:///.nbprod/store.db", root=tmp_path) as store:
        yield store


@pytest.fixture
def make_run() -> MakeRun:
    """Make runs that differ in their id; any other field can be given."""
    numbers = count(1)

    def make(**fields: Any) -> Run:
        given: dict[str, Any] = {
            "id": f"20261121-120000-{next(numbers):06x}",
            "template": "train",
            "parameters": {"epochs": 3},
            "lineage": Lineage(template_digest="a" * 64),
        }
        return Run(**(given | fields))

    return make
