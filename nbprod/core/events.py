"""The journal's events, one JSON object a line in `events.jsonl`.

Every event carries `v` (version of this format), `t` (seconds since 1970, UTC) and `type`.
A reader ignores types it does not know, so that adding one needs no new version.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum

from nbprod.core.json import JSON

VERSION = 1


class EventType(StrEnum):
    """What happened. The fields of each type are its part of the contract."""

    RUN_STARTED = "run_started"  #: cells, pid, pid_started, kernel, parameters, injected
    CELL_STARTED = "cell_started"  #: cell
    OUTPUT = "output"  #: cell, output (nbformat), display_id?
    OUTPUT_CLEARED = "output_cleared"  #: cell; scraps stay
    OUTPUT_UPDATED = "output_updated"  #: display_id, data, metadata
    OUTPUT_CUT = "output_cut"
    #: cell, what, file, kept, whole, unit, tail?; of one cell and `what` the last one counts
    PROGRESS = "progress"  #: cell, progress ({step, steps, epoch, loss, ...}); never rendered
    SCRAP = "scrap"  #: cell, name, output (nbformat display_data)
    CELL_FINISHED = "cell_finished"
    #: cell, status ("ok" | "error" | "skipped" | "interrupted"), execution_count, usage? (Usage)
    STOPPED = "stopped"  #: cell, reason; `nbprod.stop` was called
    METADATA = "metadata"  #: metadata to merge into the notebook's: language_info, widgets
    RUN_FINISHED = "run_finished"  #: status, reason, error?, stopped?, usage? (Usage)
    #: What follows tells of the attempt and not of the run, which has its result.
    NOTEBOOK_WRITTEN = "notebook_written"  #: digest, size_bytes; the executed notebook is final
    KERNEL_ENDED = "kernel_ended"
    #: seconds, how ("graceful" | "terminated" | "killed" | "died"), code?; beside the run's time


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the journal."""

    type: EventType
    t: float  #: seconds since 1970, UTC
    fields: dict[str, JSON] = field(default_factory=dict)

    def line(self) -> str:
        """Return the event as a line of JSON, newline included."""
        head: dict[str, JSON] = {"v": VERSION, "t": self.t, "type": self.type.value}
        return json.dumps(head | self.fields, ensure_ascii=False) + "\n"


def parse_event(line: str) -> Event | None:
    """Read a line back; None for a torn last line or a type of a later version."""
    try:
        fields = json.loads(line)
        kind = EventType(fields.pop("type"))
        t = float(fields.pop("t"))
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    fields.pop("v", None)
    return Event(type=kind, t=t, fields=fields)
