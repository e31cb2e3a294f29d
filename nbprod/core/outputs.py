"""How much of what cells show a notebook keeps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, Self

from nbprod.core.amounts import parse_size
from nbprod.core.json import JSON

KEYS = ("max_bytes", "max_count")
#: Words for no limit, beside null.
NO_LIMIT = ("none", "off")
#: Reports what is wrong with the value under a path of keys; never returns.
Fail = Callable[[tuple[str, ...], str], NoReturn]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputCaps:
    """What is more goes into files beside the notebook, whole. Scraps do not count."""

    max_bytes: int | None = 10_000_000  #: of one output: a stream, a picture, a table
    max_count: int | None = 10_000  #: outputs of one cell

    def with_limits(self, limits: "Mapping[str, int | None]") -> Self:
        """Return these caps with some replaced: what `parse_caps` returned."""
        return replace(self, **limits)

    def to_json(self) -> dict[str, JSON]:
        """Return the caps as JSON."""
        return {"max_bytes": self.max_bytes, "max_count": self.max_count}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Read caps back from what `to_json` returned."""
        return cls(**fields)


def parse_caps(value: object, *, fail: Fail) -> dict[str, int | None]:
    """Return the limits that `{max_bytes: 1MB, max_count: 1000}` sets; None is no limit.

    `fail(keys, problem)` raises the caller's error about the value below `keys`.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        fail((), "outputs is a mapping, such as {max_bytes: 1MB, max_count: 1000}.")
    limits: dict[str, int | None] = {}
    for key, limit in value.items():
        match key, limit:
            case (("max_bytes" | "max_count"), None):
                limits[key] = None
            case (("max_bytes" | "max_count"), str()) if limit in NO_LIMIT:
                limits[key] = None
            case (("max_bytes" | "max_count"), int()) if limit > 0 and limit is not True:
                limits[key] = limit
            case "max_bytes", str() if size := parse_size(limit):
                limits[key] = size
            case "max_bytes", _:
                fail((key,), f"outputs.max_bytes is a size such as 1MB, or none, not {limit!r}.")
            case "max_count", _:
                fail((key,), f"outputs.max_count is a whole number, or none, not {limit!r}.")
            case _:
                fail((str(key),), f"outputs takes {' and '.join(KEYS)}, not {key!r}.")
    return limits
