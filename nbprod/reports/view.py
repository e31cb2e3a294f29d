"""One run, ready to be laid out: what both pages show of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nbprod.core.json import JSON
from nbprod.core.runs import Run, RunStatus
from nbprod.core.scraps import Scrap
from nbprod.core.words import count, duration, moment, short, spoken
from nbprod.notebook.front_matter import FrontMatter
from nbprod.reports.body import own_front_matter, read_notebook, render_body
from nbprod.reports.comparison import Comparison, compare
from nbprod.reports.figures import KeyFigure, key_figures
from nbprod.reports.public import public


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run has no result, told before anything else."""

    headline: str
    reason: str
    error: str = ""  #: exception and message
    traceback: str = ""
    not_run: str = ""  #: "7 cells were not run: Confusion matrix, Calibration."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What is shown of a run."""

    run: Run
    title: str  #: for the audience
    template_title: str  #: the template's own, where it differs
    description: str
    body: str  #: HTML
    figures: tuple[KeyFigure, ...]
    comparisons: tuple[Comparison, ...]
    failure: Failure | None
    stopped: str  #: "" or the sentence with which the notebook ended itself early
    lineage: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, str], ...]
    scraps: Mapping[str, Scrap] = field(default_factory=dict)

    @property
    def took(self) -> str:
        """Return the duration in words."""
        return duration(self.run.seconds)


def view(
    run: Run,
    *,
    notebook: Path | None,
    scraps: Mapping[str, Scrap],
    front_matter: FrontMatter | None,
    demote: int,
) -> RunView:
    """Gather what a page shows of `run`; without a notebook file, everything but its cells.

    Front matter that is not given is the executed notebook's own.
    """
    executed = read_notebook(notebook) if notebook is not None and notebook.is_file() else None
    if front_matter is None and executed is not None:
        front_matter = own_front_matter(executed, where=str(notebook))
    front_matter = front_matter or FrontMatter()
    code, declared = front_matter.report.code, front_matter.scraps
    shown = public(executed, code=code) if executed is not None else None
    own_title = front_matter.title or (shown.title if shown else "")
    own_title = own_title or spoken(Path(run.template).stem)
    title = front_matter.report.title or own_title
    rest = _rest(shown.cells_not_run, shown.not_reached) if shown else ""
    failure = _failure(run, rest)
    comparisons = compare(scraps, declared)
    beside = {f"{role}_{found.metric}" for found in comparisons for role in found.values}
    return RunView(
        run=run,
        title=title,
        template_title="" if own_title == title else own_title,
        description=front_matter.description,
        body=render_body(shown.notebook, code=code, demote=demote) if shown else "",
        figures=tuple(
            figure for figure in key_figures(scraps, declared) if figure.name not in beside
        ),
        comparisons=comparisons,
        failure=failure,
        stopped=f"{run.reason} {rest}".strip() if rest and failure is None else "",
        lineage=tuple((label, text) for label, text in _lineage(run) if text),
        parameters=tuple((name, _parameter(value)) for name, value in run.parameters.items()),
        scraps=scraps,
    )


def _failure(run: Run, rest: str) -> Failure | None:
    match run.status:
        case RunStatus.SUCCEEDED:
            return None
        case RunStatus.FAILED:
            headline = "This run failed. What follows is what it did before."
        case RunStatus.CANCELLED:
            headline = "This run was cancelled. What follows is what it did before."
        case RunStatus.LOST:
            headline = "This run was lost: whatever supervised it vanished."
        case _:
            headline = "This run is not finished. What follows is what it has done so far."
    error = run.error
    text = f"{error.type}: {error.message}" if error else ""
    return Failure(
        headline=headline,
        reason="" if run.reason == text else run.reason,
        error=text,
        traceback=error.traceback if error else "",
        not_run=rest,
    )


def _rest(cells: int, headings: tuple[str, ...]) -> str:
    if not cells:
        return ""
    were = "was" if cells == 1 else "were"
    parts = f" ({'; '.join(headings)})" if headings else ""
    return f"{count(cells, 'cell')} {were} not run{parts}."


def _lineage(run: Run) -> list[tuple[str, str]]:
    lineage = run.lineage
    commit = short(lineage.git_commit) if lineage.git_commit else ""
    if commit and lineage.git_dirty:
        commit += ", with changes not committed"
    machine = ", ".join(part for part in (lineage.host, lineage.platform) if part)
    return [
        ("Run", run.id),
        ("Template", f"{run.template} · {short(lineage.template_digest)}"),
        ("Started", moment(run.started_at or run.created_at)),
        ("Took", duration(run.seconds)),
        ("By", lineage.user),
        ("On", machine),
        ("Devices", ", ".join(lineage.devices) or "CPU"),
        ("Data", _named(lineage.data_fingerprints)),
        ("Models", _named(lineage.models)),
        ("Commit", commit),
        ("Environment", short(lineage.environment_digest)),
        ("Versions", " · ".join(_versions(lineage.python, lineage.nbprod))),
        ("Executed notebook", short(run.notebook_digest)),
    ]


def _versions(python: str, nbprod: str) -> list[str]:
    named = (("Python", python), ("nbprod", nbprod))
    return [f"{name} {version}" for name, version in named if version]


def _named(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {short(digest)}" for name, digest in digests.items())


def _parameter(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
