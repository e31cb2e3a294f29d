"""The contract in the front matter, held against what was glued."""

from pathlib import Path
from typing import Any

import pytest

from nbprod.core.scraps import ScrapDeclaration, ScrapType
from nbprod.notebook.scraps import check_contract, read_scraps
from tests.scraps.test_encoders import glued


def breaches(value: Any, tmp_path: Path, **declared: Any) -> list[tuple[str, bool]]:
    scraps = read_scraps(glued(value, folder=lambda: tmp_path))
    found = check_contract([ScrapDeclaration(name="x", **declared)], scraps)
    return [(breach.message, breach.is_fatal) for breach in found]


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (0.5, {"type": ScrapType.NUMBER, "range": (0, 1)}),
        (1, {"type": ScrapType.NUMBER, "range": (0, 1)}),
        (3, {"type": ScrapType.INTEGER, "range": (None, 3)}),
        ("a", {"type": ScrapType.TEXT, "range": (0, 1)}),
        ([1], {"type": ScrapType.JSON}),
        (True, {"type": ScrapType.BOOLEAN}),
        (None, {"type": ScrapType.ANY}),
        (float("nan"), {"type": ScrapType.NUMBER}),
    ],
)
def test_what_keeps_the_contract_is_no_breach(
    value: Any, declared: dict[str, Any], tmp_path: Path
) -> None:
    assert breaches(value, tmp_path, **declared) == []


@pytest.mark.parametrize(
    ("value", "declared", "message"),
    [
        (
            1.5,
            {"range": (0, 1)},
            "The scrap 'x' is 1.5, outside its range: between 0 and 1.",
        ),
        (
            float("nan"),
            {"range": (0, None)},
            "The scrap 'x' is nan, outside its range: at least 0.",
        ),
        (
            200,
            {"range": (None, 150), "unit": "ms"},
            "The scrap 'x' is 200 ms, outside its range: at most 150 ms.",
        ),
        (
            float("inf"),
            {"range": (0, 1)},
            "The scrap 'x' is inf, outside its range: between 0 and 1.",
        ),
        (
            "0.5",
            {"type": ScrapType.NUMBER},
            "The scrap 'x' should be a number and is a text: \"0.5\".",
        ),
        (
            True,
            {"type": ScrapType.NUMBER},
            "The scrap 'x' should be a number and is a boolean: true.",
        ),
        (
            0.5,
            {"type": ScrapType.INTEGER},
            "The scrap 'x' should be an integer and is a number: 0.5.",
        ),
        (
            5,
            {"type": ScrapType.MODEL},
            "The scrap 'x' should be a model and is an integer: 5.",
        ),
    ],
)
def test_a_breach_names_the_scrap_and_the_number(
    value: Any, declared: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert breaches(value, tmp_path, **declared) == [(message, True)]


def test_only_a_required_scrap_may_not_be_missing() -> None:
    declared = [ScrapDeclaration(name="a", required=True), ScrapDeclaration(name="b")]

    found = check_contract(declared, {})

    assert [(breach.scrap, breach.message) for breach in found] == [
        ("a", "The scrap 'a' is required and was never glued.")
    ]
    assert check_contract(declared, {}, is_stopped=True) == []


def test_an_undeclared_scrap_is_only_reported(tmp_path: Path) -> None:
    scraps = read_scraps(glued(1))

    found = check_contract([ScrapDeclaration(name="y")], scraps)

    assert [(breach.message, breach.is_fatal) for breach in found] == [
        ("The scrap 'x' was glued but is not declared in the front matter.", False)
    ]
    assert check_contract([], scraps) == []
