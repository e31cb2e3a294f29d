import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbprod.core.errors import ModelNameError, ModelReferenceError
from nbprod.registry.references import (
    ModelReference,
    Origin,
    check_alias,
    check_name,
    is_reference,
    parse_reference,
)

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
ALIASES = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("router@champion", ModelReference(name="router", alias="champion")),
        ("router@3", ModelReference(name="router", version=3)),
        ("router", ModelReference(name="router", alias="champion")),
        ("registry:router@3", ModelReference(name="router", version=3)),
        (
            "registry:router@champion?",
            ModelReference(name="router", alias="champion", is_optional=True),
        ),
        (
            "models:/router@champion",
            ModelReference(name="router", alias="champion", origin=Origin.MLFLOW),
        ),
        ("models:/a b@c/3", None),
        ("models:/router/3", ModelReference(name="router", version=3, origin=Origin.MLFLOW)),
        (
            "models:/my team's router/3?",
            ModelReference(
                name="my team's router", version=3, origin=Origin.MLFLOW, is_optional=True
            ),
        ),
    ],
)
def test_a_reference_says_name_and_version_or_alias(
    text: str, expected: ModelReference | None
) -> None:
    parsed = parse_reference(text)

    assert parsed == (expected or ModelReference(name="a b@c", version=3, origin=Origin.MLFLOW))


@given(
    name=NAMES,
    which=st.one_of(ALIASES, st.integers(1, 999_999_999)),
    is_optional=st.booleans(),
    origin=st.sampled_from(Origin),
)
def test_what_a_reference_prints_parses_to_itself(
    *, name: str, which: str | int, is_optional: bool, origin: Origin
) -> None:
    reference = ModelReference(
        name=name,
        alias=which if isinstance(which, str) else "",
        version=which if isinstance(which, int) else None,
        origin=origin,
        is_optional=is_optional,
    )

    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "../etc@champion",
            "'../etc' cannot be a model's name. It starts with a letter or digit; letters, "
            "digits, '.', '_' and '-' follow; 128 at most.",
        ),
        ("router@", "After '@' comes an alias or a version's number, not ''."),
        ("router@0", "After '@' comes an alias or a version's number, not '0'."),
        ("models:router@x", "After 'models:' comes one '/' and the model's name."),
        (
            "models:/router/Production",
            "An MLflow model is named models:/NAME@ALIAS or models:/NAME/3; "
            "stages and 'latest' are not read, since what they mean changes unseen.",
        ),
        (
            "models:/router/latest",
            "An MLflow model is named models:/NAME@ALIAS or models:/NAME/3; "
            "stages and 'latest' are not read, since what they mean changes unseen.",
        ),
    ],
)
def test_a_text_that_names_no_model_is_refused_with_the_forms_that_do(text: str, why: str) -> None:
    with pytest.raises(ModelReferenceError) as caught:
        parse_reference(text)

    assert str(caught.value) == (
        f"{text!r} names no registered model.\n"
        f"{why}\n"
        "Write NAME@champion, NAME@3, or models:/NAME@ALIAS for an MLflow server. "
        "See what is registered: nbprod models list"
    )


def test_names_that_could_not_be_a_folder_are_refused() -> None:
    check_name("subject-router")
    check_alias("champion")

    with pytest.raises(ModelNameError) as caught:
        check_name("a/b")

    assert str(caught.value) == (
        "'a/b' cannot be the name of a model.\n"
        "It starts with a letter or digit; letters, digits, '.', '_' and '-' follow; "
        "128 at most.\n"
        "Choose another name; those in use are shown by: nbprod models list"
    )
    with pytest.raises(ModelNameError, match="cannot be the name of an alias"):
        check_alias("3")


def test_a_parameter_is_a_reference_by_its_prefix_only() -> None:
    assert [
        is_reference(text) for text in ("registry:a@b", "models:/a@b", "a@b", "package:x", "./a")
    ] == [True, True, False, False, False]
