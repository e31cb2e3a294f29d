"""Gate tables are read whole, and refused whole, before anything is judged."""

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from nbprod.core.errors import (
    ContradictoryGateError,
    GateDeclarationError,
    GateError,
    UnknownGateError,
    UnknownGateKeyError,
)
from nbprod.core.plugins import installed
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.gates import declarations
from nbprod.gates.declarations import parse_gates
from nbprod.gates.options import GateOptions

if TYPE_CHECKING:
    from nbprod.gates.case import Case

WHERE = "nbprod.toml, [models.router]"
DO = "Correct it, then check the workspace:\nnbprod doctor"


def test_the_gates_of_the_design_are_understood() -> None:
    gates = parse_gates(
        [
            {"scrap": "macro_f1", "min": 0.55},
            {"scrap": "macro_f1", "not_worse_than": "champion", "margin": 0.02, "confidence": 0.95},
            {"scrap": "macro_f1", "beats": "baseline", "confidence": 0.95},
            {"slice": "length", "scrap": "accuracy", "min": 0.50, "min_size": 100},
            {"scrap": "latency_p95_ms", "max": 150},
            {"scrap": "latency_p95_ms", "not_worse_than": "champion", "ratio": 1.2},
            {"scrap": "training_minutes", "max": 30},
            {"kind": "threshold", "scrap": "accuracy", "min": 0.5, "confidence": 0.9},
        ],
        where=WHERE,
    )

    assert [(gate.kind, gate.title) for gate in gates] == [
        ("threshold", "macro_f1 at least 0.55"),
        ("not_worse_than", "macro_f1 not worse than champion by 0.02"),
        ("beats", "macro_f1 beats baseline"),
        ("slice", "accuracy in every length at least 0.5"),
        ("latency", "latency_p95_ms at most 150"),
        ("latency", "latency_p95_ms at most 1.2 times that of champion"),
        ("threshold", "training_minutes at most 30"),
        ("threshold", "accuracy at least 0.5 with 90 % confidence"),
    ]


@pytest.mark.parametrize(
    ("table", "kind", "text"),
    [
        (
            {"scrap": "macro_f1", "not_worse_than": "champion", "margn": 0.02},
            UnknownGateKeyError,
            f"Gate 2 of {WHERE} has the unknown key 'margn'.\n"
            "Did you mean 'margin'? It may have: confidence, margin, not_worse_than, scrap.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "mni": 0.5},
            UnknownGateKeyError,
            f"Gate 2 of {WHERE} has the unknown key 'mni'.\n"
            "Did you mean 'min'? It may have: beats, by, confidence, detect, margin, max, min, "
            "min_size, not_worse_than, ratio, scrap, slice.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "beats": "baseline", "not_worse_than": "champion"},
            ContradictoryGateError,
            f"Gate 2 of {WHERE} mixes two gates: 'beats' and 'not_worse_than' in one table.\n"
            "A beats gate may have: beats, by, confidence, detect, scrap. Declare one table for "
            "each demand.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "beats": "baseline", "min": 0.5},
            ContradictoryGateError,
            f"Gate 2 of {WHERE} is a beats gate, to which 'min' does not belong.\n"
            "A beats gate may have: beats, by, confidence, detect, scrap. Declare one table for "
            "each demand.\n" + DO,
        ),
        (
            {"scrap": "latency_p95_ms", "not_worse_than": "champion", "margin": 5},
            ContradictoryGateError,
            f"Gate 2 of {WHERE} is a latency gate, to which 'margin' does not belong.\n"
            "A latency gate may have: confidence, max, not_worse_than, ratio, scrap. Declare one "
            "table for each demand.\n" + DO,
        ),
        (
            {"kind": "treshold", "scrap": "macro_f1", "min": 0.5},
            UnknownGateError,
            f"Gate 2 of {WHERE} is of the unknown kind 'treshold'.\n"
            "Installed kinds: beats, latency, not_worse_than, slice, threshold.\n" + DO,
        ),
        (
            {"scrap": "macro_f1"},
            GateDeclarationError,
            f"Gate 2 of {WHERE} is not valid.\n"
            "It demands nothing: it has none of min, max, not_worse_than, beats, slice.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "min": "high"},
            GateDeclarationError,
            f"Gate 2 of {WHERE} is not valid.\n"
            "min = 'high': input should be a valid number.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "min": 0.8, "max": 0.7},
            GateDeclarationError,
            f"Gate 2 of {WHERE} is not valid.\n"
            "Min = 0.8 is above max = 0.7: nothing can pass.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "not_worse_than": "champion"},
            GateDeclarationError,
            f"Gate 2 of {WHERE} is not valid.\nThe key 'margin' is missing.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "beats": "everyone"},
            GateDeclarationError,
            f"Gate 2 of {WHERE} is not valid.\n"
            "beats = 'everyone': compare with 'baseline' or 'champion'.\n" + DO,
        ),
        (
            {"scrap": "macro_f1", "beats": "baseline", "confidence": 95},
            GateDeclarationError,
            f"Gate 2 of {WHERE} is not valid.\n"
            "confidence = 95: input should be less than 1.\n" + DO,
        ),
        (
            {"scrap": "rmse", "beats": "baseline"},
            GateDeclarationError,
            f"Gate 2 of {WHERE} is not valid.\n"
            "scrap = 'rmse': 'rmse' cannot be computed from predictions; known: accuracy, "
            "error_rate, balanced_accuracy, macro_f1, macro_precision, macro_recall, weighted_f1, "
            "log_loss, brier, roc_auc.\n" + DO,
        ),
        (
            {"scrap": "latency_p95_ms", "min": 5},
            ContradictoryGateError,
            f"Gate 2 of {WHERE} is a latency gate, to which 'min' does not belong.\n"
            "A latency gate may have: confidence, max, not_worse_than, ratio, scrap. Declare one "
            "table for each demand.\n" + DO,
        ),
    ],
)
def test_a_wrong_table_is_refused_with_what_why_and_what_to_do(
    table: dict[str, object], kind: type[GateError], text: str
) -> None:
    with pytest.raises(GateError) as raised:
        parse_gates([{"scrap": "accuracy", "min": 0.5}, table], where=WHERE)

    assert type(raised.value) is kind
    assert str(raised.value) == text


class Fairness(GateOptions):
    fairness: str


def fairness(options: Fairness, case: "Case") -> Verdict:
    """Pass when the evaluation left the column that is asked for."""
    found = options.fairness in case.sample().rows
    return Verdict(
        gate=options.title(),
        outcome=Outcome.PASSED if found else Outcome.FAILED,
        reason=f"Column {options.fairness!r} {'is there' if found else 'is not there'}.",
    )


def test_a_gate_of_another_package_is_declared_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = EntryPoint("fairness", "their_package:fairness", declarations.GROUP)
    monkeypatch.setattr(EntryPoint, "load", _loading(EntryPoint.load))
    monkeypatch.setattr(
        declarations, "installed", lambda group: {**installed(group), "fairness": theirs}
    )

    (gate,) = parse_gates([{"fairness": "length"}], where=WHERE)

    assert (gate.kind, gate.title, gate.function) == ("fairness", "fairness length", fairness)


def _loading(load: object) -> object:
    return lambda entry: fairness if entry.name == "fairness" else load(entry)  # type: ignore[operator]
