"""The form of a job file, checked with pydantic: every refusal names file, line and key."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nbprod.core.amounts import parse_duration
from nbprod.core.errors import JobFileError
from nbprod.core.errors.notebook import suggest
from nbprod.core.json import JSON
from nbprod.core.resources import Resources
from nbprod.jobs.file import JobFile, Step, StepKind, is_name, shown
from nbprod.jobs.references import JOB
from nbprod.notebook.resources import parse_resources
from nbprod.notebook.yaml import line_of, load_yaml

_STEP_ID = r"^[A-Za-z_][A-Za-z0-9_-]*$"
_CRON_FIELDS = 5
_CRON_WORDS = ("@hourly", "@daily", "@weekly", "@monthly", "@yearly")

Text = Annotated[str, Field(min_length=1)]
StepId = Annotated[str, Field(pattern=_STEP_ID, max_length=200)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Job(_Table):
    job: Text
    description: str = ""
    steps: Annotated[list[dict[str, Any]], Field(min_length=1)]
    schedule: Any = None  # text or a mapping: `check_schedule` says which it should have been
    on: Any = None
    resources: dict[str, Any] | None = None


class _Schedule(_Table):
    cron: Text | None = None
    every: Text | None = None
    timezone: Text | None = None
    grace: Text | None = None


class _RunStep(_Table):
    id: StepId | None = None
    run: Text
    parameters: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None


class _PromoteStep(_Table):
    id: StepId | None = None
    promote: Text
    source: Text = Field(alias="from")
    evidence: Text | None = None


class _ReportStep(_Table):
    id: StepId | None = None
    report: Literal[True]


_FORMS: dict[StepKind, type[_Table]] = {
    StepKind.RUN: _RunStep,
    StepKind.PROMOTE: _PromoteStep,
    StepKind.REPORT: _ReportStep,
}
_Form = TypeVar("_Form", bound=_Table)
Keys = tuple[str | int, ...]


class Reader:
    """Reads one file's text. Knows where it is, for errors."""

    def __init__(self, text: str, *, path: Path) -> None:
        self.text = text
        self.path = path
        self.job = path.stem.replace("_", "-")  # until the file has said its name

    def read(self) -> JobFile:
        """Return the job.

        Raises:
            YamlError: naming file and line.
            JobFileError: naming file and line.
        """
        then = f"nbprod jobs run {self.job} --dry-run"
        found = load_yaml(self.text, source=shown(self.path), then=then)
        if not isinstance(found, dict):
            self.fail((), "a job file is a mapping that begins with `job: NAME`.")
        if isinstance(name := found.get("job"), str) and is_name(name):
            self.job = name
        form = self.form(_Job, found, ())
        if not is_name(form.job):
            self.fail(
                ("job",), f"{form.job!r} cannot name a job: use letters, digits, - and _ only."
            )
        self.check_schedule(form.schedule)
        self.check_events(form.on)
        steps = tuple(self.step(step, position) for position, step in enumerate(form.steps))
        self.refuse_duplicates(steps)
        return JobFile(
            name=form.job,
            description=form.description,
            path=self.path,
            text=self.text,
            steps=steps,
            schedule=found.get("schedule"),
            on=found.get("on"),
            resources=self.resources(form.resources, ("resources",)),
        )

    def step(self, found: dict[str, JSON], position: int) -> Step:
        """Return one step; which kind it is, one of three keys says."""
        at: Keys = ("steps", position)
        kinds = [kind for kind in StepKind if kind in found]
        if len(kinds) != 1:
            given = " and ".join(kinds) or f"only {', '.join(found) or 'nothing'}"
            known = ("id", *StepKind, "parameters", "resources", "from", "evidence")
            strange = next((key for key in found if key not in known), None)
            hint = suggest(strange, [kind.value for kind in StepKind]) if strange else ""
            problem = f"step {position + 1} says {given}; it must say one of run, promote, report."
            self.fail(at, f"{problem}{hint}")
        form = self.form(_FORMS[kinds[0]], found, at)
        line = line_of(self.text, at)
        match form:
            case _RunStep():
                return Step(
                    id=form.id or self.id_of(form.run, at),
                    kind=StepKind.RUN,
                    target=form.run,
                    parameters=form.parameters or {},
                    resources=self.resources(form.resources, (*at, "resources")),
                    position=position,
                    line=line,
                )
            case _PromoteStep():
                return Step(
                    id=form.id or StepKind.PROMOTE.value,
                    kind=StepKind.PROMOTE,
                    target=form.promote,
                    candidate=form.source,
                    evidence=form.evidence or "",
                    position=position,
                    line=line,
                )
            case _ReportStep():
                id_ = form.id or StepKind.REPORT.value
                return Step(id=id_, kind=StepKind.REPORT, position=position, line=line)
            case _:
                raise AssertionError("every form has its case")

    def id_of(self, template: str, at: Keys) -> str:
        """Return the id of a step that gives none: its template's name."""
        stem = Path(template).stem
        if re.match(_STEP_ID, stem) is None:
            self.fail(at, f"the step that runs {template!r} needs an id, such as `id: look`.")
        return stem

    def refuse_duplicates(self, steps: tuple[Step, ...]) -> None:
        """Refuse two steps of one id, and the id that refers to the job itself."""
        seen: dict[str, int] = {}
        for step in steps:
            at: Keys = ("steps", step.position, "id")
            if step.id == JOB:
                self.fail(at, f"a step cannot be called {JOB!r}: ${{job.number}} means the job.")
            if step.id in seen:
                problem = f"steps {seen[step.id] + 1} and {step.position + 1} are both {step.id!r}."
                self.fail(at, f"{problem} Give one of them another id.")
            seen[step.id] = step.position

    def check_schedule(self, schedule: JSON) -> None:
        """Refuse what cannot be a schedule, so that a file written today works later."""
        at: Keys = ("schedule",)
        cron = schedule
        if isinstance(schedule, dict):
            form = self.form(_Schedule, schedule, at)
            if (form.cron is None) == (form.every is None):
                self.fail(at, "a schedule says either `cron` or `every`.")
            if form.every is not None:
                if parse_duration(form.every) is None:
                    self.fail((*at, "every"), f"{form.every!r} is no duration: write 2h or 30m.")
                return
            cron, at = form.cron, ("schedule", "cron")
        if cron is None or cron in _CRON_WORDS:
            return
        if not isinstance(cron, str) or cron[:1] == "@" or len(cron.split()) != _CRON_FIELDS:
            words = ", ".join(_CRON_WORDS)
            self.fail(at, f"{cron!r} is no schedule: write five cron fields, or one of {words}.")

    def check_events(self, on: JSON) -> None:
        """Refuse what cannot name events: one name, a list of names, or names with details."""
        names = [on] if isinstance(on, str) else on
        is_named = isinstance(names, list | dict) and all(
            isinstance(name, str) and name for name in names
        )
        if on is not None and not is_named:
            self.fail(
                ("on",), f"`on` names events, such as `on: {{file: data/*.csv}}`, not {on!r}."
            )

    def resources(self, value: dict[str, Any] | None, at: Keys) -> Resources:
        """Return the resources below `at`, checked as a template's are."""
        return parse_resources(value, fail=lambda keys, problem: self.fail((*at, *keys), problem))

    def form(self, form: type[_Form], value: JSON, at: Keys) -> _Form:
        """Validate `value`; the first problem becomes the error."""
        try:
            return form.model_validate(value)
        except ValidationError as error:
            # A misspelt key is also a missing one: the first of the two can be acted on.
            problems = error.errors()
            strange = [found for found in problems if found["type"] == "extra_forbidden"]
            problem = (strange or problems)[0]
            where = tuple(problem["loc"])
            self.fail((*at, *where), _sentence(form, at, where, dict(problem)))

    def fail(self, keys: Keys, problem: str) -> NoReturn:
        """Raise the error about the value below `keys`."""
        line = line_of(self.text, keys) if keys else None
        raise JobFileError(shown(self.path), line, problem, self.job)


def _sentence(form: type[_Table], at: Keys, where: Keys, problem: dict[str, Any]) -> str:
    of = f"step {int(at[1]) + 1}: " if at[:1] == ("steps",) else ""
    name = ".".join(str(part) for part in where)
    name = f"{at[0]}.{name}" if at and not of else name
    match problem["type"]:
        case "extra_forbidden":
            known = tuple(field.alias or key for key, field in form.model_fields.items())
            hint = suggest(str(where[-1]), known) or f" Known here: {', '.join(known)}."
            return f"{of}there is no key {name!r}.{hint}"
        case "missing":
            return f"{of}`{name}` is missing."
        case "string_type":
            return f"{of}`{name}` is text, not {problem['input']!r}."
        case "dict_type":
            return f"{of}`{name}` is a mapping, not {problem['input']!r}."
        case "list_type":
            return f"{of}`{name}` is a list, not {problem['input']!r}."
        case "literal_error":
            return f"{of}`{name}` is true, not {problem['input']!r}."
        case "too_short" | "string_too_short":
            return f"{of}`{name}` is empty."
        case "string_pattern_mismatch":
            return f"{of}{problem['input']!r} cannot be an id: use letters, digits, - and _."
        case _:
            return f"{of}`{name}`: {problem['msg']}."
