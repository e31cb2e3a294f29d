"""The same metric of several models, as an evaluation's scraps hold it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nbprod.core.evidence import Role
from nbprod.core.scraps import Scrap, ScrapDeclaration
from nbprod.core.words import spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric, by the role of the model that reached it."""

    metric: str  #: the candidate's scrap
    label: str
    unit: str
    values: Mapping[Role, float]  #: candidate first; a role that was not scored is absent
    higher_is_better: bool | None = None

    @property
    def best(self) -> frozenset[Role]:
        """Return who did best; everybody in a tie, nobody where the direction is undeclared."""
        if self.higher_is_better is None:
            return frozenset()
        top = (max if self.higher_is_better else min)(self.values.values())
        return frozenset(role for role, value in self.values.items() if value == top)


def compare(
    scraps: Mapping[str, Scrap], declared: Sequence[ScrapDeclaration] = ()
) -> tuple[Comparison, ...]:
    """Pair each number `m` with `baseline_m` and `champion_m`; others are left out."""
    by_name = {declaration.name: declaration for declaration in declared}
    numbers = {
        name: float(scrap.value)
        for name, scrap in scraps.items()
        if isinstance(scrap.value, int | float) and not isinstance(scrap.value, bool)
    }
    found = []
    for metric, value in numbers.items():
        values = {Role.CANDIDATE: value}
        for role in (Role.CHAMPION, Role.BASELINE):
            if (other := numbers.get(f"{role}_{metric}")) is not None:
                values[role] = other
        if len(values) > 1:
            declaration = by_name.get(metric)
            unit = declaration.unit if declaration else ""
            found.append(
                Comparison(
                    metric=metric,
                    label=spoken(metric, unit=unit),
                    unit=unit,
                    values=values,
                    higher_is_better=declaration.higher_is_better if declaration else None,
                )
            )
    return tuple(found)
