"""What papermill shows of a run while it goes on: its progress bar, its log, its files."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from nbprod.core.events import Event, EventType

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: The one that papermill's own engine logs outputs with.
logger = logging.getLogger("papermill")


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """Passes on what cells show, as papermill's own engine does: whole, caps or not."""

    log_output: bool
    stdout: TextIO | None
    stderr: TextIO | None

    @property
    def is_wanted(self) -> bool:
        """Say whether anybody listens."""
        return self.log_output or self.stdout is not None or self.stderr is not None

    def hear(self, output: Mapping[str, Any]) -> None:
        """Pass on an output."""
        text, name = output.get("text"), output.get("name")
        if output["output_type"] != "stream":
            text = (output.get("data") or {}).get("text/plain")
        if not isinstance(text, str):
            return
        file = {"stdout": self.stdout, "stderr": self.stderr}.get(str(name))
        if file is not None:
            file.write(text)
            file.flush()
        if self.log_output:
            logger.log(logging.WARNING if name == "stderr" else logging.INFO, "%s", text)


@contextmanager
def shown_progress(
    notebook: "NotebookNode", *, wanted: bool | Mapping[str, Any]
) -> Iterator[Callable[[Event], None]]:
    """Show papermill's progress bar, moved by each event, where it is wanted."""
    if not wanted:
        yield lambda event: None
        return
    from papermill.engines import NotebookExecutionManager

    # Without a path its two saves per cell do nothing.
    bar = NotebookExecutionManager(notebook, output_path=None, progress_bar=wanted)

    def show(event: Event) -> None:
        cell: Any = event.fields.get("cell")
        if event.type is EventType.CELL_STARTED:
            words = bar.get_cell_description(notebook.cells[cell])
            if words is not None:
                bar.pbar.set_description(f"Executing {words}")
        elif event.type is EventType.CELL_FINISHED:
            bar.pbar.n = cell + 1  # cells of text count too, and have no events
            bar.pbar.refresh()
        elif event.type is EventType.RUN_FINISHED and event.fields["status"] == "succeeded":
            bar.complete_pbar()

    try:
        yield show
    finally:
        bar.cleanup_pbar()
