"""Errors of the jobs room: job files, the references in them, and what they lead to."""

from collections.abc import Sequence

from nbprod.core.errors.notebook import suggest
from nbprod.core.errors.root import NbprodError


class JobError(NbprodError):
    """A job cannot be run as it stands."""


class JobFileError(JobError, ValueError):
    """A job file says something that cannot be, found before anything ran."""

    def __init__(
        self, source: str, line: int | None, problem: str, job: str, why: str = ""
    ) -> None:
        super().__init__(source, line, problem, job, why)
        self.source = source
        self.line = line  #: from 1
        self.job = job
        self.problem = problem
        at = f"{source}, line {line}" if line else source
        self.what = f"{at}: {problem}"
        self.why = why or "A job is checked as a whole before any of its steps runs."
        self.do = f"Correct it, then check it without running it: nbprod jobs run {job} --dry-run"


class JobReferenceError(JobFileError):
    """A `${step.scrap}` points to something that will not be there when its step runs."""


class UnknownJobError(JobError, LookupError):
    """No job file declares a job of that name."""

    def __init__(self, name: str, known: Sequence[str], folder: str) -> None:
        super().__init__(name, tuple(known), folder)
        self.name = name
        self.what = f"There is no job {name!r} in {folder}.{suggest(name, known)}"
        self.why = f"Jobs found there: {', '.join(sorted(known)) or 'none'}."
        self.do = "See what there is: nbprod jobs list"


class MissingScrapError(JobError, LookupError):
    """A step refers to a scrap that an earlier step's run did not leave."""

    def __init__(self, reference: str, run: str, found: Sequence[str]) -> None:
        super().__init__(reference, run, tuple(found))
        self.reference = reference
        self.run = run
        self.what = f"{reference} has no value: run {run} did not leave that scrap."
        self.why = f"Its scraps: {', '.join(sorted(found)) or 'none'}."
        self.do = f"Look at the run, and declare the scrap as required: nbprod runs show {run}"


class UnusableScrapError(JobError, TypeError):
    """A step refers to a table or picture that no parameter can hold."""

    def __init__(self, reference: str, kind: str, run: str) -> None:
        super().__init__(reference, kind, run)
        self.reference = reference
        self.what = f"{reference} is a {kind} kept inside the notebook: no parameter can hold it."
        self.why = "Numbers, texts, lists and mappings are passed on, and models as their folder."
        self.do = (
            "Let the step write a file and glue its path, "
            f"then see what it left: nbprod runs show {run}"
        )
