"""Jobs executed for real: every step a run of its own, promoted or blocked by real gates."""

from pathlib import Path
from typing import Any

import pytest

from nbprod.core.events import Event
from nbprod.core.jobs import JobStatus, StepStatus
from nbprod.jobs import (
    JobFile,
    Step,
    StepOutcome,
    as_text,
    find_job,
    make_page,
    run_job,
    summarise,
)
from nbprod.jobs.file import parse_job
from nbprod.workspace import Workspace

#: The same job without a baseline: the gate that needs one says unknown.
SHORT = """\
job: router
steps:
  - {id: tune, run: train, parameters: {quality: 0.9}}
  - id: evaluate
    run: evaluate
    parameters: {model: "${tune.model}", champion: "registry:router@champion"}
  - {promote: router, from: tune, evidence: evaluate}
  - {report: true}
"""


def job_from(workspace: Workspace, text: str) -> JobFile:
    path = workspace.jobs_folder / "job.yaml"
    path.write_text(text)
    return parse_job(text, path=path)


def _words(page: str, mark: str) -> list[str]:
    """Return the lines of a page that hold a word."""
    return [line for line in page.splitlines() if mark in line]


def statuses(outcome: Any) -> dict[str, str]:
    return {step.step: str(step.status) for step in outcome.steps}


class Seen:
    """Writes down what a job tells its progress."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.events = 0

    def on_step_started(self, step: Step, *, position: int, total: int) -> None:
        self.lines.append(f"{position + 1} of {total}: {step.id}")

    def on_event(self, step: Step, event: Event) -> None:
        self.events += 1

    def on_step_finished(self, outcome: StepOutcome) -> None:
        self.lines.append(f"{outcome.step} {outcome.status}")


def test_a_job_trains_judges_promotes_and_reports_and_then_blocks_what_is_worse(
    workspace: Workspace,
) -> None:
    seen = Seen()

    first = run_job(workspace, find_job(workspace.jobs_folder, "router"), progress=seen)

    assert first.status is JobStatus.SUCCEEDED, first
    assert statuses(first) == dict.fromkeys(
        ("look", "base", "tune", "evaluate", "promote", "report"), "succeeded"
    )
    assert seen.lines[:3] == ["1 of 6: look", "look succeeded", "2 of 6: base"]
    assert seen.events > 20
    champion = workspace.models["router@champion"]
    assert champion.version == 1
    tune = workspace.record(first.steps[2].run or "")
    assert tune.parameters == {"quality": 0.9, "rows": 5, "note": "5 rows, run 1"}
    assert (tune.run.job_run, tune.run.step) == (first.job_run.id, "tune")
    evaluated = workspace.record(first.steps[3].run or "")
    assert evaluated.parameters["model"] == str(tune.folder / "scraps" / "model")
    assert evaluated.parameters["champion"] is None
    page = (first.report or Path()).read_text()
    assert "router@champion → version 1" in page
    assert "accuracy" in page
    text = as_text(summarise(first))
    assert text.startswith("router, run 1: succeeded in ")
    assert "router@champion → version 1\n" in text
    assert f"nbprod runs open {tune.id}\n" in "\n".join(
        line.split("#")[0].rstrip() + "\n" for line in text.splitlines()
    )
    assert str((first.report or Path()).relative_to(workspace.root)) in text

    # The very same model again is nothing to promote, and nothing to block either.
    again = run_job(workspace, job_from(workspace, SHORT))

    assert again.status is JobStatus.SUCCEEDED, again
    assert again.job_run.number == 2
    assert again.decisions[0].movement == "unchanged"
    assert workspace.record(again.steps[1].run or "").parameters["champion"] == str(champion.path)

    # A worse one is blocked; the report is rendered all the same; the champion is untouched.
    worse = SHORT.replace("0.9", "0.4").replace(", evidence: evaluate", "")  # it is found
    blocked = run_job(workspace, job_from(workspace, worse))

    assert blocked.status is JobStatus.BLOCKED
    assert statuses(blocked)["promote"] == "blocked"
    assert statuses(blocked)["report"] == "succeeded"
    assert workspace.models["router@champion"].version == 1
    assert "router version 2 was not promoted" in (blocked.report or Path()).read_text()
    assert (
        "router version 2 was not promoted\n"
        "  2 gates did not pass. router@champion stays version 1.\n" in as_text(summarise(blocked))
    )

    # Rendered anew from the record alone, both pages tell the same, whatever came later.
    workspace.promote("router", version=2, override=True, reason="by hand, on the same evidence")
    for outcome, says in ((first, "router@champion → version 1"), (blocked, "✕")):
        was = (outcome.report or Path()).read_text()
        (outcome.report or Path()).unlink()
        assert make_page(workspace, outcome.job_run.id) == outcome.report
        anew = (outcome.report or Path()).read_text()
        assert says in anew
        assert _words(anew, "verdict") == _words(was, "verdict") != []
        assert "by hand, on the same evidence" not in anew
    assert "it has decided 1 promotion before" in anew


def test_a_failed_step_skips_the_rest_but_not_the_report(workspace: Workspace) -> None:
    job = job_from(
        workspace,
        """\
job: failing
steps:
  - {id: look, run: look, parameters: {fail: true}}
  - {id: tune, run: train}
  - {promote: router, from: tune}
  - {report: true}
""",
    )

    outcome = run_job(workspace, job)

    assert outcome.status is JobStatus.FAILED
    assert statuses(outcome) == {
        "look": "failed",
        "tune": "skipped",
        "promote": "skipped",
        "report": "succeeded",
    }
    assert "ValueError: 3 rows are not enough" in outcome.job_run.reason
    recorded = workspace.store.jobs.steps(outcome.job_run.id)
    assert [step.status for step in recorded] == [
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.SKIPPED,
        StepStatus.SUCCEEDED,
    ]
    page = (outcome.report or Path()).read_text()
    assert "This job failed. What follows is what it did before." in page
    run = outcome.steps[0].run
    assert [command for command, _ in summarise(outcome).commands] == [
        f"nbprod runs show {run}",
        f"nbprod runs open {run}",
        "nbprod jobs run failing --dry-run",
    ]


def test_what_a_step_may_use_is_the_steps_then_the_jobs_then_the_templates(
    workspace: Workspace,
) -> None:
    job = job_from(
        workspace,
        """\
job: limited
resources: {timeout: 3s}
steps:
  - {id: quick, run: look, resources: {timeout: 10m}, parameters: {seconds: 3.5}}
  - {id: slow, run: look, parameters: {seconds: 600}}
""",
    )

    outcome = run_job(workspace, job)

    assert statuses(outcome) == {"quick": "succeeded", "slow": "failed"}
    assert outcome.steps[1].reason.startswith("The run took longer than its timeout of 3 s;")


def test_a_table_in_a_notebook_cannot_be_a_parameter(workspace: Workspace) -> None:
    job = job_from(
        workspace,
        """\
job: tables
steps:
  - {id: look, run: look}
  - {id: tune, run: train, parameters: {note: "${look.sample}"}}
""",
    )

    outcome = run_job(workspace, job)

    assert outcome.steps[1].status is StepStatus.FAILED
    assert outcome.steps[1].reason == (
        "${look.sample} is a frame kept inside the notebook: no parameter can hold it.\n"
        "Numbers, texts, lists and mappings are passed on, and models as their folder.\n"
        "Let the step write a file and glue its path, "
        f"then see what it left: nbprod runs show {outcome.steps[0].run}"
    )
    assert (outcome.report, outcome.decisions) == (None, ())
    run = outcome.steps[0].run or ""
    assert make_page(workspace, run).name == f"{run}.html"
    assert make_page(workspace, outcome.job_run.id).name == f"{outcome.job_run.id}.html"


def test_nothing_runs_when_a_later_step_is_wrong(workspace: Workspace) -> None:
    job = job_from(
        workspace, "job: x\nsteps:\n  - {id: look, run: look}\n  - {id: tune, run: trian}\n"
    )

    with pytest.raises(ValueError, match="trian"):
        run_job(workspace, job)

    assert list(workspace.runs()) == []
    assert list(workspace.store.jobs.list()) == []
