"""What gates decide on: predictions of several models on the same rows, and what is known of them.

The `predictions` frame of an evaluation has one row per example and role:
`example_id, role, label, predicted, score, <slice columns>, group?`. Roles are `candidate`,
`baseline` and `champion`. The `latency` frame has `round, role, milliseconds`, one row a call.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from nbprod.core.json import JSON

if TYPE_CHECKING:
    import pandas as pd


class Role(StrEnum):
    """Which model made a prediction."""

    CANDIDATE = "candidate"  #: the one that wants to be promoted
    BASELINE = "baseline"  #: the simple model that must be beaten
    CHAMPION = "champion"  #: the one that serves now


def hash_id(example_id: str) -> int:
    """Return the 64-bit hash under which an example id is recorded in a model folder."""
    return int.from_bytes(hashlib.blake2b(example_id.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a promotion may be decided on. Absent things are None, never a guess."""

    predictions: "pd.DataFrame | None"
    latency: "pd.DataFrame | None" = None
    scraps: Mapping[str, JSON] = field(default_factory=dict)  #: numbers the evaluation left
    scored: Mapping[str, str] = field(default_factory=dict)  #: role -> digest it was scored with
    candidate: str = ""  #: digest of the model that wants to be promoted
    champion: str | None = None  #: digest of the current champion; None when there is none
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    #: role -> fingerprint of the evaluation rows it was scored on; they must agree
    seen_in_training: Mapping[str, int | None] = field(default_factory=dict)
    #: role -> evaluation rows found in its training record; None when it left no record
    evaluation_digest: str = ""  #: sha256 over sorted example ids and labels
    decided: int = 0  #: promotions this evaluation set has decided before
    run: str | None = None  #: the evaluation run
