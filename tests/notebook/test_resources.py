from datetime import timedelta
from typing import NoReturn

import pytest

from nbprod.core.json import JSON
from nbprod.core.resources import Gpus, Resources
from nbprod.notebook.resources import parse_resources


def fail(keys: tuple[str | int, ...], problem: str) -> NoReturn:
    raise ValueError(f"{keys}: {problem}")


@pytest.mark.parametrize(
    ("value", "resources"),
    [
        (None, Resources()),
        ({}, Resources()),
        ({"gpus": 2}, Resources(gpus=Gpus(required=2, preferred=2))),
        ({"gpus": {"require": 1}}, Resources(gpus=Gpus(required=1, preferred=1))),
        ({"gpus": {"require": 1, "prefer": 4}}, Resources(gpus=Gpus(required=1, preferred=4))),
        ({"gpus": {"require": 2, "prefer": 1}}, Resources(gpus=Gpus(required=2, preferred=2))),
        ({"memory": 1000}, Resources(memory_bytes=1000)),
        ({"timeout": 60}, Resources(timeout=timedelta(minutes=1))),
    ],
)
def test_resources_are_read(value: JSON, resources: Resources) -> None:
    assert parse_resources(value, fail=fail) == resources


@pytest.mark.parametrize("value", [{"memory": 0}, {"timeout": 0}, {"timeout": True}, {"cpus": "2"}])
def test_nothing_is_no_amount(value: JSON) -> None:
    with pytest.raises(ValueError, match="is a"):
        parse_resources(value, fail=fail)
