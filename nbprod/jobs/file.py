"""Job files: `scheduler/*.yaml`, read and checked in form. What they refer to, `plan` checks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NoReturn

from nbprod.core.errors import JobFileError, NbprodError, UnknownJobError
from nbprod.core.json import JSON
from nbprod.core.resources import Resources

SUFFIXES = (".yaml", ".yml")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


class StepKind(StrEnum):
    """What a step does."""

    RUN = "run"  #: execute a template
    PROMOTE = "promote"  #: let the gates of a model decide
    REPORT = "report"  #: render the job's page


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step, as written."""

    id: str  #: as given, else the template's name, "promote" or "report"
    kind: StepKind
    target: str = ""  #: the template or the model; "" for a report
    parameters: Mapping[str, JSON] = field(default_factory=dict)  #: references not yet resolved
    candidate: str = ""  #: `from`: the run step whose model wants to be promoted
    evidence: str = ""  #: the run step that scored it; "" takes the latest that did
    resources: Resources = field(default_factory=Resources)  #: over the template's; of a run step
    position: int = 0  #: from 0
    line: int | None = None  #: of the file, from 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """One job: what runs, in which order."""

    name: str
    description: str
    path: Path
    text: str  #: the file, kept with every job run
    steps: tuple[Step, ...]
    schedule: JSON = None  #: when it is due; accepted, not acted on yet
    on: JSON = None  #: which events start it; accepted, not acted on yet
    resources: Resources = field(default_factory=Resources)  #: of each run step that says none

    def step(self, id_: str) -> Step | None:
        """Return the step of that id, or None."""
        return next((step for step in self.steps if step.id == id_), None)

    def fail(self, keys: tuple[str | int, ...], problem: str, *, why: str = "") -> NoReturn:
        """Raise a JobFileError about the value below `keys`."""
        from nbprod.notebook.yaml import line_of

        raise JobFileError(
            shown(self.path), line_of(self.text, keys), problem, job=self.name, why=why
        )


def read_job(path: Path) -> JobFile:
    """Read one job file.

    Raises:
        YamlError: it is not YAML, naming file and line.
        JobFileError: it is no job, naming file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"it is not UTF-8: byte {error.start} cannot be read."
        raise JobFileError(shown(path), None, problem, path.stem) from error
    return parse_job(text, path=path)


def parse_job(text: str, *, path: Path) -> JobFile:
    """Return what a job file's text says; `path` names it in errors."""
    from nbprod.jobs.reading import Reader

    return Reader(text, path=path).read()


def find_jobs(folder: Path) -> tuple[dict[str, JobFile], tuple[NbprodError, ...]]:
    """Return the jobs of a folder by name, sorted, and what is wrong with the other files.

    A second file that declares a job of the same name is one of those others.
    """
    found: dict[str, JobFile] = {}
    broken: list[NbprodError] = []
    for path in _files(folder):
        try:
            job = read_job(path)
            if job.name in found:
                other = shown(found[job.name].path)
                job.fail(("job",), f"the job {job.name!r} is declared in {other} already.")
        except NbprodError as error:
            broken.append(error)
        else:
            found[job.name] = job
    return dict(sorted(found.items())), tuple(broken)


def find_job(folder: Path, name: str) -> JobFile:
    """Return a job by name, or by the path of its file.

    Files that are likely to hold it are read first, so that a broken neighbour is in nobody's way.

    Raises:
        UnknownJobError: the nearest name is suggested.
        JobFileError: its file, or one that might declare it, is malformed.
    """
    if name.endswith(SUFFIXES) and Path(name).is_file():
        return read_job(Path(name))
    likely = name.replace("-", "_")
    files = sorted(_files(folder), key=lambda path: path.stem.replace("-", "_") != likely)
    known: list[str] = []
    broken: Exception | None = None
    for path in files:
        try:
            job = read_job(path)
        except ValueError as error:
            broken = broken or error
            continue
        if job.name == name:
            return job
        known.append(job.name)
    if broken is not None:
        raise broken
    raise UnknownJobError(name, known, str(shown(folder)))


def shown(path: Path) -> str:
    """Return a path as a person would type it here: relative to the current folder if below it."""
    here = Path.cwd()
    absolute = path if path.is_absolute() else here / path
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def is_name(text: str) -> bool:
    """Say whether `text` can name a job."""
    return _NAME.fullmatch(text) is not None and len(text) <= 200


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
