"""Sizes and durations as people write them: 8GB, 512MiB, 1h30m, 10min."""

import re
from datetime import timedelta

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)")
_SECONDS = {"d": 86_400, "h": 3_600, "min": 60, "m": 60, "s": 1}


def parse_size(text: str) -> int | None:
    """Return the bytes that `8GB` (10**9 each) or `8GiB` (2**30 each) means, or None."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        return None
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** _POWERS[prefix.lower()])


def parse_duration(text: str) -> timedelta | None:
    """Return what `2h`, `1h30m`, `10min`, `45s` or `1d` means, or None."""
    text = text.strip()
    parts = _TIME.findall(text)
    if not parts or _TIME.sub("", text).strip():
        return None
    return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
