"""What a reference stands for, once the run it points to has ended."""

from typing import TYPE_CHECKING

from nbprod.core.errors import MissingScrapError, UnusableScrapError
from nbprod.core.scraps import ScrapType

if TYPE_CHECKING:
    from nbprod.core.json import JSON
    from nbprod.jobs.references import Reference
    from nbprod.workspace import RunRecord

#: Their value in the notebook is a summary or an encoding, not the thing itself.
_NOT_PASSED_ON = frozenset({ScrapType.FRAME, ScrapType.ARRAY, ScrapType.DISPLAY, ScrapType.MODEL})


def value_of(reference: "Reference", record: "RunRecord") -> "JSON":
    """Return a scrap as a parameter takes it: models and sidecars as the absolute path of theirs.

    Raises:
        MissingScrapError: the run left no such scrap.
        UnusableScrapError: it is a small table or a picture, which has no file.
    """
    if reference.name not in record.scraps:
        raise MissingScrapError(str(reference), record.id, tuple(record.scraps))
    scrap = record.scrap(reference.name)
    if scrap.sidecar is not None:
        return str((record.folder / scrap.sidecar.path).resolve())
    if scrap.type in _NOT_PASSED_ON:
        raise UnusableScrapError(str(reference), scrap.type.value, record.id)
    return scrap.value
