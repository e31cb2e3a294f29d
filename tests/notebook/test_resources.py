from datetime import timedelta
from typing import NoReturn

import pytest

from nbprod.core.json import JSON
from nbprod.core.resources import Gpus, Resources
from nbprod.notebook.resources import parse_duration, parse_resources, parse_size


def fail(keys: tuple[str | int, ...], problem: str) -> NoReturn:
    raise ValueError(f"{keys}: {problem}")


@pytest.mark.parametrize(
    ("text", "size"),
    [("8GB", 8 * 10**9), ("8GiB", 8 * 2**30), ("512 MiB", 512 * 2**20), ("1.5kB", 1500),
     ("100B", 100), ("2TB", 2 * 10**12), ("8", None), ("GB", None), ("8GB9", None)],
)  # fmt: skip
def test_sizes_are_decimal_unless_they_say_otherwise(text: str, size: int | None) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1h30m", 5400), ("1d 2h", 93600), ("45s", 45), ("1.5h", 5400),
     ("2", None), ("h", None), ("2h3", None), ("", None)],
)  # fmt: skip
def test_durations_carry_their_units(text: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert parse_duration(text) == expected


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
