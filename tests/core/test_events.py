import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbprod.core.events import VERSION, Event, EventType, parse_event

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.text().filter(lambda key: key not in ("v", "t", "type")), JSON_VALUES)


@given(st.sampled_from(EventType), st.floats(0, 4e9), FIELDS)
def test_an_event_survives_its_line(kind: EventType, t: float, fields: dict[str, object]) -> None:
    event = Event(type=kind, t=t, fields=fields)  # type: ignore[arg-type]  # JSON by construction

    assert parse_event(event.line()) == event


def test_a_line_names_the_version_of_its_format() -> None:
    line = Event(type=EventType.CELL_STARTED, t=1.5, fields={"cell": 3}).line()

    assert json.loads(line) == {"v": VERSION, "t": 1.5, "type": "cell_started", "cell": 3}
    assert line.endswith("\n")


@pytest.mark.parametrize(
    "line",
    [
        '{"v": 1, "t": 1.0, "type": "cell_st',
        '{"v": 9, "t": 1, "type": "teleported"}',
        "[1]",
        "",
        "{}",
    ],
)
def test_a_torn_line_and_a_later_versions_type_are_passed_over(line: str) -> None:
    assert parse_event(line) is None
