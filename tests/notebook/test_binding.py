import math
from datetime import UTC, date, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nbprod.core.errors import (
    InvalidParameterError,
    MissingParameterError,
    NoParametersCellError,
    ParameterTextError,
    UnknownParameterError,
)
from nbprod.core.json import canonical
from nbprod.notebook.binding import Bound, Mode, bind, parse_pairs, to_json
from nbprod.notebook.parameters import Parameter, read_parameters


class Colour(Enum):
    RED = "red"


def one(annotation: str = "", default: str = "") -> tuple[Parameter, ...]:
    """Return the parameter `x`, of this annotation and default."""
    typed = f": {annotation}" if annotation else ""
    value = f" = {default}" if default else ""
    return read_parameters(f"x{typed}{value}", where="x.ipynb, cell 2")


def given(parameters: tuple[Parameter, ...], value: object, mode: Mode) -> object:
    return bind(parameters, {"x": value}, mode=mode, template="x").typed["x"]


def run(source: str) -> dict[str, object]:
    namespace: dict[str, object] = {}
    exec(source, namespace)
    return namespace


@pytest.mark.parametrize(
    ("annotation", "value", "typed"),
    [
        ("int", 3, 3),
        ("float", 3, 3.0),
        ("float", 0.5, 0.5),
        ("float", math.inf, math.inf),
        ("float", "inf", math.inf),
        ("list[float]", [1, "-inf"], [1.0, -math.inf]),
        ("bool", True, True),
        ("str", "3", "3"),
        ("str", "[1]", "[1]"),
        ("str", Path("a/b"), "a/b"),
        ("int | None", None, None),
        ("int | str", "3", "3"),
        ("int | float", 3, 3),
        ("Path", "a/b", Path("a/b")),
        ("Path", Path("a/b"), Path("a/b")),
        ("date", "2026-01-31", date(2026, 1, 31)),
        ("date", date(2026, 1, 31), date(2026, 1, 31)),
        ("datetime", "2026-01-31T08:30:00", datetime(2026, 1, 31, 8, 30)),  # noqa: DTZ001
        ("datetime", "2026-01-31 08:30:00.25", datetime(2026, 1, 31, 8, 30, 0, 250_000)),  # noqa: DTZ001
        ("datetime", "2026-01-31", datetime(2026, 1, 31)),  # noqa: DTZ001
        ("datetime", "2026-01-31T08:30:00Z", datetime(2026, 1, 31, 8, 30, tzinfo=UTC)),
        ("datetime", pd.Timestamp("2026-01-31"), datetime(2026, 1, 31)),  # noqa: DTZ001
        ("Literal['a', 1]", 1, 1),
        ("list[Path]", ["a"], [Path("a")]),
        ("dict[str, date]", {"a": "2026-01-31"}, {"a": date(2026, 1, 31)}),
        ("dict[int, str]", {1: "a"}, {1: "a"}),
        ("tuple[int, str]", (1, "a"), (1, "a")),
        ("tuple[int, ...]", [1, 2], (1, 2)),
        ("set[int]", [2, 1, 2], {1, 2}),
        ("int", np.int64(3), 3),
        ("float", np.float32(0.5), 0.5),
        ("bool", np.bool_(True), True),
        ("list[int]", np.array([1, 2]), [1, 2]),
        ("list[list[int]]", np.array([[1], [2]]), [[1], [2]]),
        ("str", Colour.RED, "red"),
        ("Any", {"a": [None, 1]}, {"a": [None, 1]}),
    ],
)  # fmt: skip
def test_strict_values_arrive_typed(annotation: str, value: object, typed: object) -> None:
    found = given(one(annotation), value, Mode.STRICT)

    assert found == typed
    assert type(found) is type(typed)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("int", True), ("int", "3"), ("int", 3.0), ("int", None), ("int", 3.5),
        ("float", "0.5"), ("float", True), ("float", "1e-4"),
        ("bool", 1), ("bool", "yes"), ("bool", 0),
        ("str", 3), ("str", None), ("str", ["a"]),
        ("date", 20260131), ("date", "20260131"), ("date", "31.01.2026"), ("date", 1.5),
        ("date", "2026-01-31T08:00:00"), ("date", "2026-02-30"),
        ("datetime", 1_700_000_000), ("datetime", "1700000000"), ("datetime", "soon"),
        ("Path", 3), ("Literal[1]", True), ("Literal[1]", 1.0), ("Literal[1]", "1"),
        ("Literal[True]", 1), ("Literal['a']", "A"),
        ("list[float]", "[1e-4]"), ("list[int]", [True]), ("list[int]", {"a": 1}),
        ("dict[str, int]", {"a": "1"}), ("tuple[int, int]", [1]), ("tuple[int, int]", [1, 2, 3]),
        ("Annotated[int, Field(ge=1, le=50)]", 0), ("Annotated[int, Field(ge=1, le=50)]", 51),
        ("Annotated[float, Field(gt=0)]", 0), ("Annotated[float, Field(lt=1)]", 1),
        ("Annotated[str, Field(min_length=1)]", ""), ("Annotated[str, Field(pattern='^a$')]", "b"),
        ("Annotated[list[int], Field(min_length=1)]", []),
        ("Annotated[float, Field(ge=0, le=1)]", math.nan),
        ("Annotated[int, Field(multiple_of=8)]", 12),
        ("int | None", "null"), ("str", b"bytes"), ("str", object()), ("str", "half \ud800"),
        ("list[str]", ["half \ud800"]), ("Path", "caf\udce9.csv"),
    ],
)  # fmt: skip
def test_strict_values_of_another_type_are_refused(annotation: str, value: object) -> None:
    with pytest.raises(InvalidParameterError):
        given(one(annotation), value, Mode.STRICT)


@pytest.mark.parametrize(
    ("annotation", "text", "typed"),
    [
        ("int", "3", 3),
        ("int", "-3", -3),
        ("float", "1e-4", 1e-4),
        ("float", "inf", math.inf),
        ("float | None", "null", None),
        ("float | None", "0.5", 0.5),
        ("int | None", "3", 3),
        ("bool", "yes", True),
        ("bool", "true", True),
        ("bool", "1", True),
        ("bool", "off", False),
        ("str", "null", "null"),
        ("str", "[1]", "[1]"),
        ("str", "{}", "{}"),
        ("str", "", ""),
        ("str", "a=b", "a=b"),
        ("str | None", "null", None),
        ("str | None", "[draft] a", "[draft] a"),
        ("str | None", "[1]", "[1]"),
        ("Path", "[x].csv", Path("[x].csv")),
        ("list[float]", "[1e-4, 1]", [1e-4, 1.0]),
        ("list[str]", '["a", "\'"]', ["a", "'"]),
        ("dict[str, int]", '{"a": 1}', {"a": 1}),
        ("list[date]", '["2026-01-31"]', [date(2026, 1, 31)]),
        ("date", "2026-01-31", date(2026, 1, 31)),
        ("Literal[1, 2]", "2", 2),
        ("Literal['a', None]", "null", None),
        ("Literal['null']", "null", "null"),
        ("int | float", "3.5", 3.5),
        ("float | Literal['auto']", "auto", "auto"),
        ("float | Literal['auto']", "0.5", 0.5),
        ("Any", "3", 3),
        ("Any", "three", "three"),
    ],
)
def test_text_of_the_command_line_is_coerced(annotation: str, text: str, typed: object) -> None:
    found = given(one(annotation), text, Mode.TEXT)

    assert found == typed
    assert type(found) is type(typed)


@pytest.mark.parametrize(
    ("annotation", "text", "message"),
    [
        ("Annotated[int, Field(ge=1, le=50)] = 3  # passes over the data", "90",
         "Parameter 'x' of tune does not accept 90.\n"
         "It takes a whole number from 1 to 50: passes over the data.\n"
         "See what each parameter accepts with: nbprod templates show tune"),
        ("int = 3", "three", "Parameter 'x' of tune does not accept three.\n"
         "It takes a whole number.\n"
         "See what each parameter accepts with: nbprod templates show tune"),
        ("int = 3", "", "Parameter 'x' of tune does not accept \"\".\n"
         "It takes a whole number.\n"
         "See what each parameter accepts with: nbprod templates show tune"),
        ("list[str] = []", "[a, b]", "Parameter 'x' of tune does not accept [a, b].\n"
         'It takes a list of texts, as JSON such as ["a", "b"].\n'
         "See what each parameter accepts with: nbprod templates show tune"),
        ("dict[str, int] = {}", "a", "Parameter 'x' of tune does not accept a.\n"
         'It takes a mapping from names to whole numbers, as JSON such as {"a": 1}.\n'
         "See what each parameter accepts with: nbprod templates show tune"),
        ("Literal['a', 'b'] = 'a'", "c", "Parameter 'x' of tune does not accept c.\n"
         "It takes one of 'a', 'b'.\n"
         "See what each parameter accepts with: nbprod templates show tune"),
        ("Path = None", "caf\udce9", "Parameter 'x' of tune does not accept \"caf\\udce9\".\n"
         "It takes text that UTF-8 can hold.\n"
         "See what each parameter accepts with: nbprod templates show tune"),
        ("list[float] = []", "[true]", "Parameter 'x' of tune does not accept [true].\n"
         'It takes a list of numbers, as JSON such as [1, 2].\n'
         "See what each parameter accepts with: nbprod templates show tune"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_accepted(annotation: str, text: str, message: str) -> None:
    parameters = read_parameters(f"x: {annotation}", where="x")

    with pytest.raises(InvalidParameterError) as caught:
        bind(parameters, {"x": text}, mode=Mode.TEXT, template="tune")

    assert str(caught.value) == message


def test_a_strict_refusal_shows_the_value_as_json() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        bind(one("int", "3"), {"x": {"a": "b" * 100}}, template="tune")

    assert caught.value.what == (f'Parameter \'x\' of tune does not accept {{"a": "{"b" * 70}....')


@pytest.mark.parametrize(
    ("default", "value", "mode", "typed"),
    [
        ("3", "5", Mode.TEXT, 5),
        ("3", "0.5", Mode.TEXT, 0.5),
        ("3", "auto", Mode.TEXT, "auto"),
        ("0.1", "1", Mode.TEXT, 1.0),
        ("'a'", "3", Mode.TEXT, "3"),
        ("'a'", "[1]", Mode.TEXT, "[1]"),
        ("True", "no", Mode.TEXT, False),
        ("None", "3", Mode.TEXT, 3),
        ("None", "a", Mode.TEXT, "a"),
        ("None", "True", Mode.TEXT, True),
        ("None", "[1]", Mode.TEXT, [1]),
        ("None", "null", Mode.TEXT, None),
        ("[]", "[1]", Mode.TEXT, [1]),
        ("Path('a')", "b", Mode.TEXT, Path("b")),
        ("date(2026, 1, 1)", "2026-01-31", Mode.TEXT, date(2026, 1, 31)),
        ("compute()", "3", Mode.TEXT, 3),
        ("3", 5, Mode.STRICT, 5),
        ("3", True, Mode.STRICT, True),
        ("3", "auto", Mode.STRICT, "auto"),
        ("0.1", 1, Mode.STRICT, 1.0),
        ("None", {"a": 1}, Mode.STRICT, {"a": 1}),
        ("Path('a')", "b", Mode.STRICT, Path("b")),
        ("(1, 2)", [3, 4], Mode.STRICT, (3, 4)),
    ],
)
def test_without_an_annotation_the_default_only_coerces(
    default: str, value: object, mode: Mode, typed: object
) -> None:
    found = given(one(default=default), value, mode)

    assert found == typed
    assert type(found) is type(typed)


def test_values_are_complete_and_json_and_only_given_ones_are_injected() -> None:
    parameters = read_parameters(
        "from datetime import date\n"
        "epochs: int = 3\n"
        "since: date = date(2026, 1, 1)\n"
        "data: Path = Path('a.csv')\n"
        "rate: float = float('inf')\n"
        "size = (1, 2)\n"
        "made = compute()\n",
        where="x",
    )

    bound = bind(parameters, {"epochs": 5, "data": "b.csv"})

    assert bound == Bound(
        values={
            "epochs": 5,
            "since": "2026-01-01",
            "data": "b.csv",
            "rate": "inf",
            "size": [1, 2],
        },
        given=("epochs", "data"),
        typed={"epochs": 5, "data": Path("b.csv")},
        source=(
            "# Parameters\nfrom pathlib import Path as _Path\nepochs = 5\ndata = _Path('b.csv')\n"
        ),
    )
    assert canonical(dict(bound.values))  # what the store keeps


def test_nothing_given_injects_nothing() -> None:
    assert bind(one("int", "3"), {}).source == ""


def test_a_run_can_be_repeated_with_the_values_on_record() -> None:
    parameters = read_parameters(
        "a: int = None\nb: float = float('nan')\nc: Annotated[int, Field(ge=1)] = 0\nd: str = 'x'",
        where="x",
    )
    values = bind(parameters, {}).values

    again = bind(parameters, values)

    assert again.values == values


def test_injected_names_do_not_change_the_meaning_of_the_templates_own() -> None:
    parameters = read_parameters(
        "import datetime\ndate: datetime.date = None\n_Path: Path = None\n_date = None", where="x"
    )

    bound = bind(parameters, {"date": "2026-01-31", "_Path": "a"})

    namespace = run("import datetime\n" + bound.source + "later = datetime.date(2026, 2, 1)")
    assert namespace["date"] == date(2026, 1, 31)
    assert namespace["_Path"] == Path("a")
    assert namespace["later"] == date(2026, 2, 1)


@pytest.mark.parametrize(
    "text",
    ["'", '"', "\\", "\n", "'''", '"""', "a\r\nb", "{x}", "%s", "\x00", "\x1b[31m", "é", "\u2028",
     "𝄞", "'); import os; os.abort() #", "\\'", "\ufeff"],
)  # fmt: skip
def test_text_stays_text_whatever_is_in_it(text: str) -> None:
    bound = bind(one("str", "''"), {"x": text})

    assert run(bound.source)["x"] == text


def test_time_zones_arrive_as_pythons_own() -> None:
    value = datetime(2026, 1, 31, 8, 30, tzinfo=timezone(timedelta(hours=2)))

    bound = bind(one("datetime", "None"), {"x": value})

    assert bound.values == {"x": "2026-01-31T08:30:00+02:00"}
    assert run(bound.source)["x"] == value


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownParameterError) as caught:
        bind(read_parameters("epochs = 3\nseed = 0", where="x"), {"epoch": 2}, template="a b")

    assert str(caught.value) == (
        "a b has no parameter 'epoch'. Did you mean 'epochs'?\n"
        "Its parameters: epochs, seed.\n"
        "See what each accepts with: nbprod templates show 'a b'"
    )


def test_allow_unknown_injects_what_papermill_would() -> None:
    given_text = {"a": "3", "b": "0.5", "c": "True", "d": "text", "e": "[1]"}

    bound = bind((), given_text, mode=Mode.TEXT, allow_unknown=True, has_cell=False)

    assert bound.typed == {"a": 3, "b": 0.5, "c": True, "d": "text", "e": [1]}
    assert bound.values == bound.typed


@pytest.mark.parametrize("name", ["x; import os", "a b", "class", "", "x.y", "1x", "x\n"])
def test_a_name_that_is_no_name_never_becomes_code(name: str) -> None:
    with pytest.raises(UnknownParameterError):
        bind((), {name: 1}, allow_unknown=True)


def test_parameters_without_a_parameters_cell_are_refused() -> None:
    with pytest.raises(NoParametersCellError) as caught:
        bind((), {"a": 1, "b": 2}, has_cell=False, template="old.ipynb")

    assert str(caught.value) == (
        "old.ipynb has no parameters cell, and parameters were given: a, b.\n"
        "Put before its first cell they would do nothing, or be overwritten, in silence.\n"
        "Tag the cell that sets them `parameters`, or put them in all the same with: "
        "nbprod run old.ipynb -p a=VALUE -p b=VALUE --allow-unknown"
    )


def test_no_parameters_cell_is_fine_when_nothing_is_given() -> None:
    assert bind((), {}, has_cell=False) == Bound()


def test_a_parameter_without_default_must_be_given() -> None:
    parameters = read_parameters("model: str  # what to evaluate", where="x")

    with pytest.raises(MissingParameterError) as caught:
        bind(parameters, {}, template="evaluate")

    assert str(caught.value) == (
        "Parameter 'model' of evaluate has no default and was not given.\n"
        "It takes text: what to evaluate.\n"
        "Give it a value: nbprod run evaluate -p model=VALUE"
    )


def test_pairs_are_split_at_the_first_equals_sign() -> None:
    assert parse_pairs(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize(
    ("pairs", "what"),
    [
        (["epochs"], "-p epochs: there is no NAME= before the value."),
        (["=3"], "-p =3: there is no NAME= before the value."),
        (["a=1", "a=2"], "-p a=2: 'a' is given twice."),
    ],
)
def test_pairs_that_are_none_are_refused(pairs: list[str], what: str) -> None:
    with pytest.raises(ParameterTextError) as caught:
        parse_pairs(pairs)

    assert str(caught.value) == (
        f"{what}\n"
        "A parameter is given as NAME=VALUE; the value is all that follows the first =.\n"
        "For example: nbprod run TEMPLATE -p epochs=2 -p data=texts.csv"
    )


def test_what_has_no_json_form_says_so() -> None:
    with pytest.raises(TypeError, match="a module has no JSON form"):
        to_json({"a": [math]})
