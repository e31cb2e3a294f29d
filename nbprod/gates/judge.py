"""Judge a candidate: every declared gate gives its verdict on the same evidence."""

from collections.abc import Sequence
from dataclasses import replace

from nbprod.core.evidence import Evidence
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates.bootstrap import RESAMPLES
from nbprod.gates.case import Case
from nbprod.gates.declarations import GateDeclaration
from nbprod.gates.sample import Unjudgeable

#: promotions after which an evaluation set should be renewed: each tells a little of its answers
#: to whoever tunes against it (Dwork et al., The reusable holdout, Science 349, 2015)
WORN_OUT = 10


def judge(
    gates: Sequence[GateDeclaration], evidence: Evidence, *, resamples: int = RESAMPLES
) -> tuple[Verdict, ...]:
    """Return one verdict a gate, in the order declared. Nothing is changed anywhere.

    What cannot be judged is `unknown`, and blocks. Fewer `resamples` are for simulations.
    """
    case = Case(evidence=evidence, gates=tuple(gates), resamples=resamples)
    return tuple(_verdict(gate, case) for gate in gates)


def is_same(evidence: Evidence) -> bool:
    """Say whether the candidate is the current champion, byte for byte: never promoted anew."""
    return bool(evidence.candidate) and evidence.candidate == evidence.champion


def evaluation_note(evidence: Evidence) -> str:
    """Return the sentence that goes with verdicts: which rows decided, and how often before."""
    if not evidence.evaluation_digest:
        return "No evaluation set: the evidence holds no predictions."
    return _note(evidence.evaluation_digest, _size(evidence), evidence.decided)


def recorded_note(verdicts: Sequence[Verdict]) -> str:
    """Return the same of verdicts on record; "" where they rest on no evaluation set."""
    for verdict in verdicts:
        digest, decided = verdict.numbers.get("evaluation_digest"), verdict.numbers.get("decided")
        if isinstance(digest, str) and digest and isinstance(decided, int):
            return _note(digest, "", decided)
    return ""


def _note(digest: str, size: str, decided: int) -> str:
    before = (
        "it has decided no promotion before"
        if decided == 0
        else f"it has decided {decided:,} promotion{'s' if decided > 1 else ''} before"
    )
    note = f"Evaluation set {digest[:12]}{size}: {before}."
    if decided >= WORN_OUT:
        note += (
            " A set that decides so often is learned by trial and error, and its verdicts become "
            "too kind: evaluate on new rows."
        )
    return note


def _verdict(gate: GateDeclaration, case: Case) -> Verdict:
    try:
        verdict = gate.function(gate.options, case)
    except Unjudgeable as unjudgeable:
        verdict = Verdict(
            gate=gate.title,
            outcome=Outcome.UNKNOWN,
            reason=unjudgeable.reason,
            numbers=dict(unjudgeable.numbers),
        )
    return replace(verdict, numbers={**verdict.numbers, **case.numbers()})


def _size(evidence: Evidence) -> str:
    predictions = evidence.predictions
    if predictions is None or "example_id" not in predictions.columns:
        return ""
    return f" of {predictions['example_id'].nunique():,} examples"
