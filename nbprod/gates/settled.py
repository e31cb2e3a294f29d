"""Comparisons that need no statistics: there is no champion, or both are the same model."""

from nbprod.core.evidence import Role
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates import validity
from nbprod.gates.case import Case


def settled(title: str, case: Case, role: Role, *, when_same: Outcome) -> Verdict | None:
    """Return the verdict on a comparison with `role` where no numbers are needed, else None.

    Args:
        title: of the gate.
        case: the judgement.
        role: whom the candidate is compared with.
        when_same: the outcome when both are one model: it is not worse than itself, nor better.

    Raises:
        Unjudgeable: the evidence is not of this candidate.
    """
    evidence = case.evidence
    validity.check_candidate(evidence)
    if role is Role.CHAMPION and evidence.champion is None and not evidence.scored.get(role):
        others = [
            gate for gate in case.gates if Role.CHAMPION not in gate.options.model_dump().values()
        ]
        decides = (
            f"{len(others)} other {'gate decides' if len(others) == 1 else 'gates decide'}."
            if others
            else "no other gate is declared, so this model is promoted without any comparison."
        )
        return Verdict(
            gate=title,
            outcome=Outcome.PASSED,
            reason=f"First promotion: there is no champion to compare with; {decides}",
            method="none: there is nothing to compare",
            numbers={"first": True},
        )
    rival = evidence.champion if role is Role.CHAMPION else evidence.scored.get(role)
    if rival and rival == evidence.candidate:
        return Verdict(
            gate=title,
            outcome=when_same,
            reason=f"Identical model: the candidate is the {role}, byte for byte ({rival[:12]}).",
            method="none: equal digests",
            numbers={"identical": True},
        )
    return None
