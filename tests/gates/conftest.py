"""Evidence as an evaluation leaves it: valid, with signal, and bent by each test in one place."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Verdict
from nbprod.gates.declarations import parse_gates
from nbprod.gates.judge import judge

ROLES = ("candidate", "baseline", "champion")
MakeEvidence = Callable[..., Evidence]
Judge = Callable[..., tuple[Verdict, ...]]


def predictions(
    n: int = 400,
    *,
    accuracy: Mapping[str, float] | None = None,
    classes: int = 4,
    groups: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a predictions frame: candidate and champion good, the baseline less so."""
    rng = np.random.default_rng(seed)
    level = accuracy or {"candidate": 0.85, "baseline": 0.60, "champion": 0.80}
    label = rng.integers(0, classes, n)
    hardness, length = rng.random(n), rng.integers(0, 2, n)
    parts = []
    for role, share in level.items():
        own = np.where(rng.random(n) < 0.8, hardness, rng.random(n))
        wrong = (label + rng.integers(1, classes, n)) % classes
        predicted = np.where(own < share, label, wrong)
        parts.append(
            pd.DataFrame(
                {
                    "example_id": [f"e{i:05}" for i in range(n)],
                    "role": role,
                    "label": [f"class {i}" for i in label],
                    "predicted": [f"class {i}" for i in predicted],
                    "score": rng.uniform(0.5, 1.0, n),
                    "length": np.where(length == 0, "short", "long"),
                }
            )
        )
        if groups:
            parts[-1]["group"] = np.arange(n) % groups
    # Roles need not come in the same order: gates join by example id.
    return pd.concat(parts).sample(frac=1, random_state=seed).reset_index(drop=True)


def latency(rounds: int = 200, *, seed: int = 0, **scale: float) -> pd.DataFrame:
    """Return a latency frame: every role once a round, around 20 ms unless `scale` says so."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "round": np.arange(rounds),
                "role": role,
                "milliseconds": scale.get(role, 20.0) * rng.lognormal(0, 0.05, rounds),
            }
        )
        for role in ROLES
    ]
    return pd.concat(parts).sort_values("round", kind="stable").reset_index(drop=True)


@pytest.fixture
def make_evidence() -> MakeEvidence:
    """Return a function that makes valid evidence, fields replaced as given."""

    def make(frame: pd.DataFrame | None = None, **changes: Any) -> Evidence:
        frame = predictions() if frame is None else frame
        roles = list(dict.fromkeys(frame["role"]))
        evidence = Evidence(
            predictions=frame,
            latency=latency(),
            scored={role: f"{role:-<12}digest" for role in roles},
            candidate="candidate---digest",
            champion="champion----digest" if "champion" in roles else None,
            fingerprints=dict.fromkeys(roles, "fingerprint"),
            seen_in_training=dict.fromkeys(roles, 0),
            evaluation_digest="5eed" * 16,
            decided=2,
            run="20261121-220000-abcdef",
        )
        return replace(evidence, **changes)

    return make


@pytest.fixture
def verdicts() -> Judge:
    """Return a function that judges evidence by gate tables, as nbprod.toml would hold them."""

    def verdicts(evidence: Evidence, *tables: Mapping[str, object]) -> tuple[Verdict, ...]:
        return judge(parse_gates(tables, where="nbprod.toml, [models.router]"), evidence)

    return verdicts


@pytest.fixture
def make_predictions() -> Callable[..., pd.DataFrame]:
    return predictions


@pytest.fixture
def make_latency() -> Callable[..., pd.DataFrame]:
    return latency
