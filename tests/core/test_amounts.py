"""Sizes and durations read as people write them."""

from datetime import timedelta

import pytest

from nbprod.core.amounts import parse_duration, parse_size


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
     ("10min", 600), ("1h 5min", 3900),
     ("2", None), ("h", None), ("2h3", None), ("", None)],
)  # fmt: skip
def test_durations_carry_their_units(text: str, seconds: int | None) -> None:
    expected = None if seconds is None else timedelta(seconds=seconds)

    assert parse_duration(text) == expected
