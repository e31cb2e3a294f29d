import pandas as pd
import pytest

from nbprod.reports.markup import clean


def rows(table: str) -> list[str]:
    """Return each row as its cells, those aligned as numbers in brackets."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(clean(table), "html.parser")
    return [
        " ".join(
            f"[{cell.get_text()}]" if "figure" in cell.get("class", []) else cell.get_text() or "-"
            for cell in row.find_all(["th", "td"])
        )
        for row in soup.find_all("tr")
    ]


def test_numbers_stand_right_and_words_left() -> None:
    frame = pd.DataFrame(
        {"word": ["a", "b"], "share": [0.5, None], "rows": [1200, 3], "mixed": ["1", "x"]}
    )

    assert rows(frame.to_html()) == [
        "- word [share] [rows] mixed",
        "0 a [0.5] [1200] 1",
        "1 b [NaN] [3] x",
    ]


def test_the_index_s_name_stands_beside_the_columns_names() -> None:
    frame = pd.DataFrame({"rows": [3]}, index=pd.Index(["plant"], name="class"))

    assert rows(frame.to_html()) == ["class [rows]", "plant [3]"]


def test_a_frame_without_its_index_is_aligned_too() -> None:
    frame = pd.DataFrame({"percent": ["12.5 %", "-3 %"], "name": ["a", "b"]})

    assert rows(frame.to_html(index=False)) == ["[percent] name", "[12.5 %] a", "[-3 %] b"]


def test_tables_with_merged_cells_keep_their_form() -> None:
    frame = pd.DataFrame({("a", "x"): [1], ("a", "y"): [2]})

    assert "figure" not in clean(frame.to_html())


@pytest.mark.parametrize(
    "markup", ["<table></table>", "<table><tr></tr><tr><td>1</td></tr></table>"]
)
def test_odd_tables_pass(markup: str) -> None:
    assert clean(markup).startswith("<table>")
