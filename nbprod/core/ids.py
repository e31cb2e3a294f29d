"""Identifiers of runs and job runs: they sort by creation time, and read aloud."""

import secrets
from datetime import datetime


def new_id(now: datetime) -> str:
    """Return an id such as `20261121-215723-4f1c9a`: UTC seconds, then 24 random bits.

    It reads aloud, sorts as text, and any unique prefix of it is accepted on the command line.
    Two machines may draw the same within a second: the store refuses the second, see `redrawn`.
    """
    return f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


def redrawn(taken: str) -> str:
    """Return another id of the same second."""
    return f"{taken.rpartition('-')[0]}-{secrets.token_hex(3)}"
