"""One judgement: the evidence, the gates that are judged together, and what they share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from nbprod.core.evidence import Evidence, Role
from nbprod.core.json import JSON
from nbprod.gates import bootstrap, validity
from nbprod.gates.bounds import Draws
from nbprod.gates.declarations import GateDeclaration
from nbprod.gates.metrics import Floats, Metric
from nbprod.gates.sample import Sample, Unjudgeable, join

#: groups with a telling row, below which a design effect is a guess
FEW_GROUPS = 10
#: enough for a standard error to 2 %
DESIGN_RESAMPLES = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What a gate is given. It reads; nothing it does changes anything outside."""

    evidence: Evidence
    gates: tuple[GateDeclaration, ...] = ()  #: all that are judged together, for corrections
    resamples: int = bootstrap.RESAMPLES
    _samples: dict[tuple[Role, ...], Sample | Unjudgeable] = field(default_factory=dict)
    _drawn: dict[tuple[str, tuple[Role, ...]], Draws] = field(default_factory=dict)

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

    def level(self, metric: Metric) -> Draws:
        """Return the candidate's `metric`, resampled.

        Raises:
            Unjudgeable: the rows may not decide, or there are too few groups to resample.
        """
        return self._draws(metric, (), lambda values: values[:, 0])

    def gain(self, metric: Metric, rival: Role) -> Draws:
        """Return how much better the candidate's `metric` is than the rival's, resampled.

        Raises:
            Unjudgeable: as for `level`, or the two cannot be compared.
        """
        return self._draws(
            metric, (rival,), lambda values: metric.sign * (values[:, 0] - values[:, 1])
        )

    def _draws(
        self, metric: Metric, rivals: tuple[Role, ...], quantity: Callable[[Floats], Floats]
    ) -> Draws:
        sample = self.sample(*rivals)
        validity.check_groups(sample)
        key = (metric.name, sample.roles)
        if key not in self._drawn:
            statistic = bootstrap.statistic(sample, metric)
            drawn = bootstrap.resample(statistic, seed=self.seed, resamples=self.resamples)
            self._drawn[key] = Draws(
                estimate=float(quantity(statistic.estimate[None])[0]),
                drawn=quantity(drawn),
                n=sample.n,
                groups=sample.groups,
                effective_n=self._effective_n(sample, metric, quantity, quantity(drawn)),
                is_bounded=metric.is_bounded,
            )
        return self._drawn[key]

    def _effective_n(
        self,
        sample: Sample,
        metric: Metric,
        quantity: Callable[[Floats], Floats],
        drawn: Floats,
    ) -> float:
        """Return how many independent examples the sample is worth: n over the design effect.

        That is the variance when groups are drawn over the variance when examples are (Kish 1965),
        between 1 and the size of a group whose rows are all alike. While fewer than ten groups hold
        a row that tells anything, the effect cannot be estimated: each group counts once.
        """
        groups = sample.groups
        if sample.group is None or groups is None:
            return float(sample.n)
        if len(np.unique(sample.group[_tells(sample)])) < FEW_GROUPS:
            return float(groups)
        alone = bootstrap.statistic(replace(sample, group=None), metric)
        spread = quantity(bootstrap.resample(alone, seed=self.seed, resamples=DESIGN_RESAMPLES))
        effect = float(drawn.var() / spread.var()) if spread.var() > 0 else math.inf
        return sample.n / min(max(effect, 1.0), sample.n / groups)

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


def _tells(sample: Sample) -> npt.NDArray[np.bool_]:
    """Say which rows tell two models apart, or of a single model right from wrong."""
    candidate, *rivals = sample.roles
    if not rivals:
        return ~sample.right(candidate)
    return np.asarray(sample.predicted[candidate] != sample.predicted[rivals[0]])
