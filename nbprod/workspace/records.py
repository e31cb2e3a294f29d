"""A run as users get it back: its values, its scraps, its files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, overload

from nbprod.core.events import Event, EventType, parse_event
from nbprod.core.json import JSON
from nbprod.core.runner import JOURNAL_FILE, LOG_FILE, NOTEBOOK_FILE
from nbprod.core.runs import CellError, Lineage, Run, RunStatus
from nbprod.core.scraps import Scrap
from nbprod.core.usage import Usage

if TYPE_CHECKING:
    import pandas as pd

    from nbprod.store.store import Store


class ScrapValues(Mapping[str, object]):
    """Scraps by name, each loaded when asked for: numbers, lists, frames, arrays, paths."""

    def __init__(self, scraps: Mapping[str, Scrap], folder: Path) -> None:
        self._scraps = scraps
        self._folder = folder

    def __getitem__(self, name: str) -> object:
        from nbprod.notebook.scraps import load_value

        return load_value(self._scraps[name], self._folder)

    def __iter__(self) -> Iterator[str]:
        return iter(self._scraps)

    def __len__(self) -> int:
        return len(self._scraps)

    def __repr__(self) -> str:
        return f"<scraps: {', '.join(self) or 'none'}>"


class StoredScraps:
    """The scraps of a list of runs: one query, when the first of them is asked for."""

    def __init__(self, store: "Store", ids: Sequence[str]) -> None:
        self._store = store
        self._ids = ids
        self._found: Mapping[str, Mapping[str, Scrap]] | None = None

    def of(self, run: str) -> Mapping[str, Scrap]:
        """Return the scraps of one of the runs by name."""
        if self._found is None:
            self._found = self._store.runs.scraps(self._ids)
        return self._found.get(run, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRecord:
    """What the journal says of one cell that ran."""

    cell: int  #: its place among the template's cells, from 0
    status: str  #: "ok", "error", "skipped", "interrupted"; "running" of one that has not ended
    seconds: float | None = None
    usage: Usage | None = None  #: None where nothing was measured


class RunRecord:
    """One run: `status`, `scraps["macro_f1"]`, `notebook`, `log`."""

    def __init__(self, run: Run, scraps: "StoredScraps", root: Path) -> None:
        self.run = run  #: the stored value
        self._root = root
        self._stored = scraps

    @property
    def _scraps(self) -> Mapping[str, Scrap]:
        return self._stored.of(self.id)

    @property
    def id(self) -> str:
        """Return the run's id."""
        return self.run.id

    @property
    def template(self) -> str:
        """Return the name of the template."""
        return self.run.template

    @property
    def status(self) -> RunStatus:
        """Return where the run stands."""
        return self.run.status

    @property
    def reason(self) -> str:
        """Return the sentence that says why it ended as it did."""
        return self.run.reason

    @property
    def error(self) -> CellError | None:
        """Return what went wrong, if anything did."""
        return self.run.error

    @property
    def parameters(self) -> Mapping[str, JSON]:
        """Return the bound parameters."""
        return self.run.parameters

    @property
    def lineage(self) -> Lineage:
        """Return where the result came from."""
        return self.run.lineage

    @property
    def seconds(self) -> float | None:
        """Return how long it ran."""
        return self.run.seconds

    @property
    def started_at(self) -> datetime | None:
        """Return when it started, in UTC."""
        return self.run.started_at

    @property
    def folder(self) -> Path:
        """Return the folder of its latest attempt."""
        return self._root / self.run.folder

    @property
    def notebook(self) -> Path:
        """Return the path of the executed notebook."""
        return self.folder / NOTEBOOK_FILE

    @property
    def log(self) -> Path:
        """Return the path of what the attempt's process wrote."""
        return self.folder / LOG_FILE

    @property
    def scraps(self) -> ScrapValues:
        """Return the scraps by name, loaded when asked for."""
        return ScrapValues(self._scraps, self.folder)

    def scrap(self, name: str) -> Scrap:
        """Return a scrap with its type, encoder and sidecar; KeyError when there is none."""
        return self._scraps[name]

    @property
    def usage(self) -> Usage | None:
        """Return what it used: CPU time, memory, GPU memory. None where nothing was measured."""
        return self.run.usage

    def cells(self) -> list[CellRecord]:
        """Return the cells that ran, with their times and what they used, from the journal."""
        return list(_cells(self.folder / JOURNAL_FILE))

    def numbers(self) -> dict[str, float]:
        """Return the scraps that are numbers."""
        return {
            name: float(scrap.value)
            for name, scrap in self._scraps.items()
            if isinstance(scrap.value, int | float) and not isinstance(scrap.value, bool)
        }

    def __repr__(self) -> str:
        return f"<run {self.id}: {self.template} {self.status}>"

    def _repr_html_(self) -> str:
        import html

        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{value:.4g}</td></tr>"
            for name, value in self.numbers().items()
        )
        head = html.escape(f"{self.template} · {self.status} · {self.id}")
        return f"<table><caption>{head}</caption>{rows}</table>"


class RunList(Sequence[RunRecord]):
    """Runs in order, and the same as a pandas frame: `ws.runs(...).frame()`."""

    def __init__(
        self, records: Sequence[RunRecord], make_frame: "Callable[[Sequence[str]], pd.DataFrame]"
    ) -> None:
        self._records = list(records)
        self._make_frame = make_frame

    @overload
    def __getitem__(self, index: int) -> RunRecord: ...
    @overload
    def __getitem__(self, index: slice) -> "RunList": ...
    def __getitem__(self, index: int | slice) -> "RunRecord | RunList":
        if isinstance(index, slice):
            return RunList(self._records[index], self._make_frame)
        return self._records[index]

    def __len__(self) -> int:
        return len(self._records)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._records)) or "<no runs>"

    def frame(self) -> "pd.DataFrame":
        """Return one row a run, in this order, with columns for parameters and scraps."""
        ids = [record.id for record in self._records]
        frame = self._make_frame(ids)
        place = {run: index for index, run in enumerate(ids)}
        return frame.sort_values("id", key=lambda column: column.map(place), ignore_index=True)


def _cells(journal: Path) -> Iterator[CellRecord]:
    begun: Event | None = None
    for event in _cell_events(journal):
        cell = event.fields.get("cell")
        if not isinstance(cell, int):
            continue
        if event.type is EventType.CELL_STARTED:
            begun = event
            continue
        yield CellRecord(
            cell=cell,
            status=str(event.fields.get("status")),
            seconds=None if begun is None else event.t - begun.t,
            usage=Usage.from_json(event.fields.get("usage")),
        )
        begun = None
    if begun is not None:
        yield CellRecord(cell=int(str(begun.fields["cell"])), status="running")


def _cell_events(journal: Path) -> Iterator[Event]:
    # A journal may hold gigabytes of outputs: only lines that begin as such an event are parsed.
    with suppress(FileNotFoundError), journal.open("rb") as file:
        for line in file:
            if b'"type": "cell_' not in line[:100]:
                continue
            event = parse_event(line.decode("utf-8", "replace"))
            if event is not None and event.type in (
                EventType.CELL_STARTED,
                EventType.CELL_FINISHED,
            ):
                yield event


def load_records(store: "Store", runs: Sequence[Run], *, root: Path) -> list[RunRecord]:
    """Return the records of `runs`, whose folders are below `root`."""
    scraps = StoredScraps(store, [run.id for run in runs])
    return [RunRecord(run, scraps, root) for run in runs]
