from typing import Any

import pytest

from nbprod.jobs.references import MalformedReference, Reference, references_in, resolve

VALUES: dict[str, Any] = {
    "${tune.model}": "/a/model",
    "${look.rows}": 3000,
    "${look.names}": ["a", "b"],
    "${look.share}": 0.5,
    "${look.nothing}": None,
    "${job.number}": 7,
}


def look_up(reference: Reference) -> Any:
    return VALUES[str(reference)]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("${tune.model}", "/a/model"),
        ("${look.rows}", 3000),
        ("${look.names}", ["a", "b"]),
        ("${look.nothing}", None),
        ("${ look.rows }", 3000),
        ("run ${job.number} of ${look.rows} rows", "run 7 of 3000 rows"),
        ("${tune.model}/${look.names}", '/a/model/["a", "b"]'),
        ("$${look.rows} is ${look.rows}", "${look.rows} is 3000"),
        ("costs $5 {x}", "costs $5 {x}"),
        (["${look.rows}", {"x": "${look.share}"}], [3000, {"x": 0.5}]),
        (12, 12),
        (None, None),
    ],
)
def test_a_whole_reference_keeps_its_type_and_an_embedded_one_becomes_text(
    written: Any, expected: Any
) -> None:
    assert resolve(written, look_up) == expected


def test_what_a_reference_stands_for_is_not_read_again() -> None:
    assert resolve("${a.b}", lambda _: "${c.d}") == "${c.d}"
    assert resolve("<${a.b}>", lambda _: "${c.d}") == "<${c.d}>"


def test_references_are_found_in_lists_and_mappings() -> None:
    value: Any = {"a": ["${tune.model}", 1], "b": "$${x.y} ${look.rows}-${look.share}"}

    assert [str(found) for found in references_in(value)] == [
        "${tune.model}",
        "${look.rows}",
        "${look.share}",
    ]


@pytest.mark.parametrize(
    "written", ["${tune}", "${}", "${tune.model", "${1.x}", "${a b.c}", "x ${.y} z"]
)
def test_what_is_no_reference_is_refused(written: str) -> None:
    with pytest.raises(MalformedReference):
        list(references_in(written))
