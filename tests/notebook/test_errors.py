"""Errors of this room cross process borders, and end in a command."""

import pickle

import pytest

from nbprod.core import errors
from nbprod.core.errors import NbprodError, notebook

EXAMPLES: list[NbprodError] = [
    errors.YamlError("x.yaml", 3, "The key 'a' stands twice.", "nbprod jobs show x"),
    errors.UnknownTemplateError("finetun", ["finetune", "explore"]),
    errors.UnknownTemplateError("a/b.ipynb", [], True),
    errors.UnreadableTemplateError("x.ipynb", "it is no JSON.", "It was cut off.", "nbprod doctor"),
    errors.FrontMatterError("a b.ipynb, cell 1", 2, "title is text."),
    errors.UnknownKeyError("x.ipynb, cell 1", 2, "titel", ["title", "kind"], "A note."),
    errors.ParametersCellError("x.ipynb, cell 2", None, "invalid syntax."),
    errors.UnknownParameterError("x", "epoch", ["epochs"]),
    errors.InvalidParameterError("x", "epochs", "90", "a whole number", "passes"),
    errors.MissingParameterError("x", "model", "text"),
    errors.NoParametersCellError("x", ["a"]),
    errors.ForeignParametersError("x", "clojure", ["a"]),
    errors.ParameterTextError("epochs", "there is no NAME= before the value."),
    errors.ScaffoldError("There is one.", "It is never overwritten.", "nbprod templates show x"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: NbprodError) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert (type(again), str(again), again.args) == (type(error), str(error), error.args)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_has_three_parts_and_ends_in_a_command(error: NbprodError) -> None:
    what, why, do = str(error).splitlines()

    assert all((what, why))
    assert "nbprod " in do


def test_every_error_of_the_room_is_tried_here() -> None:
    room = {
        name
        for name, value in vars(notebook).items()
        if isinstance(value, type) and value.__module__ == notebook.__name__
    }
    abstract = {"TemplateError", "ParameterError"}

    assert {type(error).__name__ for error in EXAMPLES} == room - abstract
