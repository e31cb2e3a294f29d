"""Errors about scraps: what a notebook leaves, and what its template promised."""

from collections.abc import Sequence

from nbprod.core.errors.root import NbprodError


class ScrapError(NbprodError):
    """Something is wrong with a scrap."""


class OutputNameError(ScrapError, ValueError):
    """`nbprod.output` was given a name that leads out of the attempt's folder."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
        self.what = f"{name!r} is no name for an output."
        self.why = "Outputs stay below the run's own folder: no absolute path, no '..', not empty."
        self.do = 'Pass a plain name: nbprod.output("model")'


class UnencodableScrapError(ScrapError, TypeError):
    """A value of a kind that no encoder takes."""

    def __init__(self, name: str, kind: str, why: str) -> None:
        super().__init__(name, kind, why)
        self.name = name
        self.kind = kind
        self.what = f"The scrap {name!r} cannot be stored: it is {kind}."
        self.why = why
        self.do = (
            "Glue numbers, texts, lists, mappings, DataFrames, NumPy arrays or a Path; "
            f"for something to look at:\n    nbprod.glue({name!r}, value, display=True)"
        )


class ScrapNameError(ScrapError, ValueError):
    """A scrap's name is not a text with something in it."""

    def __init__(self, name: object) -> None:
        super().__init__(name)
        self.name = name
        self.what = f"{name!r} is no name for a scrap."
        self.why = "A name is text, not empty, at most 200 characters, without line breaks."
        self.do = 'Name it first, then the value: nbprod.glue("accuracy", 0.93)'


class MissingPathScrapError(ScrapError, FileNotFoundError):
    """A glued path does not exist, or is an empty folder."""

    def __init__(self, name: str, path: str, problem: str) -> None:
        super().__init__(name, path, problem)
        self.name = name
        self.path = path
        self.what = f"The scrap {name!r} cannot be stored: {path} {problem}."
        self.why = "A glued Path stands for the files behind it; they are digested and kept."
        self.do = (
            "Write the files before gluing them:\n"
            f'    model.save_pretrained(nbprod.output("model")); '
            f'nbprod.glue({name!r}, nbprod.output("model"))'
        )


class MissingLibraryError(ScrapError, ImportError):
    """A scrap needs a library of the `ml` extra."""

    def __init__(self, needed_for: str, library: str) -> None:
        super().__init__(needed_for, library)
        self.library = library
        self.what = f"{needed_for} needs {library}, which is not installed."
        self.why = "The control plane installs without it; it belongs to the extra 'ml'."
        self.do = "pip install 'nbprod[ml]'"

    def __str__(self) -> str:
        """Return the three parts; ImportError's own text would leave them out."""
        return NbprodError.__str__(self)


class SidecarDamagedError(ScrapError):
    """A sidecar's files are not what the scrap recorded."""

    def __init__(self, name: str, path: str, problems: Sequence[str]) -> None:
        super().__init__(name, path, problems)
        self.name = name
        self.path = path
        self.what = f"The files of scrap {name!r} are not what the run left: {'; '.join(problems)}."
        self.why = f"{path} was changed, or part of it deleted, after the run."
        self.do = "Run the template again:\n    nbprod runs list"
