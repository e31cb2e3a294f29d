from datetime import date, datetime
from pathlib import Path

import pytest

from nbprod.core.errors import ParametersCellError
from nbprod.notebook.parameters import Parameter, read_parameters

WHERE = "templates/x.ipynb, cell 2"


def read(source: str) -> tuple[Parameter, ...]:
    return read_parameters(source, where=WHERE)


def test_annotations_defaults_and_help_are_read() -> None:
    found = read(
        "from typing import Annotated\n"
        "from pydantic import Field\n"
        "\n"
        "epochs: Annotated[int, Field(ge=1, le=50)] = 3  # passes over the training data\n"
        "name = 'a'\n"
        "must: str  # no default\n"
    )

    assert found == (
        Parameter(
            name="epochs",
            annotation="Annotated[int, Field(ge=1, le=50)]",
            written="Annotated[int, Field(ge=1, le=50)]",
            default=3,
            has_default=True,
            help="passes over the training data",
            line=4,
        ),
        Parameter(name="name", default="a", has_default=True, line=5),
        Parameter(name="must", annotation="str", written="str", help="no default", line=6),
    )


@pytest.mark.parametrize(
    ("source", "annotation"),
    [
        ("import typing as t\nx: t.Optional[int] = 1", "int | None"),
        ("from typing import Annotated as A\nfrom pydantic import Field as F\n"
         "x: A[int, F(ge=1)] = 1", "Annotated[int, Field(ge=1)]"),
        ("import pydantic\nimport typing\nx: typing.Annotated[int, pydantic.Field(ge=1)] = 1",
         "Annotated[int, Field(ge=1)]"),
        ("from typing import Union\nx: Union[int, str, None] = 1", "int | str | None"),
        ("from typing import List, Dict\nx: Dict[str, List[float]] = {}", "dict[str, list[float]]"),
        ("from collections.abc import Sequence\nx: Sequence[str] = ()", "list[str]"),
        ("import datetime as dt\nx: dt.date = None", "date"),
        ("import datetime\nx: datetime.datetime = None", "datetime"),
        ("from datetime import datetime\nx: datetime = None", "datetime"),
        ("import pathlib\nx: pathlib.Path = None", "Path"),
        ("from pathlib import Path as P\nx: P | None = None", "Path | None"),
        ("x: 'int | None' = 1", "int | None"),
        ("x: Path = 'a'", "Path"),
        ("x: Literal['a', 'b', 3, None] = 'a'", "Literal['a', 'b', 3, None]"),
        ("x: tuple[int, ...] = ()", "tuple[int, ...]"),
        ("x: Annotated[int, 'a remark'] = 1", "Annotated[int]"),
        ("x = 1  # type: int  # the papermill way", "int"),
        # what only running the cell could tell
        ("import pandas as pd\nx: pd.DataFrame = None", None),
        ("from mine import Path\nx: Path = None", None),
        ("Path = 1\nx: Path = None", None),
        ("x: list[Strange] = []", None),
        ("x: Literal[A] = 1", None),
        ("x: __import__('os').system('false') = 1", None),
        ("x: 'not python' = 1", None),
    ],
)  # fmt: skip
def test_annotations_are_written_with_one_name_for_each_thing(
    source: str, annotation: str | None
) -> None:
    found = {parameter.name: parameter for parameter in read(source)}

    assert found["x"].annotation == annotation


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1e-4", 1e-4),
        ("10_000", 10_000),
        ("2 ** 10", 1024),
        ("60 * 60", 3600),
        ("1 / 4", 0.25),
        ("True", True),
        ("None", None),
        ("'a' 'b'", "ab"),
        ("'a' + 'b'", "ab"),
        ("[1, (2, 3), {'a': {4}}]", [1, (2, 3), {"a": {4}}]),
        ("Path('a') / 'b.csv'", Path("a/b.csv")),
        ("date(2026, 1, 31)", date(2026, 1, 31)),
        ("date(year=2026, month=1, day=31)", date(2026, 1, 31)),
        ("datetime(2026, 1, 31, 8)", datetime(2026, 1, 31, 8)),  # noqa: DTZ001
        ("date.fromisoformat('2026-01-31')", date(2026, 1, 31)),
        ("float('inf')", float("inf")),
        ("dict()", {}),
    ],
)
def test_defaults_are_read_without_running_them(written: str, value: object) -> None:
    (found,) = read(f"x = {written}")

    assert (found.default, found.is_computed) == (value, False)
    assert type(found.default) is type(value)


@pytest.mark.parametrize(
    "written",
    ["compute()", "9 ** 9 ** 9", "1 / 0", "other", "f'{a}'", "[n for n in range(3)]", "{[1]: 2}",
     "date(2026, 13, 1)", "b'x'", "1j", "...", "date.today()", "'a' * 10", "open('x')",
     "-'a'", "dict(a=1)", "{**a}", "Path.home()", "0.0 ** -1", "1e9 ** 60"],
)  # fmt: skip
def test_a_default_that_needs_running_is_computed(written: str) -> None:
    (found,) = read(f"x = {written}  # help")

    assert found == Parameter(name="x", has_default=True, is_computed=True, help="help")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1  # one", "one"),
        ("x = 1  #one", "one"),
        ("x = 1  ## one", "one"),
        ("x = '# no'", ""),
        ("x = '# no'  # yes", "yes"),
        ('x = """\n# no\n"""  # yes', "yes"),
        ("x = 1  # a # b", "a # b"),
        ("x: Annotated[\n    int,\n    Field(ge=1),\n] = 1  # at the end", "at the end"),
        ("x: Annotated[\n    int,  # inside\n    Field(ge=1),\n] = 1", "inside"),
        ("x: int = (\n    3  # in brackets\n)", "in brackets"),
        ("x: int = (\n    # above\n    3\n)", "above"),
        ("x = 1  # first\n       # second\ny = 2", "first second"),
        ("x = 1  # first\n# a heading\ny = 2", "first"),
        ("# a heading\nx = 1", ""),
        ("x: Annotated[int, Field(description='said so')] = 1", "said so"),
        ("x: Annotated[int, Field(description='said so')] = 1  # rather this", "rather this"),
        ("x = 1  # type: int  # words", "words"),
        ("x = 1  # type: int", ""),
        ("x = 1; y = 2  # both", "both"),
    ],
)
def test_the_trailing_comment_is_the_help(source: str, expected: str) -> None:
    assert read(source)[0].help == expected


def test_only_what_the_top_level_assigns_is_a_parameter() -> None:
    source = (
        "import os\n"
        "a = b = 1\n"
        "c, (d, e) = 1, (2, 3)\n"
        "f.g = 1\n"
        "h[0] = 1\n"
        "i, *j = [1, 2]\n"
        "if True:\n    k = 1\n"
        "def l():\n    m = 1\n"
        "for n in []:\n    pass\n"
    )

    assert [parameter.name for parameter in read(source)] == ["a", "b", "c", "d", "e"]


def test_the_last_assignment_counts_in_the_first_place() -> None:
    found = read("a = 1\nb = 2\na = 3  # again\nb += 1\n")

    assert found == (
        Parameter(name="a", default=3, has_default=True, help="again", line=3),
        Parameter(name="b", has_default=True, is_computed=True, line=2),
    )


def test_a_parameter_called_date_hides_the_class_from_those_below() -> None:
    found = read("from datetime import date\ndate: date = date(2026, 1, 1)\nx: date = None")

    assert [parameter.annotation for parameter in found] == ["date", None]


def test_magics_are_set_aside() -> None:
    found = read("%matplotlib inline\n!pip list\nx = 1  # one\nfiles = !ls\n")

    assert [(one.name, one.default, one.line) for one in found] == [
        ("x", 1, 3),
        ("files", None, 4),
    ]


def test_nothing_in_the_cell_is_executed(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    touch = f"__import__('pathlib').Path({str(trace)!r}).touch()"

    read(
        f"x: {touch} = {touch}\n"
        f"y: Annotated[int, {touch}] = 1\n"
        f"z: Annotated[int, Field(ge=1)] = [{touch}]\n"
        f"assert {touch}\n"
    )

    assert not trace.exists()


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("x = 1\ny = = 2", "line 2: invalid syntax."),
        ("x = 'a", "line 1: unterminated string literal (detected at line 1)."),
        ("%%bash\nx=1", "line 1: the parameters cell holds another language."),
        ("x: Annotated[int, Field(gee=1)] = 1",
         "line 1: x: Field takes no argument 'gee' here. Did you mean 'ge'?"),
        ("x = 'a\0b'", "line 1: source code string cannot contain null bytes."),
    ],
)  # fmt: skip
def test_a_cell_that_makes_no_sense_is_refused_with_its_line(source: str, what: str) -> None:
    with pytest.raises(ParametersCellError) as caught:
        read(source)

    assert str(caught.value).replace("cell 2: source", "cell 2, line 1: source") == (
        f"templates/x.ipynb, cell 2, {what}\n"
        "The cell tagged `parameters` is read, never executed, to learn what may be set.\n"
        "Correct that cell, then check it with: nbprod templates check templates/x.ipynb"
    )


def test_reading_warns_of_nothing() -> None:
    (found,) = read(r"pattern = '\d+'")  # an invalid escape, of which Python warns

    assert found.default == r"\d+"
