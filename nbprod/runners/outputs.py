r"""What cells show, on its way to the journal: refreshes are merged, what is too much set aside.

A progress bar's refreshes are held back for a moment, so that of those between two readers' looks
the last is written. An output that exceeds a cap is cut, with OUTPUT_CUT saying what and where the
whole is. Scraps never come this way.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nbprod.core.events import EventType
from nbprod.core.outputs import OutputCaps
from nbprod.notebook.streams import is_refresh, squeeze, write
from nbprod.runners.overflow import Overflow, as_line, head, size_of

#: Seconds that a refresh of a line, or of a display, is held back for the next one.
HOLD = 0.25
#: Characters of a cut stream's end that are shown below what says that it was cut.
TAIL = 2_000

Output = dict[str, Any]


@dataclass(slots=True)
class _Cut:
    """An output that goes into a file."""

    what: str  #: "stdout", "text/html", "outputs", ...
    file: str
    kept: int
    whole: int
    unit: str  #: "bytes" or "outputs"
    tail: str = ""

    def fields(self, shown: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "what": self.what,
            "file": shown,
            "kept": self.kept,
            "whole": self.whole,
            "unit": self.unit,
        }
        return told | ({"tail": self.tail} if self.tail else {})


@dataclass(slots=True)
class _Shown:
    """What one cell has shown since it was cleared last."""

    count: int = 0
    last_stream: str | None = None  #: name of the stream that the last output is
    lines: dict[str, list[str]] = field(default_factory=lambda: defaultdict(lambda: [""]))
    sizes: dict[str, int] = field(default_factory=lambda: defaultdict(int))  #: of whole lines
    cuts: dict[str, _Cut] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    """Text of a stream that waits for what overwrites it."""

    cell: int
    name: str
    text: str
    since: float


class Outputs:
    """Takes outputs as they come; `note(type, **fields)` gets what the journal is to have.

    Without an `overflow` there is no place for what is cut, and so nothing is.
    """

    def __init__(
        self,
        note: Callable[..., None],
        *,
        caps: OutputCaps = OutputCaps(),  # noqa: B008 - a frozen value
        overflow: Overflow | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note = note
        self._caps = caps if overflow is not None else OutputCaps(max_bytes=None, max_count=None)
        self._overflow = overflow
        self._clock = clock
        self._shown: dict[int, _Shown] = defaultdict(_Shown)
        self._held: _Held | None = None
        self._updates: dict[str, tuple[float, dict[str, Any]]] = {}
        self._untold: dict[str, tuple[int, _Cut]] = {}  #: files whose numbers grew since
        self._files = 0
        #: of displays whose content went into files, by id and format
        self._numbers: dict[tuple[str, str], int] = {}

    def tick(self) -> float | None:
        """Pass on what was held back for long enough; return in how many seconds more will be."""
        now = self._clock()
        if self._held is not None and now - self._held.since >= HOLD:
            self._release()
        due = [name for name, (since, _) in self._updates.items() if now - since >= HOLD]
        for name in due:
            self._note(EventType.OUTPUT_UPDATED, **self._updates.pop(name)[1])
        waiting = [since for since, _ in self._updates.values()]
        if self._held is not None:
            waiting.append(self._held.since)
        return None if not waiting else max(0.0, min(waiting) + HOLD - now)

    def flush(self) -> None:
        """Pass on all that is held back."""
        self._release()
        updates, self._updates = self._updates, {}
        for _, fields in updates.values():
            self._note(EventType.OUTPUT_UPDATED, **fields)

    def add(self, cell: int, output: Output, display_id: str | None = None) -> None:
        """Take an output of a cell."""
        if output["output_type"] == "stream":
            self._hold(cell, str(output["name"]), str(output["text"]))
            return
        self.flush()
        shown = self._shown[cell]
        shown.last_stream = None
        if output["output_type"] != "error" and self._is_one_too_many(cell, shown, output):
            return
        output, cuts = self._fit(cell, output, display_id)
        fields = {} if display_id is None else {"display_id": display_id}
        if fields or output.get("data") != {}:
            self._note(EventType.OUTPUT, cell=cell, output=output, **fields)
        for cut in cuts:
            self._tell(cell, cut)

    def update(self, cell: int, display_id: str | None, content: dict[str, Any]) -> None:
        """Take a display's new content; of several in a moment the last is passed on."""
        self._release()
        output = {"output_type": "display_data", **content}
        output, cuts = self._fit(cell, output, display_id)
        fields = {"display_id": display_id, "data": output["data"], "metadata": output["metadata"]}
        for cut in cuts:
            self._tell(cell, cut)
        since, _ = self._updates.get(str(display_id), (self._clock(), {}))
        self._updates[str(display_id)] = (since, fields)

    def clear(self, cell: int) -> None:
        """Forget what the cell has shown."""
        self.flush()
        self._shown.pop(cell, None)
        self._untold = {file: told for file, told in self._untold.items() if told[0] != cell}
        self._note(EventType.OUTPUT_CLEARED, cell=cell)

    def finish(self) -> None:
        """Pass on what is held back, and say how much was cut, now that a cell has ended."""
        self.flush()
        for cell, cut in list(self._untold.values()):
            self._tell(cell, cut)

    def _hold(self, cell: int, name: str, text: str) -> None:
        held = self._held
        if held is not None and (held.cell, held.name) != (cell, name):
            self._release()
            held = None
        if held is None:
            if not is_refresh(text):
                self._stream(cell, name, text)
                return
            held = self._held = _Held(cell, name, "", self._clock())
        held.text = squeeze(held.text + text)
        if not is_refresh(held.text):
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._stream(held.cell, held.name, held.text)

    def _stream(self, cell: int, name: str, text: str) -> None:
        shown, output = self._shown[cell], {"output_type": "stream", "name": name, "text": text}
        if name in shown.cuts:
            self._append(cell, shown.cuts[name], text)
            return
        if shown.last_stream != name and self._is_one_too_many(cell, shown, output):
            return
        shown.last_stream = name
        text = squeeze(text)
        if not self._fits(shown, name, text):
            text = self._cut_stream(cell, shown, name, text)
        if text:
            self._note(EventType.OUTPUT, cell=cell, output={**output, "text": text})
        if name in shown.cuts:
            self._tell(cell, shown.cuts[name])

    def _fits(self, shown: _Shown, name: str, text: str) -> bool:
        if self._caps.max_bytes is None:
            return True
        lines = shown.lines[name]
        before = len(lines)
        write(lines, text)
        shown.sizes[name] += sum(map(size_of, lines[before - 1 : -1]))
        return shown.sizes[name] + size_of(lines[-1]) <= self._caps.max_bytes

    def _cut_stream(self, cell: int, shown: _Shown, name: str, text: str) -> str:
        """Begin the file with all that the stream has shown, and return what of `text` fits."""
        assert self._overflow is not None
        assert self._caps.max_bytes is not None
        whole = "".join(shown.lines.pop(name))
        size = size_of(whole)
        room = max(0, self._caps.max_bytes - (size - size_of(text)))
        file = self._overflow.start(f"cell-{cell + 1}-{name}.txt", whole)
        kept = min(size, self._caps.max_bytes)
        tail = whole[-TAIL:]
        shown.cuts[name] = _Cut(name, file, kept, size, "bytes", tail)
        return head(text, room)

    def _append(self, cell: int, cut: _Cut, text: str) -> None:
        assert self._overflow is not None
        self._overflow.append(cut.file, text)
        cut.whole += size_of(text) if cut.unit == "bytes" else 1
        if cut.unit == "bytes":
            cut.tail = (cut.tail + text)[-TAIL:]
        self._untold[cut.file] = (cell, cut)

    def _is_one_too_many(self, cell: int, shown: _Shown, output: Output) -> bool:
        cut = shown.cuts.get("outputs")
        if cut is None:
            shown.count += 1
            if self._caps.max_count is None or shown.count <= self._caps.max_count:
                return False
            assert self._overflow is not None
            file = self._overflow.start(f"cell-{cell + 1}-more.jsonl")
            kept = self._caps.max_count
            cut = shown.cuts["outputs"] = _Cut("outputs", file, kept, kept, "outputs")
            self._append(cell, cut, as_line(output))
            self._tell(cell, cut)
            return True
        self._append(cell, cut, as_line(output))
        return True

    def _fit(self, cell: int, output: Output, display_id: str | None) -> tuple[Output, list[_Cut]]:
        """Return the output within the cap, and what of it went into files."""
        limit = self._caps.max_bytes
        if limit is None:
            return output, []
        if output["output_type"] == "error":
            return self._fit_error(cell, output, limit)
        data, cuts = dict(output["data"]), []
        sizes = {mime: size_of(payload) for mime, payload in data.items()}
        for mime in sorted(sizes, key=lambda mime: sizes[mime], reverse=True):
            if (excess := sum(sizes.values()) - limit) <= 0:
                break
            payload, kept = data.pop(mime), 0
            if mime == "text/plain":
                data[mime] = head(str(payload), max(0, sizes[mime] - excess))
                kept = size_of(data[mime])
            cuts.append(self._set_aside(cell, mime, payload, kept, display_id))
            sizes[mime] = kept
        return {**output, "data": data}, cuts

    def _fit_error(self, cell: int, output: Output, limit: int) -> tuple[Output, list[_Cut]]:
        trace = "\n".join(output["traceback"])
        if size_of(trace) + size_of(output["evalue"]) <= limit:
            return output, []
        whole = f"{output['ename']}: {output['evalue']}\n{trace}"
        cut = self._set_aside(cell, "error", whole, limit, None)
        evalue, trace = head(output["evalue"], limit // 4), head(trace, limit - limit // 4)
        return {**output, "evalue": evalue, "traceback": [trace]}, [cut]

    def _set_aside(
        self, cell: int, what: str, payload: Any, kept: int, display_id: str | None
    ) -> _Cut:
        """Write a payload to a file; a display's takes the place of its former one."""
        assert self._overflow is not None
        number = self._files = self._files + 1
        if display_id is not None:
            number = self._numbers.setdefault((display_id, what), number)
        file = self._overflow.keep(f"cell-{cell + 1}-{number}", what, payload)
        return _Cut(what, file, kept, size_of(payload), "bytes")

    def _tell(self, cell: int, cut: _Cut) -> None:
        assert self._overflow is not None
        self._untold.pop(cut.file, None)
        self._note(EventType.OUTPUT_CUT, cell=cell, **cut.fields(self._overflow.shown(cut.file)))
