"""Write the injected cell of a notebook that is not in Python, by papermill's translators."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nbprod.core.errors.notebook import ForeignParametersError
from nbprod.core.json import JSON

if TYPE_CHECKING:
    from papermill.translators import Translator


def foreign_source(values: Mapping[str, JSON], *, kernel: str, language: str, template: str) -> str:
    """Return code of `language` that assigns every value to its name; "" for no values.

    Raises:
        ForeignParametersError: papermill cannot write that language.
    """
    if not values:
        return ""
    translator = _translator(kernel, language)
    if translator is None:
        raise ForeignParametersError(template, language, tuple(values))
    return str(translator.codify(dict(values), "Parameters"))


def _translator(kernel: str, language: str) -> "type[Translator] | None":
    from papermill.exceptions import PapermillException
    from papermill.translators import papermill_translators

    for spelt in (language, language.upper()):  # it is "R" there, and "julia"
        try:
            found: type[Translator] = papermill_translators.find_translator(kernel, spelt)
        except PapermillException:
            continue
        return found
    return None
