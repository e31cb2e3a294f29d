"""What a person reads when a job has ended: steps, verdicts, what moved, where it is, what next."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nbprod.core.jobs import JobStatus, StepStatus
from nbprod.core.verdicts import Outcome, Verdict
from nbprod.core.words import duration, wrapped
from nbprod.jobs.file import StepKind
from nbprod.jobs.outcome import JobOutcome, StepOutcome
from nbprod.jobs.pages import explanation, headline
from nbprod.workspace.promotion import CHAMPION, Decision, Movement

MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.UNKNOWN: "?"}
_KEY_FIGURES = 3
_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """One step, as a line."""

    step: str
    what: str  #: the template or the model
    status: StepStatus
    took: str  #: "1 min 12 s"
    key: str  #: "macro_f1 0.702, accuracy 0.771", or what a promotion came to


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the gates said of one model, and what came of it."""

    headline: str  #: "subject-router@champion → version 1"
    explanation: str
    movement: Movement
    verdicts: tuple[Verdict, ...]
    note: str  #: which evaluation set decided, and how often it has before


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A job run's ending, ready to be printed."""

    title: str  #: "subject-router, run 1: succeeded in 3 min 23 s"
    status: JobStatus
    reason: str  #: why it failed
    steps: tuple[StepLine, ...]
    judgements: tuple[Judgement, ...]
    notebooks: tuple[tuple[str, str], ...]  #: step and path of its executed notebook
    report: str  #: path of the page; "" where no step rendered one
    commands: tuple[tuple[str, str], ...]  #: three commands to try next, and what each shows


def summarise(outcome: JobOutcome) -> Summary:
    """Return what there is to say of a job run; paths are relative to the current folder."""
    job_run = outcome.job_run
    took = duration(job_run.seconds)
    return Summary(
        title=f"{job_run.job}, run {job_run.number}: {job_run.status}{f' in {took}' * bool(took)}",
        status=job_run.status,
        # A blocked job has its judgement to say why.
        reason=job_run.reason if job_run.status is JobStatus.FAILED else "",
        steps=tuple(
            StepLine(
                step=step.step,
                what=step.target or "page of this job",
                status=step.status,
                took=duration(step.seconds),
                key=_key(step),
            )
            for step in outcome.steps
        ),
        judgements=tuple(_judgement(decision) for decision in outcome.decisions),
        notebooks=tuple(
            (step.step, _near(step.notebook)) for step in outcome.steps if step.notebook is not None
        ),
        report=_near(outcome.report) if outcome.report else "",
        commands=tuple(_commands(outcome)),
    )


def as_text(summary: Summary) -> str:
    """Return the summary as plain text of at most 100 columns, paths excepted."""
    lines = [summary.title, ""]
    if summary.reason:
        lines += [*_wrapped(summary.reason, indent=2), ""]
    widths = [
        max(len(text) for text in column)
        for column in zip(
            *((line.step, line.what, line.status, line.took) for line in summary.steps),
            strict=True,
        )
    ]
    for line in summary.steps:
        cells = (
            line.step.ljust(widths[0]),
            line.what.ljust(widths[1]),
            line.status.ljust(widths[2]),
            line.took.rjust(widths[3]),
            line.key,
        )
        lines.append("  " + "  ".join(cells).rstrip())
    for judgement in summary.judgements:
        lines += ["", "What the gates say", ""]
        for verdict in judgement.verdicts:
            lines.append(f"  {MARKS[verdict.outcome]} {verdict.gate}: {verdict.outcome}")
            lines += _wrapped(verdict.reason, indent=4)
        if judgement.note:
            lines += ["", *_wrapped(judgement.note, indent=2)]
        lines += ["", judgement.headline, *_wrapped(judgement.explanation, indent=2)]
    if summary.notebooks:
        width = max(len(step) for step, _ in summary.notebooks)
        lines += ["", "Executed notebooks", ""]
        lines += [f"  {step.ljust(width)}  {path}" for step, path in summary.notebooks]
    if summary.report:
        lines += ["", "Report", "", f"  {summary.report}"]
    if summary.commands:
        width = max(len(command) for command, _ in summary.commands)
        lines += ["", "Try next", ""]
        lines += [f"  {command.ljust(width)}  # {why}" for command, why in summary.commands]
    return "\n".join(lines) + "\n"


def _key(step: StepOutcome) -> str:
    if step.kind is StepKind.REPORT:
        return ""
    if step.kind is StepKind.PROMOTE and step.decision is not None:
        return headline(step.decision)
    if step.status is not StepStatus.SUCCEEDED:
        return ""  # the job's reason, on top, is the one that tells
    numbers = [figure for figure in step.figures if figure.is_number][:_KEY_FIGURES]
    return ", ".join(f"{figure.name} {figure.text}" for figure in numbers)


def _judgement(decision: Decision) -> Judgement:
    return Judgement(
        headline=headline(decision),
        explanation=explanation(decision),
        movement=decision.movement,
        verdicts=decision.verdicts,
        note=decision.note,
    )


def _commands(outcome: JobOutcome) -> Sequence[tuple[str, str]]:
    job = outcome.job_run
    stuck = next(
        (step.run for step in outcome.steps if step.run and step.status is StepStatus.FAILED), None
    )
    if stuck:
        return (
            (f"nbprod runs show {stuck}", "what went wrong, and with which parameters"),
            (f"nbprod runs open {stuck}", "the notebook up to where it failed"),
            (f"nbprod jobs run {job.job} --dry-run", "check the job without running it"),
        )
    promote = next((step for step in outcome.steps if step.decision is not None), None)
    if promote is None or promote.decision is None:
        last = next((step.run for step in reversed(outcome.steps) if step.run), None)
        return (
            (f"nbprod jobs show {job.job}", "the job, and its latest runs"),
            *([(f"nbprod runs open {last}", "the executed notebook")] if last else []),
            (f"nbprod reports make {job.id}", "the page of this job run"),
        )
    decision = promote.decision
    show = (f"nbprod models show {decision.model}", "its versions, gates and lineage")
    notebook = (f"nbprod runs open {promote.candidate}", "the notebook that trained it")
    match decision.movement:
        case Movement.PROMOTED | Movement.OVERRIDDEN:
            export = f"nbprod export {decision.model}@{CHAMPION} exported/"
            return show, notebook, (export, "the model as plain files, with checksums")
        case Movement.BLOCKED:
            again = f"nbprod models promote {decision.model} {decision.version} --dry-run"
            return show, notebook, (again, "judge it again; nothing moves")
        case _:
            return show, notebook, (f"nbprod jobs show {job.job}", "the job, and its latest runs")


def _near(path: Path) -> str:
    here = Path.cwd()
    return os.path.relpath(path, here) if path.is_relative_to(here) else str(path)


def _wrapped(text: str, *, indent: int) -> list[str]:
    """Return the text's lines, the long ones broken; an indented one, code say, is left whole."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += [line] if line.startswith(" ") else wrapped(line, _WIDTH - indent)
    return [" " * indent + line for line in lines]
