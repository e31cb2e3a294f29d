"""What nbprod.toml says, validated."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from nbprod.core.amounts import parse_duration, parse_size
from nbprod.core.errors import SettingsError
from nbprod.core.outputs import OutputCaps, parse_caps

FILE = "nbprod.toml"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _size(text: str) -> str:
    if not parse_size(text):
        raise ValueError(f"{text!r} is no size such as 1GB or 512MiB")
    return text


def _duration(text: str) -> str:
    if not parse_duration(text):
        raise ValueError(f"{text!r} is no duration such as 10min or 1h30m")
    return text


class WorkspaceTable(_Table):
    """The `[workspace]` table."""

    name: str = Field(min_length=1)
    store: str = "sqlite:///.nbprod/store.db"  #: SQLAlchemy URL; SQLite paths are below the root
    artifacts: str = ".nbprod/artifacts"  #: any fsspec URL
    templates: str = "templates"
    jobs: str = "scheduler"


class RunsTable(_Table):
    """The `[runs]` table."""

    lease_seconds: float = Field(default=30.0, ge=0.5)  #: a silent supervisor is lost after this
    #: max_bytes of one output, max_count of one cell's; "none" for no limit
    outputs: dict[str, int | None] = Field(default_factory=dict)

    @field_validator("outputs", mode="before")
    @classmethod
    def _read_caps(cls, value: object) -> dict[str, int | None]:
        return parse_caps(value, fail=_fail)

    @property
    def caps(self) -> OutputCaps:
        """Return how much of its outputs a run keeps where its template does not say."""
        return OutputCaps().with_limits(self.outputs)

    @property
    def lease(self) -> timedelta:
        """Return how long a supervisor may stay silent."""
        return timedelta(seconds=self.lease_seconds)


class KernelsTable(_Table):
    """The `[kernels]` table. Kernels read it themselves: `nbprod.kernels.settings`."""

    #: Modules that a warm kernel has imported already; none given: of the usual, what is installed.
    preload: tuple[str, ...] | None = None
    spares: int = Field(default=2, ge=0)  #: kernels forked ahead of need, at most
    spare_memory: Annotated[str, AfterValidator(_size)] = "1GB"  #: of all spares together
    idle: Annotated[str, AfterValidator(_duration)] = "10min"  #: then a zygote ends


class MlflowTable(_Table):
    """The `[mlflow]` table."""

    tracking_uri: str | None = None  #: of the server that `models:/name@alias` refers to


class ModelTable(_Table):
    """One `[models.NAME]` table. Its gates are validated by the gates room."""

    description: str = ""
    gates: tuple[dict[str, Any], ...] = ()
    trusted: tuple[str, ...] = ()  #: types that skops files of this model may hold


class Settings(_Table):
    """The whole file."""

    workspace: WorkspaceTable
    runs: RunsTable = RunsTable()
    kernels: KernelsTable = KernelsTable()
    mlflow: MlflowTable = MlflowTable()
    models: Mapping[str, ModelTable] = Field(default_factory=dict)


def read_settings(path: Path) -> Settings:
    """Read and validate `path`.

    Raises:
        SettingsError: naming the file, the line and the nearest known key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise SettingsError(path, f"It is not UTF-8: byte {error.start} cannot be read.") from error
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else None
        raise SettingsError(path, f"It is not TOML: {error}.", line) from error
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        problem = error.errors()[0]
        where = tuple(str(part) for part in problem["loc"])
        raise SettingsError(path, _sentence(where, problem), _line_of(where, text)) from error


def _fail(_: tuple[str, ...], problem: str) -> NoReturn:
    raise ValueError(problem.removesuffix("."))


def _sentence(where: tuple[str, ...], problem: Mapping[str, Any]) -> str:
    name = ".".join(where)
    if problem["type"] != "extra_forbidden":
        return f"{name}: {problem['msg']}."
    known = _keys(where[:-1])
    near = difflib.get_close_matches(where[-1], known, n=1)
    suggestion = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}."
    return f"There is no setting {name!r}; {suggestion}"


def _keys(parents: tuple[str, ...]) -> list[str]:
    match parents:
        case ():
            table: type[_Table] = Settings
        case ("models", _):
            table = ModelTable
        case (name, *_):
            annotation = Settings.model_fields[name].annotation
            assert isinstance(annotation, type)
            table = annotation
    return sorted(table.model_fields)


def _line_of(where: tuple[str, ...], text: str) -> int | None:
    """Find the line a key stands in: the last part of `where` that the text mentions."""
    lines = text.splitlines()
    for key in reversed(where):
        pattern = re.compile(rf"(^|[\[.\s\"']){re.escape(key)}([\].\s\"'=]|$)")
        for number, line in enumerate(lines, start=1):
            if pattern.search(line.split("#")[0]):
                return number
    return None
