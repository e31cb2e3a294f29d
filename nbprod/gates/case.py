"""One judgement: the evidence, the gates that are judged together, and what they share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from nbprod.core.evidence import Evidence, Role
from nbprod.core.json import JSON
from nbprod.gates import bootstrap, validity
from nbprod.gates.declarations import GateDeclaration
from nbprod.gates.metrics import Floats, Metric
from nbprod.gates.sample import Sample, Unjudgeable, join


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a gate is given. It reads; nothing it does changes anything outside."""

    evidence: Evidence
    gates: tuple[GateDeclaration, ...] = ()  #: all that are judged together, for corrections
    resamples: int = bootstrap.RESAMPLES
    _samples: dict[tuple[Role, ...], Sample | Unjudgeable] = field(default_factory=dict)
    _draws: dict[tuple[str, tuple[Role, ...]], tuple[Floats, Floats]] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """Return the seed of every resampling: it belongs to the evaluation set."""
        return bootstrap.seed_of(self.evidence.evaluation_digest)

    def sample(self, *rivals: Role) -> Sample:
        """Return the candidate's rows, joined with those of `rivals`, once all is found valid.

        Raises:
            Unjudgeable: the rows are missing or may not decide; the reason says why.
        """
        roles = (Role.CANDIDATE, *rivals)
        if roles not in self._samples:
            try:
                validity.check_roles(self.evidence, roles)
                self._samples[roles] = join(self.evidence.predictions, roles)
            except Unjudgeable as unjudgeable:
                self._samples[roles] = unjudgeable
        found = self._samples[roles]
        if isinstance(found, Unjudgeable):
            raise found
        return found

    def estimate(self, metric: Metric) -> float:
        """Return the candidate's `metric`, computed anew and compared with the scrap of that name.

        Raises:
            Unjudgeable: it cannot be computed, or the notebook's scrap says something else.
        """
        sample = self.sample()
        value = float(bootstrap.statistic(sample, metric).estimate[0])
        validity.check_scrap(self.evidence, metric.name, value, tolerance=1e-4)
        return value

    def resampled(self, metric: Metric, *rivals: Role) -> tuple[Floats, Floats]:
        """Return `metric` of each role: on the sample, (roles,), and resampled, (B, roles).

        Raises:
            Unjudgeable: the rows may not decide, or there are too few groups to resample.
        """
        sample = self.sample(*rivals)
        key = (metric.name, sample.roles)
        if key not in self._draws:
            validity.check_groups(sample)
            statistic = bootstrap.statistic(sample, metric)
            drawn = bootstrap.resample(statistic, seed=self.seed, resamples=self.resamples)
            self._draws[key] = (statistic.estimate, drawn)
        return self._draws[key]

    def resampling(self, sample: Sample) -> str:
        """Return how `sample` is resampled, in words."""
        unit = "examples" if sample.group is None else "whole groups"
        return f"bootstrap of {unit}, {self.resamples:,} resamples"

    def numbers(self) -> Mapping[str, JSON]:
        """Return what every verdict records of its evidence."""
        return {
            "evaluation_digest": self.evidence.evaluation_digest,
            "decided": self.evidence.decided,
            "evaluation_run": self.evidence.run,
        }
