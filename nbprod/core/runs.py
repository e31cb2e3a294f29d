"""What a run is, and what it came from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from nbprod.core.json import JSON
from nbprod.core.usage import Usage


class RunStatus(StrEnum):
    """Where a run stands. Only the store moves it, by conditional update with the fence."""

    QUEUED = "queued"  #: accepted; nobody holds it
    RUNNING = "running"  #: one supervisor holds its lease
    SUCCEEDED = "succeeded"  #: every cell finished, or `nbprod.stop` ended it; the contract holds
    FAILED = "failed"  #: a cell raised, a process died, or a required scrap is missing
    CANCELLED = "cancelled"  #: someone stopped it
    LOST = "lost"  #: its supervisor vanished; what it did is in its journal

    @property
    def is_final(self) -> bool:
        """Say whether the run can no longer change."""
        return self not in (RunStatus.QUEUED, RunStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellError:
    """What went wrong in a cell, or in the process that ran it."""

    type: str  #: exception class name, e.g. "ValueError"; "KernelDied", "Killed" for processes
    message: str  #: str() of the exception, or the sentence that explains
    cell: int | None = None  #: index of the cell in the executed notebook, from 0
    traceback: str = ""  #: without terminal colours


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a run's result came from: enough to do it again."""

    template_digest: str  #: sha256 of the notebook file before parameters went in
    data_fingerprints: Mapping[str, str] = field(default_factory=dict)  #: parameter -> sha256
    models: Mapping[str, str] = field(default_factory=dict)  #: parameter -> digest of the model
    git_commit: str | None = None  #: of the workspace; None outside git
    git_dirty: bool | None = None  #: whether tracked files differed from that commit
    environment_digest: str = ""  #: sha256 of the sorted list of installed packages
    python: str = ""  #: e.g. "3.11.7"
    host: str = ""
    platform: str = ""  #: e.g. "Linux-6.1-x86_64"
    devices: tuple[str, ...] = ()  #: leased GPUs as "NVIDIA H100 (GPU-uuid)"; empty on CPU
    user: str = ""
    nbprod: str = ""  #: version that ran it


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of one template with one set of parameters."""

    id: str  #: sortable: creation time, then randomness
    template: str  #: name the template was found under
    kind: str = ""  #: front matter's kind; "" where it has none
    parameters: Mapping[str, JSON] = field(default_factory=dict)  #: after defaults were filled in
    lineage: Lineage
    status: RunStatus = RunStatus.QUEUED
    reason: str = ""  #: a sentence: why it ended as it did
    error: CellError | None = None
    fence: int = 0  #: number of the attempt that may write; 0 before the first
    created_at: datetime | None = None  #: UTC, the database's clock
    started_at: datetime | None = None
    finished_at: datetime | None = None  #: None until the status is final
    folder: str = ""  #: of the latest attempt: journal, log, scraps, executed notebook
    notebook_digest: str = ""  #: sha256 of the executed notebook once it is final
    job_run: str | None = None  #: the job run it belongs to
    step: str | None = None  #: the step of that job run
    usage: Usage | None = None  #: None until it is final, and where nothing was measured

    @property
    def seconds(self) -> float | None:
        """Return how long it ran, or None while it runs."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()
