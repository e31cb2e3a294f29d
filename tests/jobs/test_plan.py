"""A job is refused as a whole before any of it runs, with the words a person needs."""

from pathlib import Path

import pytest

from nbprod.core.errors import JobFileError, JobReferenceError
from nbprod.jobs import StepKind, find_job, plan_job
from nbprod.jobs.file import parse_job
from nbprod.workspace import Workspace

WHY = "A job is checked as a whole before any of its steps runs."
DO = "Correct it, then check it without running it: nbprod jobs run j --dry-run"
ORDER = "Steps run in this order: look → base → tune → more."

STEPS = """\
job: j
steps:
  - {id: look, run: look}
  - {id: base, run: train}
  - {id: tune, run: train, parameters: {note: PUT}}
  - {id: more, run: look}
"""


def refusal(workspace: Workspace, text: str) -> str:
    with pytest.raises(JobFileError) as refused:
        plan_job(workspace, parse_job(text, path=workspace.jobs_folder / "j.yaml"))
    return str(refused.value)


def test_a_whole_job_can_be_planned(workspace: Workspace) -> None:
    plan = plan_job(workspace, find_job(workspace.jobs_folder, "router"))

    assert [(planned.step.id, planned.template and planned.what) for planned in plan.steps] == [
        ("look", "look"),
        ("base", "train"),
        ("tune", "train"),
        ("evaluate", "evaluate"),
        ("promote", None),
        ("report", None),
    ]


@pytest.mark.parametrize(
    ("reference", "problem", "why"),
    [
        ("${more.rows}", "refers to ${more.rows}, but 'more' runs later.", ORDER),
        ("${tune.model}", "refers to ${tune.model}, which is itself.", ORDER),
        (
            "${lok.rows}",
            "refers to ${lok.rows}, but there is no such step. Did you mean 'look'?",
            ORDER,
        ),
        (
            "at ${look.row}!",
            "refers to ${look.row}, but look declares no scrap 'row'. Did you mean 'rows'?",
            "Its scraps: rows, names, sample.",
        ),
        (
            "${job.id}",
            "refers to ${job.id}, but a job has only ${job.number} and ${job.run}.",
            WHY,
        ),
    ],
)
def test_a_reference_points_to_a_scrap_of_an_earlier_step(
    workspace: Workspace, reference: str, problem: str, why: str
) -> None:
    text = STEPS.replace("PUT", f'"{reference}"')

    assert refusal(workspace, text) == (
        f"scheduler/j.yaml, line 5: step 'tune' {problem}\n{why}\n{DO}"
    )


def test_a_reference_that_is_none_says_how_one_is_written(workspace: Workspace) -> None:
    assert refusal(workspace, STEPS.replace("PUT", '"${tune}"')) == (
        "scheduler/j.yaml, line 5: step 'tune': '${tune}' is no reference.\n"
        "A reference is ${STEP.SCRAP}, ${job.number} or ${job.run}; "
        "write $${ for a ${ that means itself.\n" + DO
    )


def test_a_report_leaves_no_scraps(workspace: Workspace) -> None:
    text = 'job: j\nsteps:\n  - {report: true}\n  - {run: look, parameters: {x: "${report.a}"}}\n'

    assert refusal(workspace, text) == (
        "scheduler/j.yaml, line 4: step 'look' refers to ${report.a}, "
        f"but a report step leaves no scraps.\n{WHY}\n{DO}"
    )


@pytest.mark.parametrize(
    ("step", "problem", "why"),
    [
        (
            "{id: a, run: lok}",
            "step 'a': There is no template named 'lok'. Did you mean 'look'?",
            None,
        ),
        (
            "{id: a, run: look, parameters: {cuont: 1}}",
            "step 'a': look has no parameter 'cuont'. Did you mean 'count'?",
            "Its parameters: count, fail, seconds.",
        ),
        (
            '{id: a, run: look, parameters: {cuont: "${job.number}"}}',
            "step 'a': look has no parameter 'cuont'. Did you mean 'count'?",
            "Its parameters: count, fail, seconds.",
        ),
        (
            "{id: a, run: look, parameters: {count: many}}",
            "step 'a': Parameter 'count' of look does not accept \"many\".",
            None,
        ),
        (
            '{id: a, run: evaluate, parameters: {model: "registry:router@champion"}}',
            "step 'a': registry:router@champion does not exist.",
            "End it with ? to let the template go without.",
        ),
    ],
)
def test_what_a_step_runs_and_is_given_is_checked_strictly(
    workspace: Workspace, step: str, problem: str, why: str | None
) -> None:
    lines = refusal(workspace, f"job: j\nsteps:\n  - {step}\n").splitlines()

    assert lines[0] == f"scheduler/j.yaml, line 3: {problem}"
    assert lines[1] if why is None else lines[1] == why
    assert lines[2] == DO


def test_a_champion_that_an_earlier_step_may_promote_is_accepted(workspace: Workspace) -> None:
    text = """\
job: j
steps:
  - {id: tune, run: train}
  - {promote: router, from: tune}
  - {run: evaluate, parameters: {model: "registry:router@champion"}}
"""

    plan = plan_job(workspace, parse_job(text, path=Path("j.yaml")))

    assert [planned.step.kind for planned in plan.steps] == [
        StepKind.RUN,
        StepKind.PROMOTE,
        StepKind.RUN,
    ]


PROMOTE = "job: j\nsteps:\n  - {id: look, run: look}\n  - {id: tune, run: train}\n"
SHORT_ORDER = "Steps run in this order: look → tune → promote."


@pytest.mark.parametrize(
    ("step", "problem", "why"),
    [
        (
            "{promote: ruoter, from: tune}",
            "step 'promote' promotes 'ruoter', which nbprod.toml does not declare. "
            "Did you mean 'router'?",
            "Declared models: router.",
        ),
        (
            "{promote: router, from: tnue}",
            "step 'promote' takes `from: tnue`, but there is no such step. Did you mean 'tune'?",
            SHORT_ORDER,
        ),
        (
            "{promote: router, from: promote}",
            "step 'promote' takes `from: promote`, which is itself.",
            SHORT_ORDER,
        ),
        (
            "{promote: router, from: tune, evidence: later}",
            "step 'promote' takes `evidence: later`, but there is no such step.",
            SHORT_ORDER,
        ),
        (
            "{promote: router, from: look}",
            "step 'promote' promotes from 'look', which leaves no model.",
            "Its scraps: rows, names, sample; none is declared as `type: model`.",
        ),
    ],
)
def test_a_promotion_names_a_declared_model_and_earlier_runs(
    workspace: Workspace, step: str, problem: str, why: str
) -> None:
    assert refusal(workspace, f"{PROMOTE}  - {step}\n") == (
        f"scheduler/j.yaml, line 5: {problem}\n{why}\n{DO}"
    )


def test_a_promotion_cannot_take_what_runs_later(workspace: Workspace) -> None:
    text = "job: j\nsteps:\n  - {promote: router, from: tune}\n  - {id: tune, run: train}\n"

    with pytest.raises(JobReferenceError) as refused:
        plan_job(workspace, parse_job(text, path=workspace.jobs_folder / "j.yaml"))

    assert str(refused.value) == (
        "scheduler/j.yaml, line 3: step 'promote' takes `from: tune`, which runs later.\n"
        f"Steps run in this order: promote → tune.\n{DO}"
    )


def test_a_path_in_a_job_is_the_workspace_s(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "job: j\nsteps: [{id: a, run: templates/look.ipynb}]\n"

    plan = plan_job(workspace, parse_job(text, path=Path("j.yaml")))

    assert plan.steps[0].what == str(workspace.root / "templates" / "look.ipynb")
