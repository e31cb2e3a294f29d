"""What a gate's table in nbprod.toml may hold: the fields that several kinds share."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from nbprod.core.evidence import Role
from nbprod.gates.metrics import METRICS

#: latency_p95_ms, latency_p50_ms, latency_mean_ms: computed from the latency frame
LATENCY = re.compile(r"latency_(?:mean|p(\d{1,2}))_ms")


class GateOptions(BaseModel):
    """The keys of one gate. A new kind of gate subclasses it and adds its own fields."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    def title(self) -> str:
        """Return the declaration as people read it, e.g. "macro_f1 beats baseline"."""
        given = self.model_dump(exclude_unset=True)
        return ", ".join(f"{key} {value}" for key, value in given.items())


def _rival(name: str) -> str:
    if name not in (Role.BASELINE, Role.CHAMPION):
        raise ValueError("compare with 'baseline' or 'champion'")
    return name


def _comparable(name: str) -> str:
    if name not in METRICS:
        raise ValueError(
            f"{name!r} cannot be computed from predictions; known: {', '.join(METRICS)}"
        )
    return name


def _latency(name: str) -> str:
    if not LATENCY.fullmatch(name):
        raise ValueError(f"{name!r} is no latency; write latency_p95_ms or latency_mean_ms")
    return name


#: one-sided
Confidence = Annotated[float, Field(gt=0.5, lt=1.0)]
Rival = Annotated[str, AfterValidator(_rival)]
MetricName = Annotated[str, AfterValidator(_comparable)]
LatencyName = Annotated[str, AfterValidator(_latency)]
