"""What can be wrong with data and models, as seen from inside the kernel."""

from collections.abc import Sequence

from nbprod.core.errors.root import NbprodError


class MLError(NbprodError):
    """Base of the errors of nbprod.ml: the data or the model is not what a template needs."""


class MissingExtraError(MLError, ImportError):
    """A library of the `ml` extra is needed and not installed."""

    def __init__(self, library: str) -> None:
        super().__init__(library)
        self.library = library
        self.what = f"The Python package {library!r} is not installed."
        self.why = "Templates that train or score models need nbprod's extra 'ml'."
        self.do = "Install it: pip install 'nbprod[ml]'"


class DataNotFoundError(MLError, FileNotFoundError):
    """The data parameter names neither a file, nor a folder, nor a dataset that can be had."""

    def __init__(self, source: str, looked_at: str, beside: Sequence[str] = ()) -> None:
        super().__init__(source, looked_at, beside)
        self.source = source
        self.what = f"There is no data at {source!r}."
        found = f" Data files beside it: {', '.join(beside)}." if beside else ""
        self.why = f"Looked for {looked_at}; relative paths start at the workspace root.{found}"
        example = beside[0] if beside else "FILE.csv"
        self.do = f"Name a file that exists: nbprod run explore_text -p data={example}"

    def __str__(self) -> str:
        """Return the three parts: OSError's own text would hide them."""
        return MLError.__str__(self)


class UnknownDataFormatError(MLError, ValueError):
    """A file's name does not say how to read it."""

    def __init__(self, source: str, suffix: str) -> None:
        super().__init__(source, suffix)
        self.what = f"{source!r} cannot be read: its ending {suffix or '(none)'!r} is not known."
        self.why = "Read are .csv, .tsv, .jsonl, .ndjson, .parquet, and Hugging Face datasets."
        self.do = f"Convert it, say to JSON lines: nbprod run explore_text -p data={source}.jsonl"


class DatasetNotAvailableError(MLError):
    """A Hugging Face dataset could not be loaded by its name or from its folder."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.what = f"The Hugging Face dataset {source!r} could not be loaded."
        self.why = reason
        self.do = (
            "Where there is no network, fetch it elsewhere once, copy the folder here and name it: "
            "nbprod run explore_text -p data=FOLDER"
        )


class EmptyDataError(MLError, ValueError):
    """The data holds no example at all."""

    def __init__(self, source: str, detail: str) -> None:
        super().__init__(source, detail)
        self.what = f"{source!r} holds no examples."
        self.why = detail
        self.do = "Name data with at least one row: nbprod run explore_text -p data=FILE"


class UnreadableDataError(MLError, ValueError):
    """A file is not in the format that its name promises."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.what = f"{source!r} could not be read."
        self.why = reason
        self.do = f"Look at how it begins: head -c 300 {source}"


class UndecodableDataError(MLError, ValueError):
    """A text file holds bytes that are not UTF-8."""

    def __init__(self, source: str, line: int, byte: int) -> None:
        super().__init__(source, line, byte)
        self.line = line
        self.byte = byte
        self.what = f"{source!r} is not UTF-8: line {line} holds the byte 0x{byte:02x}."
        self.why = "Guessing an encoding would change letters silently."
        self.do = (
            "Convert it, if it is from Windows: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {source} > utf8-{source.rsplit('/', 1)[-1]}"
        )


class MissingColumnsError(MLError, LookupError):
    """The data has other columns than the template was told, or could find by itself."""

    def __init__(
        self, source: str, role: str, wanted: Sequence[str], found: Sequence[str], *, guess: str
    ) -> None:
        super().__init__(source, role, wanted, found)
        self.role = role
        self.guess = guess
        names = " or ".join(repr(name) for name in wanted)
        self.what = f"{source!r} has no column {names} for the {role}."
        self.why = f"Columns found: {', '.join(found) or 'none'}."
        self.do = (
            "Say which one it is: "
            f"nbprod run explore_text -p data={source} -p {role}_column={guess}"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild by position and name: pickle would forget `guess`."""
        return (_missing_columns, (*self.args, self.guess))


def _missing_columns(
    source: str, role: str, wanted: Sequence[str], found: Sequence[str], guess: str
) -> MissingColumnsError:
    return MissingColumnsError(source, role, wanted, found, guess=guess)


class MissingSplitColumnError(MLError, LookupError):
    """A split needs to know what rows belong together, or how old they are."""

    def __init__(self, source: str, how: str, column: str) -> None:
        super().__init__(source, how, column)
        noun = {"group": "groups", "time": "times"}[column]
        self.what = f"A split of {source!r} by {column} needs a column of {noun}; none was named."
        self.why = (
            "Rows of one group stay in one part, and nothing says which rows those are."
            if column == "group"
            else "The newest rows become the test, and nothing says how old a row is."
        )
        self.do = (
            f"Name it: nbprod run explore_text -p data={source} "
            f"-p split_by={how} -p {column}_column=COLUMN"
        )


class UnusableColumnError(MLError, ValueError):
    """A named column lacks a value, or holds one that means nothing."""

    def __init__(
        self, source: str, role: str, column: str, rows: Sequence[int], value: str
    ) -> None:
        super().__init__(source, role, column, rows, value)
        self.rows = tuple(rows)
        more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        self.what = (
            f"Column {column!r} of {source!r} holds no {role} in row {rows[0]:,}{more}: {value!r}."
        )
        self.why = {
            "group": "Rows without a group would pass for one large group.",
            "time": "Rows without a time would be learned from, however new they are.",
        }[role]
        self.do = (
            "Fill or drop such rows, or do without the column: "
            f"nbprod run explore_text -p data={source}"
        )


class OversizedTextError(MLError, ValueError):
    """One cell holds more text than any example could."""

    def __init__(self, source: str, column: str, row: int, size: int, limit: int) -> None:
        super().__init__(source, column, row, size, limit)
        self.row = row
        self.what = (
            f"{source!r} holds {size:,} characters in one cell: column {column!r}, row {row}."
        )
        self.why = (
            f"The limit is {limit:,}. Such a cell is mostly a quote that was never closed, "
            "so that the rest of the file became one text."
        )
        self.do = f"Look at that row: sed -n '{row + 1}p' {source} | head -c 300"


class DuplicateIdsError(MLError, ValueError):
    """Two examples share an id, so that nothing could be joined by it."""

    def __init__(self, source: str, column: str, example: str, count: int) -> None:
        super().__init__(source, column, example, count)
        self.what = f"{source!r} repeats {count:,} ids in column {column!r}, such as {example!r}."
        self.why = "Splits and comparisons join models' predictions by example id."
        self.do = (
            "Leave the column out, and ids are made from the texts: "
            f"nbprod run explore_text -p data={source}"
        )


class OneClassError(MLError, ValueError):
    """There is nothing to tell apart."""

    def __init__(self, source: str, label: str, rows: int, *, part: str = "") -> None:
        super().__init__(source, label, rows)
        self.part = part
        where = f" of its {part} part" if part else ""
        self.what = f"All {rows:,} examples{where} of {source!r} have the one label {label!r}."
        self.why = "A classifier needs at least two classes to tell apart."
        self.do = (
            "Name the column that holds the classes: "
            f"nbprod run explore_text -p data={source} -p label_column=COLUMN"
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild with the part, which is no positional argument."""
        return (_one_class, (*self.args, self.part))


def _one_class(source: str, label: str, rows: int, part: str) -> OneClassError:
    return OneClassError(source, label, rows, part=part)


class TooFewExamplesError(MLError, ValueError):
    """A part of the split would be empty, or lack a class that the model must learn."""

    def __init__(self, part: str, rows: int, detail: str) -> None:
        super().__init__(part, rows, detail)
        self.what = f"The {part} part of the split has {rows:,} examples."
        self.why = detail
        self.do = "See the sizes of the classes: nbprod run explore_text -p data=FILE"


class ModelNotFoundError(MLError, LookupError):
    """A model parameter names nothing that could be loaded."""

    def __init__(self, reference: str, reason: str, do: str) -> None:
        super().__init__(reference, reason, do)
        self.reference = reference
        self.what = f"There is no model {reference!r}."
        self.why = reason
        self.do = do


class UnresolvedReferenceError(MLError, ValueError):
    """A `registry:` reference reached the kernel as text: the kernel has no registry."""

    def __init__(self, reference: str) -> None:
        super().__init__(reference)
        name = reference.partition(":")[2].removesuffix("?")
        self.what = f"The model {reference!r} was not resolved."
        self.why = (
            "nbprod turns such references into folders when it binds parameters; this notebook "
            "runs without it, and inside the kernel there is no registry."
        )
        self.do = f"Pass the folder that this prints: nbprod models path {name}"


class UnsafeModelError(MLError, ValueError):
    """A model folder holds weights only in a format that can execute code."""

    def __init__(self, folder: str, files: Sequence[str]) -> None:
        super().__init__(folder, files)
        self.files = tuple(files)
        self.what = f"The model in {folder!r} is pickled: {', '.join(files)}."
        self.why = "Unpickling executes whatever the file says; only safetensors are loaded."
        self.do = (
            'Convert it where you trust it: python -c "from transformers import AutoModel as M; '
            f"M.from_pretrained('{folder}').save_pretrained('{folder}-safe')\""
        )


class ModelMismatchError(MLError, ValueError):
    """A model that is to be compared answers another question than the rows ask."""

    def __init__(self, role: str, known: Sequence[str], asked: Sequence[str]) -> None:
        super().__init__(role, known, asked)
        self.role = role
        self.what = f"The {role} knows none of the classes of these rows."
        self.why = f"It knows {_some(known)}; the rows have {_some(asked)}."
        self.do = {
            "baseline": (
                "Train it on the same data: nbprod run baseline_text_classifier -p data=FILE"
            ),
            "champion": (
                "Nothing compares with it here. Evaluate without a champion, and let a person "
                "decide: nbprod models promote NAME VERSION --override "
                '--reason "it answers another question"'
            ),
        }.get(
            role,
            "Evaluate it on rows of its classes: "
            "nbprod run evaluate_classifier -p model=FOLDER -p data=FILE",
        )


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class UnreadableCardError(MLError, ValueError):
    """A folder that should hold a model has no card that nbprod can read."""

    def __init__(self, folder: str, reason: str) -> None:
        super().__init__(folder, reason)
        self.what = f"The folder {folder!r} is not a classifier that nbprod saved."
        self.why = reason
        self.do = "Make one: nbprod run finetune_text_classifier -p data=FILE"
