"""Tables as a reader wants them: numbers right, words left, one row of headings."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

NUMBER_CLASS = "figure"

_NUMBER = re.compile(r"[-+−]?[\d,. ]*\d(e[-+]?\d+)?\s*%?|nan|NaN|<NA>|None|-?inf", re.IGNORECASE)  # noqa: RUF001 - a minus sign is meant


def tidy_tables(soup: "BeautifulSoup") -> None:
    """Align the columns of every plain table by what they hold.

    pandas aligns everything right, and gives the index's name a row of its own. Tables with
    merged cells keep their form: what belongs to which column is not told by counting.
    """
    for table in soup.find_all("table"):
        rows = table.find_all("tr")
        if table.find(["th", "td"], attrs={"colspan": True}) or table.find(
            ["th", "td"], attrs={"rowspan": True}
        ):
            continue
        for row in rows:
            if "text-align" in str(row.get("style", "")):
                del row["style"]
        head = [row for row in rows if row.find_parent("thead") is not None]
        body = [row for row in rows if row.find_parent("thead") is None]
        _align([_cells(row) for row in body], [_cells(row) for row in _merged(head)])


def _cells(row: "Tag") -> "list[Tag]":
    return row.find_all(["th", "td"], recursive=False)


def _merged(head: "list[Tag]") -> "list[Tag]":
    """Move the index's name into the row of the columns' names, where nothing stands."""
    if len(head) != 2:
        return head
    first, second = _cells(head[0]), _cells(head[1])
    is_index_row = (
        len(first) == len(second) > 0
        and not first[0].get_text(strip=True)
        and not any(cell.get_text(strip=True) for cell in second[1:])
    )
    if not is_index_row:
        return head
    first[0].string = second[0].get_text(strip=True)
    head[1].decompose()
    return head[:1]


def _align(body: "list[list[Tag]]", head: "list[list[Tag]]") -> None:
    width = max((len(cells) for cells in body), default=0)
    for column in range(width):
        cells = [row[column] for row in body if column < len(row)]
        texts = [text for cell in cells if (text := cell.get_text(strip=True))]
        # An index in the margin is a name, even where it counts.
        is_name = column == 0 and all(cell.name == "th" for cell in cells)
        if texts and not is_name and all(_NUMBER.fullmatch(text) for text in texts):
            for cell in (*cells, *(row[column] for row in head if column < len(row))):
                own = [name for name in cell.get_attribute_list("class") if name]
                cell["class"] = " ".join([*own, NUMBER_CLASS])
