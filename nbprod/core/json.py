"""JSON values: their type, and the one text form that digests are taken of."""

import json
from typing import TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


def canonical(value: JSON) -> str:
    """Return the text that equal JSON values share: sorted keys, no spaces, no NaN.

    Raises:
        ValueError: for NaN and infinities, which JSON does not have.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
