"""One JSON Schema of a template's parameters, for forms, job files and other people's tools."""

import copy

from nbprod.core.json import JSON
from nbprod.notebook.binding import to_json
from nbprod.notebook.parameters import Parameter
from nbprod.notebook.template import Template
from nbprod.notebook.types import adapter, describe


def json_schema(template: Template) -> dict[str, JSON]:
    """Return the schema (draft 2020-12) of the mapping that `bind` takes in strict mode.

    Each property has a `title` (a label), a `description` (its help), its `default`, and under
    `x-accepts` what it takes in words. An unannotated parameter takes anything.
    """
    properties: dict[str, JSON] = {
        parameter.name: _property(parameter) for parameter in template.parameters
    }
    required: list[JSON] = [
        parameter.name for parameter in template.parameters if not parameter.has_default
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": template.title,
        "description": template.front_matter.description,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def label(name: str) -> str:
    """Return a parameter's name as a form shows it: `learning_rate` is `Learning rate`."""
    words = name.strip("_").replace("_", " ")
    return words[:1].upper() + words[1:]


def _property(parameter: Parameter) -> dict[str, JSON]:
    kind: dict[str, JSON] = {}
    if parameter.annotation is not None:
        kind = copy.deepcopy(adapter(parameter.annotation).json_schema())
    kind.setdefault("title", label(parameter.name))
    if parameter.help:
        kind["description"] = parameter.help
    if parameter.has_default and not parameter.is_computed:
        kind["default"] = to_json(parameter.default)
    kind["x-accepts"] = describe(parameter.annotation)
    return kind
