from nbprod.notebook.schema import json_schema, label
from nbprod.notebook.template import load_template
from tests.notebook.conftest import FRONT_MATTER, MakeNotebook

PARAMETERS = """
from typing import Annotated, Literal
from pydantic import Field

epochs: Annotated[int, Field(ge=1, le=50)] = 3  # passes over the data
split: Literal["random", "time"] = "random"  # how rows are divided
since: date | None = None
weights: dict[str, float] = {}
data: Path
anything = 1
made: int = compute()
"""


def test_one_schema_serves_forms_and_files(make_notebook: MakeNotebook) -> None:
    cells = [("raw", FRONT_MATTER), ("code", PARAMETERS, ["parameters"])]

    schema = json_schema(load_template(make_notebook(cells)))

    assert schema == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Count things",
        "description": "",
        "type": "object",
        "properties": {
            "epochs": {
                "type": "integer",
                "minimum": 1,
                "maximum": 50,
                "title": "Epochs",
                "description": "passes over the data",
                "default": 3,
                "x-accepts": "a whole number from 1 to 50",
            },
            "split": {
                "type": "string",
                "enum": ["random", "time"],
                "title": "Split",
                "description": "how rows are divided",
                "default": "random",
                "x-accepts": "one of 'random', 'time'",
            },
            "since": {
                "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
                "title": "Since",
                "default": None,
                "x-accepts": "a date such as 2026-01-31 or null",
            },
            "weights": {
                "type": "object",
                "additionalProperties": {"type": "number"},
                "title": "Weights",
                "default": {},
                "x-accepts": "a mapping from names to numbers",
            },
            "data": {
                "type": "string",
                "format": "path",
                "title": "Data",
                "x-accepts": "a path",
            },
            "anything": {"title": "Anything", "default": 1, "x-accepts": "anything"},
            "made": {"type": "integer", "title": "Made", "x-accepts": "a whole number"},
        },
        "required": ["data"],
        "additionalProperties": False,
    }


def test_a_label_is_the_name_as_words() -> None:
    assert [label(name) for name in ("learning_rate", "_x", "n", "HTTP_port")] == [
        "Learning rate",
        "X",
        "N",
        "HTTP port",
    ]
