from typing import Any

import nbformat
import pytest

from nbprod.reports.body import render_body
from nbprod.reports.public import public, settled


def notebook(*cells: Any) -> Any:
    return nbformat.v4.new_notebook(cells=list(cells))


def code(*outputs: Any, status: str = "ok", tags: tuple[str, ...] = ()) -> Any:
    metadata = {"nbprod": {"status": status}, "tags": list(tags)}
    return nbformat.v4.new_code_cell("x", outputs=list(outputs), metadata=metadata)


def prose(text: str) -> Any:
    return nbformat.v4.new_markdown_cell(text)


def shown(data: dict[str, Any]) -> Any:
    return nbformat.v4.new_output("display_data", data)


def printed(text: str) -> Any:
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def rendered(*cells: Any) -> str:
    return render_body(public(notebook(*cells)).notebook, code="hidden", demote=1)


@pytest.mark.parametrize("tag", ["hide-report", "remove-cell", "remove-output"])
def test_a_tag_keeps_a_cell_out(tag: str) -> None:
    assert rendered(code(printed("secret"), tags=(tag,))) == ""


def test_prose_below_an_interrupted_cell_is_told_not_shown() -> None:
    found = public(
        notebook(
            prose("## Before"),
            code(printed("done")),
            code(status="interrupted"),
            prose("## After"),
            code(status="not_run"),
        )
    )

    assert [cell.source for cell in found.notebook.cells] == ["## Before", "x"]
    assert (found.not_reached, found.cells_not_run) == (("After",), 1)


def test_cells_skipped_on_purpose_do_not_end_the_report() -> None:
    found = public(
        notebook(code(printed("one")), code(status="skipped"), prose("More."), code(printed("two")))
    )

    assert (len(found.notebook.cells), found.cells_not_run) == (3, 0)


def test_a_heading_whose_code_showed_nothing_is_left_out() -> None:
    found = public(
        notebook(
            prose("# Title"), prose("## Setup"), code(), prose("## Result"), code(printed("3"))
        )
    )

    assert found.title == "Title"
    assert [cell.source for cell in found.notebook.cells] == ["## Result", "x"]


def test_a_picture_is_preferred_to_markup_that_needs_a_script() -> None:
    picture = {"text/html": "<div><script>draw()</script></div>", "image/png": "aGk="}

    assert 'src="data:image/png;base64,aGk="' in rendered(code(shown(picture)))


def test_an_interactive_figure_leaves_a_note() -> None:
    figure = {
        "application/vnd.plotly.v1+json": {"data": []},
        "text/html": '<div id="p"></div><script src="https://cdn.plot.ly/plotly.js"></script>',
    }

    body = rendered(code(shown(figure)))

    assert "An interactive figure stands here in the notebook; this page is still." in body
    assert "plotly" not in body


HOSTILE = {
    "a script": "<b>ok</b><script>alert(1)</script>",
    "a handler": '<b onclick="alert(1)">ok</b>',
    "a script address": '<a href="javascript:alert(1)"><b>ok</b></a>',
    "a remote picture": '<b>ok</b><img src="https://evil.example/x.png">',
    "a frame": '<b>ok</b><iframe src="https://evil.example"></iframe>',
    "a style that fetches": "<b>ok</b><style>b {background: url(https://evil.example)}</style>",
    "a broken tag": "</div></div></main><b>ok</b><div>",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("where", ["output", "prose"])
def test_markup_cannot_run_fetch_or_break_the_page(kind: str, where: str) -> None:
    markup = HOSTILE[kind]

    body = rendered(code(shown({"text/html": markup})) if where == "output" else prose(markup))

    assert "ok</b>" in body
    for unwanted in ("alert", "evil", "<script", "<iframe", "</main>"):
        assert unwanted not in body
    assert body.count("<div") == body.count("</div>")


def test_links_are_followed_not_fetched_so_they_stay() -> None:
    assert '<a href="https://example.org/">there</a>' in rendered(
        prose("[there](https://example.org/)")
    )


def test_headings_go_below_the_page_s_own() -> None:
    assert "<h3" in rendered(prose("Text\n\n## Two"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("10%\r50%\r100%\ndone\n", "100%\ndone\n"),
        ("50%\r100%\r\ndone", "100%\ndone"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("plain\n", "plain\n"),
    ],
)
def test_progress_bars_settle_as_on_a_terminal(written: str, expected: str) -> None:
    assert settled(written) == expected
