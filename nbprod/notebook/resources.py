"""Read a `resources` mapping: of a template's front matter, or of a job's step."""

from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

from nbprod.core.amounts import parse_duration, parse_size
from nbprod.core.errors.notebook import suggest
from nbprod.core.json import JSON
from nbprod.core.resources import Gpus, Resources

KEYS = ("gpus", "cpus", "memory", "timeout")
GPU_KEYS = ("require", "prefer")

#: Reports what is wrong with the value under a path of keys; never returns.
Fail = Callable[[tuple[str | int, ...], str], NoReturn]


def parse_resources(value: JSON, *, fail: Fail) -> Resources:
    """Return what is asked for: `{gpus: {prefer: 1}, cpus: 2, memory: 8GB, timeout: 2h}`.

    `fail(keys, problem)` raises the caller's error about the value below `keys`.
    """
    if value is None:
        return Resources()
    if not isinstance(value, dict):
        fail((), "resources is a mapping, such as {gpus: 1, memory: 8GB, timeout: 2h}.")
    for key in value:
        if key not in KEYS:
            fail((key,), f"there is no resource {key!r}.{suggest(key, KEYS)}")
    return Resources(
        gpus=_gpus(value.get("gpus"), fail=fail),
        cpus=_count(value["cpus"], ("cpus",), fail=fail) if "cpus" in value else None,
        memory_bytes=_size(value.get("memory"), fail=fail),
        timeout=_duration(value.get("timeout"), fail=fail),
    )


def _gpus(value: JSON, *, fail: Fail) -> Gpus:
    if value is None:
        return Gpus()
    if not isinstance(value, dict):
        count = _count(value, ("gpus",), fail=fail)
        return Gpus(required=count, preferred=count)
    for key in value:
        if key not in GPU_KEYS:
            problem = f"gpus takes require and prefer, not {key!r}.{suggest(key, GPU_KEYS)}"
            fail(("gpus", key), problem)
    required = _count(value.get("require", 0), ("gpus", "require"), fail=fail)
    preferred = _count(value.get("prefer", required), ("gpus", "prefer"), fail=fail)
    return Gpus(required=required, preferred=max(required, preferred))


def _count(value: JSON, keys: tuple[str, ...], *, fail: Fail) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        fail(keys, f"{'.'.join(keys)} is a whole number, not {value!r}.")
    return value


def _size(value: JSON, *, fail: Fail) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    size = parse_size(value) if isinstance(value, str) else None
    if not size:
        fail(("memory",), f"memory is a size such as 8GB or 512MiB, not {value!r}.")
    return size


def _duration(value: JSON, *, fail: Fail) -> timedelta | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return timedelta(seconds=value)
    duration = parse_duration(value) if isinstance(value, str) else None
    if not duration:
        fail(("timeout",), f"timeout is a duration such as 2h, 90m or 1h30m, not {value!r}.")
    return duration
