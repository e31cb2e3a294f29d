"""May this evidence decide at all? Asked before any number is compared; a "no" blocks."""

from nbprod.core.evidence import Evidence, Role
from nbprod.gates.sample import Sample, Unjudgeable

#: below this many groups, resampling groups understates the spread (Cameron, Gelbach & Miller 2008)
MIN_GROUPS = 20


def check_candidate(evidence: Evidence) -> None:
    """Raise Unjudgeable unless the model that was scored is the one to be promoted."""
    scored = evidence.scored.get(Role.CANDIDATE, "")
    if evidence.run is None and evidence.predictions is None and not scored:
        raise Unjudgeable("No evaluation run has scored the candidate.")
    if not scored or not evidence.candidate:
        raise Unjudgeable("The evidence does not say by digest which candidate it scored.")
    if scored != evidence.candidate:
        raise Unjudgeable(
            f"The evidence is of another model: it scored {scored[:12]}, to be promoted is "
            f"{evidence.candidate[:12]}."
        )


def check_roles(evidence: Evidence, roles: tuple[Role, ...]) -> None:
    """Raise Unjudgeable unless the models in `roles` may be judged by these rows."""
    check_candidate(evidence)
    for role in roles[1:]:
        check_rival(evidence, role)
    if evidence.predictions is None:
        raise Unjudgeable("The evaluation left no predictions frame.")
    for role in roles:
        check_training(evidence, role)
    if len(roles) > 1:
        _check_fingerprints(evidence, roles)


def check_rival(evidence: Evidence, role: Role) -> None:
    """Raise Unjudgeable unless `role` was scored, and a champion is the one that serves now."""
    scored = evidence.scored.get(role, "")
    if role is Role.CHAMPION and evidence.champion is None:
        raise Unjudgeable(
            f"The evidence compares with {scored[:12]} as champion, but there is none now: "
            "evaluate again."
        )
    if not scored:
        raise Unjudgeable(f"The evaluation did not score the {role}.")
    if role is Role.CHAMPION and scored != evidence.champion:
        raise Unjudgeable(
            f"The champion has changed since the evaluation: it compared with {scored[:12]}, "
            f"serving now is {str(evidence.champion)[:12]}. Evaluate again."
        )


def check_training(evidence: Evidence, role: Role) -> None:
    """Raise Unjudgeable when `role` was trained on evaluation rows, or a candidate may have been.

    A rival without a record passes here: rows it has seen can only flatter it, so a candidate
    that holds its ground against it holds it all the more. `caveat` says so in the verdict.
    """
    seen = evidence.seen_in_training.get(role)
    if seen:
        raise Unjudgeable(
            f"The {role} was trained on {seen:,} of the evaluation rows: its score on them says "
            "nothing about rows it has not seen.",
            seen_in_training=seen,
        )
    if seen is None and role is Role.CANDIDATE:
        raise Unjudgeable(
            "The candidate left no record of the rows it was trained on (training_ids.npy in its "
            "folder), so it may have seen the evaluation rows."
        )


def caveat(evidence: Evidence, role: Role) -> str:
    """Return the sentence about a rival that left no record of its training rows, or ""."""
    if evidence.seen_in_training.get(role) is not None:
        return ""
    return (
        f" The {role} left no record of its training rows; had it seen these, that could only "
        "flatter it."
    )


def check_scrap(evidence: Evidence, name: str, value: float, *, tolerance: float) -> None:
    """Raise Unjudgeable when the notebook glued another value than its own rows give."""
    scrap = evidence.scraps.get(name)
    if scrap is None:
        return
    if isinstance(scrap, bool) or not isinstance(scrap, int | float):
        raise Unjudgeable(f"The scrap {name!r} is not a number: {scrap!r}.")
    if not abs(scrap - value) <= tolerance:  # NaN included
        raise Unjudgeable(
            f"The scrap {name!r} says {scrap:.4f}, but the evaluation's own rows give {value:.4f}."
        )


def check_groups(sample: Sample) -> None:
    """Raise Unjudgeable when there are too few groups for resampling to mean anything."""
    groups = sample.groups
    if groups is not None and groups < MIN_GROUPS:
        raise Unjudgeable(
            f"Too few groups: {sample.n:,} examples in {groups} groups; {MIN_GROUPS} groups are "
            "needed, because rows of one group are alike.",
            n=sample.n,
            groups=groups,
            needed=MIN_GROUPS,
        )


def _check_fingerprints(evidence: Evidence, roles: tuple[Role, ...]) -> None:
    prints = {role: evidence.fingerprints.get(role, "") for role in roles}
    absent = [role.value for role, value in prints.items() if not value]
    if absent:
        raise Unjudgeable(
            f"The evaluation recorded no data fingerprint for the {' and the '.join(absent)}."
        )
    if len(set(prints.values())) > 1:
        said = ", ".join(f"{role} {value[:12]}" for role, value in prints.items())
        raise Unjudgeable(f"The models were scored on different data; fingerprints: {said}.")
