"""The border between what asks for an attempt and what executes it."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from nbprod.core.events import Event
from nbprod.core.json import JSON
from nbprod.core.outputs import OutputCaps
from nbprod.core.runs import CellError, RunStatus
from nbprod.core.scraps import ScrapDeclaration
from nbprod.core.usage import Usage

#: Names of the files in an attempt's folder.
REQUEST_FILE = "request.json"
JOURNAL_FILE = "events.jsonl"
LOG_FILE = "log.txt"
NOTEBOOK_FILE = "executed.ipynb"
SCRAPS_FOLDER = "scraps"
OUTPUTS_FOLDER = "outputs"  #: outputs that were cut, whole


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRequest:
    """All that an attempt needs. It serialises to JSON: the attempt may be on another machine."""

    run: str
    template: str
    fence: int
    folder: Path  #: the attempt's own: journal, log, scraps, executed notebook
    notebook: Path  #: the template as .ipynb, a snapshot inside `folder`; never the source
    parameters: Mapping[str, JSON]  #: bound; JSON form
    injected: str  #: source of the injected-parameters cell, with constructors; "" for none
    cwd: Path  #: the kernel starts here
    workspace: Path  #: what `nbprod.path` resolves against
    kernel: str = ""  #: kernelspec name; "" takes the notebook's own, else python3
    environment: Mapping[str, str] = field(default_factory=dict)  #: added to this process's
    timeout: timedelta | None = None  #: of the whole run
    memory_bytes: int | None = None  #: what the kernel and its children may hold together
    artifacts: str = ""  #: fsspec URL that sidecars go to
    grace: timedelta = timedelta(seconds=5)  #: between an interrupt and the kill
    contract: tuple[ScrapDeclaration, ...] = ()
    #: checked before the run is called succeeded, so that the executed notebook says so too
    caps: OutputCaps = field(default_factory=OutputCaps)

    def to_json(self) -> dict[str, JSON]:
        """Return the request as JSON; durations in seconds, paths as text."""
        return {
            "run": self.run,
            "template": self.template,
            "fence": self.fence,
            "folder": str(self.folder),
            "notebook": str(self.notebook),
            "parameters": dict(self.parameters),
            "injected": self.injected,
            "cwd": str(self.cwd),
            "workspace": str(self.workspace),
            "kernel": self.kernel,
            "environment": dict(self.environment),
            "timeout": None if self.timeout is None else self.timeout.total_seconds(),
            "memory_bytes": self.memory_bytes,
            "artifacts": self.artifacts,
            "grace": self.grace.total_seconds(),
            "contract": [declaration.to_json() for declaration in self.contract],
            "caps": self.caps.to_json(),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "AttemptRequest":
        """Read a request back from what `to_json` returned."""
        timeout = fields["timeout"]
        return cls(
            **{
                **fields,
                "folder": Path(fields["folder"]),
                "notebook": Path(fields["notebook"]),
                "cwd": Path(fields["cwd"]),
                "workspace": Path(fields["workspace"]),
                "timeout": None if timeout is None else timedelta(seconds=timeout),
                "grace": timedelta(seconds=fields["grace"]),
                "contract": tuple(map(ScrapDeclaration.from_json, fields["contract"])),
                "caps": OutputCaps.from_json(fields.get("caps") or {}),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """How an attempt ended, in truth: from its process and journal, not from papermill."""

    status: RunStatus  #: SUCCEEDED, FAILED or CANCELLED
    reason: str  #: a sentence
    error: CellError | None = None
    notebook: Path | None = None  #: executed, or rendered from the journal; read-only
    notebook_digest: str = ""
    stopped: str | None = None  #: the reason given to `nbprod.stop`, which ended it early
    usage: Usage | None = None  #: None where nothing was measured
    #: what is still to be done: wait until every process is gone. None: they are
    rest: Callable[[], None] | None = field(default=None, compare=False, repr=False)


class Runner(Protocol):
    """Executes one notebook. Holds no state between calls and knows nothing of any database."""

    def execute(
        self,
        request: AttemptRequest,
        *,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> AttemptResult:
        """Execute every cell, reporting events as they come; return only when all is reaped.

        Setting `cancel` ends the attempt as cancelled: interrupt first, kill after a grace.
        """
        ...


@runtime_checkable
class SettlingRunner(Runner, Protocol):
    """One that has the result before every process is gone: kernels take their time to end."""

    def settle(
        self,
        request: AttemptRequest,
        *,
        on_event: Callable[[Event], None],
        cancel: threading.Event,
    ) -> AttemptResult:
        """Do as `execute` does, and return when the result is final; its `rest` does the rest."""
        ...
