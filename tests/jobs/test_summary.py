from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nbprod.core.jobs import JobRun, JobStatus, StepStatus
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.jobs import JobOutcome, StepKind, StepOutcome, as_text, summarise
from nbprod.reports import KeyFigure
from nbprod.workspace import Decision, Movement

STARTED = datetime(2026, 11, 21, 22, 13, tzinfo=UTC)


def job_run(status: JobStatus, *, reason: str = "", report: str | None = None) -> JobRun:
    return JobRun(
        id="20261121-221300-aaaaaa",
        job="router",
        number=3,
        definition="",
        status=status,
        reason=reason,
        created_at=STARTED,
        finished_at=STARTED + timedelta(seconds=203),
        report=report,
    )


def test_a_promotion_is_told_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tune = StepOutcome(
        step="tune",
        kind=StepKind.RUN,
        target="finetune",
        status=StepStatus.SUCCEEDED,
        seconds=72.0,
        run="20261121-221301-bbbbbb",
        notebook=tmp_path / "runs" / "executed.ipynb",
        figures=(
            KeyFigure(name="macro_f1", label="Macro F1", value="0.702"),
            KeyFigure(name="latency", label="Latency", value="23.1", unit="ms"),
        ),
    )
    decision = Decision(
        model="router",
        movement=Movement.PROMOTED,
        version=2,
        former=1,
        verdicts=(Verdict(gate="floor", outcome=Outcome.PASSED, reason="0.702 is at least 0.55."),),
        note="Evaluation set ab of 600 examples: it has decided no promotion before.",
        explanation="router@champion → version 2 (was version 1).",
    )
    promote = StepOutcome(
        step="promote",
        kind=StepKind.PROMOTE,
        target="router",
        status=StepStatus.SUCCEEDED,
        seconds=0.32,
        decision=decision,
        candidate=tune.run,
    )
    ended = job_run(JobStatus.SUCCEEDED, report=str(tmp_path / "reports" / "page.html"))

    text = as_text(summarise(JobOutcome(job_run=ended, steps=(tune, promote))))

    assert text == (
        "router, run 3: succeeded in 3 min 23 s\n"
        "\n"
        "  tune     finetune  succeeded  1 min 12 s  macro_f1 0.702, latency 23.1 ms\n"
        "  promote  router    succeeded       0.3 s  router@champion → version 2\n"
        "\n"
        "What the gates say\n"
        "\n"
        "  ✓ floor: passed\n"
        "    0.702 is at least 0.55.\n"
        "\n"
        "  Evaluation set ab of 600 examples: it has decided no promotion before.\n"
        "\n"
        "router@champion → version 2\n"
        "  Every gate passed. Version 1 served before.\n"
        "\n"
        "Executed notebooks\n"
        "\n"
        "  tune  runs/executed.ipynb\n"
        "\n"
        "Report\n"
        "\n"
        "  reports/page.html\n"
        "\n"
        "Try next\n"
        "\n"
        "  nbprod models show router                # its versions, gates and lineage\n"
        "  nbprod runs open 20261121-221301-bbbbbb  # the notebook that trained it\n"
        "  nbprod export router@champion exported/  # the model as plain files, with checksums\n"
    )


def test_a_failure_says_why_and_where_to_look() -> None:
    failed = StepOutcome(
        step="look",
        kind=StepKind.RUN,
        target="explore",
        status=StepStatus.FAILED,
        reason="Cell 3 raised ValueError.",
        seconds=4.0,
        run="r1",
    )
    skipped = StepOutcome(
        step="tune",
        kind=StepKind.RUN,
        target="finetune",
        status=StepStatus.SKIPPED,
        reason="Step 'look': Cell 3 raised ValueError.",
    )
    ended = job_run(JobStatus.FAILED, reason="Step 'look': Cell 3 raised ValueError.")

    text = as_text(summarise(JobOutcome(job_run=ended, steps=(failed, skipped))))

    assert text == (
        "router, run 3: failed in 3 min 23 s\n"
        "\n"
        "  Step 'look': Cell 3 raised ValueError.\n"
        "\n"
        "  look  explore   failed   4.0 s\n"
        "  tune  finetune  skipped\n"
        "\n"
        "Try next\n"
        "\n"
        "  nbprod runs show r1               # what went wrong, and with which parameters\n"
        "  nbprod runs open r1               # the notebook up to where it failed\n"
        "  nbprod jobs run router --dry-run  # check the job without running it\n"
    )
