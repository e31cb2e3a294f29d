"""Squeezed text writes what the text itself would have written."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbprod.notebook.streams import is_refresh, squeeze, write

PIECES = st.text(alphabet="ab\r\n", max_size=12)


def written(*texts: str) -> str:
    lines = [""]
    for text in texts:
        write(lines, text)
    return "".join(lines)


@given(PIECES, PIECES, PIECES)
def test_squeezed_text_writes_the_same_wherever_it_is_written(
    before: str, text: str, after: str
) -> None:
    assert written(before, squeeze(text), after) == written(before, text, after)
    assert len(squeeze(text)) <= len(text)


def test_of_many_refreshes_the_last_is_left() -> None:
    bar = "".join(f"\r{percent} %" for percent in range(101))

    assert squeeze(bar) == "\r100 %"
    assert squeeze(bar + "\ndone\n") == "\r100 %\ndone\n"


@pytest.mark.parametrize("text", ["\r5 %", "5 %\r", "done\n\r"])
def test_a_line_that_may_be_overwritten_is_a_refresh(text: str) -> None:
    assert is_refresh(text)


@pytest.mark.parametrize("text", ["", "done\n", "\r5 %\n", "a\r\n", "plain"])
def test_a_line_that_stays_is_none(text: str) -> None:
    assert not is_refresh(text)


def test_no_short_text_is_written_otherwise() -> None:
    texts = ["".join(letters) for letters in product("a\r\n", repeat=5)]

    assert [text for text in texts if written("x", squeeze(text)) != written("x", text)] == []
