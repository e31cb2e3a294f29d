"""What is too much for a notebook goes into files, whole; refreshes are merged on the way."""

import json
from pathlib import Path
from typing import Any

import pytest

from nbprod.core.events import Event, EventType
from nbprod.core.outputs import OutputCaps
from nbprod.notebook.rendering import Rendering
from nbprod.runners.outputs import HOLD, Outputs
from nbprod.runners.overflow import Overflow
from tests.runners.conftest import notebook


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Shown:
    """One cell's outputs, as they reach the journal and as the notebook shows them."""

    def __init__(
        self, folder: Path, *, max_bytes: int | None = None, max_count: int | None = None
    ) -> None:
        self.clock = Clock()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.folder = folder / "outputs"
        self.outputs = Outputs(
            lambda kind, **fields: self.events.append((kind.value, fields)),
            caps=OutputCaps(max_bytes=max_bytes, max_count=max_count),
            overflow=Overflow(self.folder),
            clock=self.clock,
        )

    def print(self, *texts: str, name: str = "stdout") -> None:
        for text in texts:
            self.outputs.add(0, {"output_type": "stream", "name": name, "text": text})

    def display(self, display_id: str | None = None, **data: Any) -> None:
        bundle = {mime.replace("_", "/"): payload for mime, payload in data.items()}
        output = {"output_type": "display_data", "data": bundle, "metadata": {}}
        self.outputs.add(0, output, display_id)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events]

    def rendered(self) -> list[str]:
        rendering = Rendering(notebook("x"))
        started = ("cell_started", {"cell": 0})
        for kind, fields in (started, *self.events):
            rendering.apply(Event(type=EventType(kind), t=1, fields={"cell": 0} | fields))
        return [
            output.get("text") or output.get("data", {}).get("text/plain") or output["evalue"]
            for output in rendering.notebook().cells[-1].outputs
        ]


def test_a_stream_is_cut_where_it_exceeds_the_cap_and_its_file_is_whole(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=25)

    shown.print("first line\n", "second line\n", "third line\n", "last line\n")
    shown.outputs.finish()

    whole = "first line\nsecond line\nthird line\nlast line\n"
    assert (shown.folder / "cell-1-stdout.txt").read_text() == whole
    assert shown.rendered() == [
        "first line\nsecond line\nth",
        "Cut: stdout, 25 B of 44 B are above; the whole is in outputs/cell-1-stdout.txt. "
        f"It ends with:\n{whole}",
    ]


def test_a_crash_leaves_word_that_an_output_was_cut(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=5)

    shown.print("123456789")

    assert shown.kinds() == ["output", "output_cut"]


def test_bytes_are_counted_and_no_character_is_halved(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=5)

    shown.print("äöü")

    assert shown.rendered()[0] == "äö"


def test_a_progress_bar_never_reaches_the_cap(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=100)

    for step in range(1000):
        shown.print(f"\rstep {step} of 999")
    shown.print("\n")
    shown.outputs.finish()

    assert shown.rendered() == ["step 999 of 999\n"]
    assert not shown.folder.exists()


def test_refreshes_are_written_once_in_a_while(tmp_path: Path) -> None:
    shown = Shown(tmp_path)

    shown.print("\r1 %")
    assert shown.outputs.tick() == HOLD
    shown.clock.now += HOLD / 2
    shown.print("\r2 %")
    assert shown.events == []
    shown.clock.now += HOLD
    assert shown.outputs.tick() is None

    text = {"output_type": "stream", "name": "stdout", "text": "\r2 %"}
    assert shown.events == [("output", {"cell": 0, "output": text})]


def test_what_is_held_back_keeps_its_place(tmp_path: Path) -> None:
    shown = Shown(tmp_path)

    shown.print("\r1 %")
    shown.print("warning\n", name="stderr")
    shown.print("\r2 %")
    shown.display(text_plain="a table")

    assert shown.rendered() == ["1 %", "warning\n", "2 %", "a table"]


def test_a_displays_updates_are_written_once_in_a_while(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    shown.display("d", text_plain="0")

    for step in range(1, 100):
        shown.outputs.update(0, "d", {"data": {"text/plain": str(step)}, "metadata": {}})
    shown.outputs.finish()

    assert shown.kinds() == ["output", "output_updated"]
    assert shown.rendered() == ["99"]


def test_of_a_display_the_largest_formats_go_into_files(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=30)

    shown.display(text_html="<p>" + "x" * 100, text_plain="a table")

    assert shown.rendered() == [
        "a table",
        "Cut: text/html, 103 B; the whole is in outputs/cell-1-1.html.",
    ]
    assert (shown.folder / "cell-1-1.html").read_text() == "<p>" + "x" * 100


def test_a_picture_is_kept_as_a_picture(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=3)

    shown.display(image_png="iVBORw0KGgo=")

    assert (shown.folder / "cell-1-1.png").read_bytes() == b"\x89PNG\r\n\x1a\n"
    assert shown.rendered() == ["Cut: image/png, 12 B; the whole is in outputs/cell-1-1.png."]


def test_a_display_that_grows_too_large_keeps_one_file(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=5)
    shown.display("d", text_plain="small")

    for size in (10, 20):
        data = {"text/plain": "y" * size}
        shown.outputs.update(0, "d", {"data": data, "metadata": {}})
    shown.outputs.finish()

    assert shown.rendered() == [
        "yyyyy",
        "Cut: text/plain, 5 B of 20 B are above; the whole is in outputs/cell-1-1.txt.",
    ]
    assert (shown.folder / "cell-1-1.txt").read_text() == "y" * 20


def test_two_formats_of_a_display_keep_a_file_each(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=5)
    formats = {"application/x.a+json": {"a": "x" * 20}, "application/x.b+json": {"b": "y" * 10}}

    shown.display("d", **formats)
    shown.outputs.update(0, "d", {"data": formats, "metadata": {}})
    shown.outputs.finish()

    files = {path.name: json.loads(path.read_text()) for path in shown.folder.iterdir()}
    assert files == {"cell-1-1.json": {"a": "x" * 20}, "cell-1-2.json": {"b": "y" * 10}}
    told = [(cut["what"], cut["file"]) for kind, cut in shown.events if kind == "output_cut"]
    assert told == 2 * [
        ("application/x.a+json", "outputs/cell-1-1.json"),
        ("application/x.b+json", "outputs/cell-1-2.json"),
    ]


def test_outputs_beyond_the_count_go_into_one_file(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_count=2)

    for number in range(5):
        shown.display(text_plain=str(number))
    shown.outputs.finish()

    assert shown.rendered() == [
        "0",
        "1",
        "Cut: 3 outputs more than the 2 above are in outputs/cell-1-more.jsonl.",
    ]
    lines = (shown.folder / "cell-1-more.jsonl").read_text().splitlines()
    assert [json.loads(line)["data"]["text/plain"] for line in lines] == ["2", "3", "4"]


def test_an_error_is_shown_beyond_the_count_and_cut_beyond_the_size(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=40, max_count=1)
    shown.print("one\n")
    shown.display(text_plain="two")
    error = {"output_type": "error", "ename": "E", "evalue": "v" * 50, "traceback": ["t" * 60]}

    shown.outputs.add(0, error)

    assert shown.kinds() == ["output", "output_cut", "output", "output_cut"]
    assert shown.events[2][1]["output"] == error | {
        "evalue": "v" * 10,
        "traceback": ["t" * 30],
    }
    assert (shown.folder / "cell-1-1.txt").read_text() == f"E: {'v' * 50}\n{'t' * 60}"


def test_a_cleared_cell_begins_anew(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=5)
    shown.print("123456789")

    shown.outputs.clear(0)
    shown.print("abc")

    assert shown.rendered() == ["abc"]


def test_a_cleared_cell_says_no_more_of_what_was_cut_before(tmp_path: Path) -> None:
    shown = Shown(tmp_path, max_bytes=5)
    shown.print("123456789", "more")

    shown.outputs.clear(0)
    shown.print("abc")
    shown.outputs.finish()

    assert shown.rendered() == ["abc"]


def test_without_a_place_for_the_whole_nothing_is_cut() -> None:
    seen: list[dict[str, Any]] = []
    outputs = Outputs(
        lambda kind, **fields: seen.append(fields), caps=OutputCaps(max_bytes=3), overflow=None
    )

    outputs.add(0, {"output_type": "stream", "name": "stdout", "text": "123456"})

    assert [fields["output"]["text"] for fields in seen] == ["123456"]


@pytest.mark.parametrize("text", ["a" * 50, "b\n" * 30])
def test_a_cap_that_is_just_met_cuts_nothing(tmp_path: Path, text: str) -> None:
    shown = Shown(tmp_path, max_bytes=len(text))

    shown.print(text)
    shown.outputs.finish()

    assert shown.rendered() == [text]
