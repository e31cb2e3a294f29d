import pytest

from nbprod.notebook.types import describe, is_text


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (None, "anything"),
        ("int", "a whole number"),
        ("float | None", "a number or null"),
        ("Annotated[int, Field(ge=1, le=50)]", "a whole number from 1 to 50"),
        ("Annotated[float, Field(gt=0, le=0.1)]", "a number of at most 0.1 and greater than 0"),
        ("Annotated[float, Field(ge=0, lt=1)]", "a number of at least 0 and less than 1"),
        ("Annotated[int, Field(multiple_of=8)]", "a whole number, a multiple of 8"),
        ("Annotated[str, Field(min_length=1)]", "text with at least 1 characters"),
        ("Annotated[str, Field(min_length=2, max_length=5, pattern='^a')]",
         "text with 2 to 5 characters that matches ^a"),
        ("Annotated[list[int], Field(max_length=3)]",
         "a list of whole numbers with at most 3 entries"),
        ("Annotated[Annotated[int, Field(ge=1)], Field(le=2)]", "a whole number from 1 to 2"),
        ("Annotated[int, Field(ge=1)] | None", "a whole number of at least 1 or null"),
        ("Literal['a', 'b', 3, True, None]", "one of 'a', 'b', 3, true, null"),
        ("Literal['a']", "'a'"),
        ("dict[str, float]", "a mapping from names to numbers"),
        ("dict[str, list[int]]", "a mapping from names to values, each a list of whole numbers"),
        ("tuple[int, ...]", "a list of whole numbers"),
        ("tuple[int, str]", "a list of exactly a whole number, text"),
        ("list[Literal['a', 'b']]", "a list of values, each one of 'a', 'b'"),
        ("date", "a date such as 2026-01-31"),
        ("datetime", "a time such as 2026-01-31T08:30:00"),
        ("Path", "a path"),
        ("bool", "true or false"),
        ("list", "a list"),
    ],
)  # fmt: skip
def test_types_are_told_in_words(annotation: str | None, words: str) -> None:
    assert describe(annotation) == words


@pytest.mark.parametrize(
    ("annotation", "is_so"),
    [
        ("str", True),
        ("Path", True),
        ("Annotated[str, Field(min_length=1)]", True),
        ("Literal['a', 'b']", True),
        ("str | Path", True),
        ("Literal['a', 1]", False),
        ("str | None", False),
        ("list[str]", False),
        (None, False),
    ],
)
def test_some_types_are_text_whatever_it_looks_like(
    annotation: str | None,
    is_so: bool,  # noqa: FBT001
) -> None:
    assert is_text(annotation) is is_so
