"""What can go wrong with registered models."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from nbprod.core.errors.root import NbprodError

#: A list in a message stops here; a folder can hold thousands of wrong files.
SHOWN = 8


def _some(items: Sequence[str], *, of: str) -> str:
    """Join up to `SHOWN` items, saying how many more there are."""
    shown = list(items[:SHOWN])
    if len(items) > SHOWN:
        shown.append(f"and {len(items) - SHOWN} more {of}")
    return "\n".join(f"  {item}" for item in shown)


class ModelReferenceError(NbprodError, ValueError):
    """A text that should name a registered model does not."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text, reason)
        self.text = text
        self.what = f"{text!r} names no registered model."
        self.why = reason
        self.do = (
            "Write NAME@champion, NAME@3, or models:/NAME@ALIAS for an MLflow server. "
            "See what is registered: nbprod models list"
        )


class ModelNameError(NbprodError, ValueError):
    """A name under which nothing can be registered."""

    def __init__(self, kind: str, name: str, rule: str) -> None:
        super().__init__(kind, name, rule)
        self.name = name
        self.what = f"{name!r} cannot be the name of {kind}."
        self.why = rule
        self.do = "Choose another name; those in use are shown by: nbprod models list"


class UnknownModelError(NbprodError, LookupError):
    """No model is registered under a name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.what = f"No model named {name!r} is registered here."
        self.why = f"Registered: {', '.join(known) or 'none yet'}."
        self.do = "Take one of those, or promote a run's model first: nbprod models list"


class UnknownVersionError(NbprodError, LookupError):
    """A registered model has no such version, or nothing holds the alias."""

    def __init__(self, name: str, wanted: str, known: Sequence[str]) -> None:
        super().__init__(name, wanted, known)
        self.name = name
        self.wanted = wanted
        self.what = f"{name}@{wanted} does not exist."
        self.why = f"{name} has {', '.join(known) or 'no version yet'}."
        self.do = f"See its versions and aliases: nbprod models show {name}"


class ModelFormatError(NbprodError, ValueError):
    """A model folder holds files that may not enter the registry."""

    def __init__(self, where: str, refusals: Sequence[tuple[str, str]], advice: str) -> None:
        super().__init__(where, refusals, advice)
        self.where = where
        self.refusals = tuple(refusals)  #: (relative path, what is wrong with it)
        self.what = f"{where} cannot be taken in as a model."
        self.why = "Only formats that cannot execute code may enter the registry:\n" + _some(
            [f"{path}: {reason}" for path, reason in refusals], of="files"
        )
        self.do = advice


class ModelFolderError(NbprodError, ValueError):
    """There is no model where one should be."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(folder, reason)
        self.folder = folder
        self.what = f"{folder} is not a model folder."
        self.why = reason
        self.do = f"Look at what is there: ls -la {shlex.quote(str(folder))}"


class ModelTamperedError(NbprodError):
    """A version's files are not those that were registered."""

    def __init__(
        self,
        name: str,
        version: int,
        place: str,
        problems: Sequence[str],
        *,
        is_original_intact: bool,
    ) -> None:
        super().__init__(name, version, place, problems)
        self.is_original_intact = is_original_intact
        self.name = name
        self.version = version
        self.problems = tuple(problems)
        self.what = f"{name} version {version} is not what was registered; it was not loaded."
        self.why = f"In {place}:\n" + _some(problems, of="problems")
        if is_original_intact:
            self.do = (
                "The original is intact in the artifact store. "
                f"Put it back: nbprod models verify {name}@{version} --repair"
            )
        else:
            self.do = (
                "No intact copy is left in the artifact store. Restore it from a backup, "
                f"or serve the version before: nbprod models rollback {name}"
            )

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from all arguments, the keyword included."""
        return (_rebuild_tampered, (*self.args, self.is_original_intact))


def _rebuild_tampered(
    name: str, version: int, place: str, problems: Sequence[str], is_original_intact: object
) -> ModelTamperedError:
    return ModelTamperedError(
        name, version, place, problems, is_original_intact=bool(is_original_intact)
    )


class PromotionConflictError(NbprodError):
    """The champion changed between the evidence and the promotion."""

    def __init__(
        self, name: str, version: int, alias: str, expected: int | None, found: int | None
    ) -> None:
        super().__init__(name, version, alias, expected, found)
        self.expected = expected
        self.found = found
        now = f"version {found}" if found is not None else "no version"
        then = f"version {expected}" if expected is not None else "no version"
        self.what = f"{name} version {version} was not promoted: {alias} moved meanwhile."
        self.why = (
            f"{name}@{alias} is {now} now; the decision was made against {then}, "
            "so its evidence says nothing about the one that serves."
        )
        self.do = f"Look at what happened, then evaluate against it: nbprod models show {name}"


class PromotionBlockedError(NbprodError):
    """A promotion was asked for although a gate blocks it."""

    def __init__(self, name: str, version: int, reasons: Sequence[str]) -> None:
        super().__init__(name, version, reasons)
        self.reasons = tuple(reasons)
        self.what = f"{name} version {version} was not promoted: a gate blocks it."
        self.why = "\n".join(reasons)
        self.do = (
            "Improve the model, or override with a reason that stays on record: "
            f'nbprod models promote {name} {version} --override --reason "what justifies it"'
        )


class AlreadyPromotedError(NbprodError):
    """The version already holds the alias."""

    def __init__(self, name: str, version: int, alias: str) -> None:
        super().__init__(name, version, alias)
        self.what = f"{name} version {version} is {alias} already; nothing was moved."
        self.why = "A version whose files are identical is never promoted anew."
        self.do = f"See what led to it: nbprod models show {name}"


class RollbackError(NbprodError):
    """There is nothing to roll back to."""

    def __init__(self, name: str, alias: str, reason: str) -> None:
        super().__init__(name, alias, reason)
        self.what = f"{name}@{alias} was not rolled back."
        self.why = reason
        self.do = f"See its history: nbprod models show {name}"


class ExportFolderError(NbprodError):
    """An export would write over something."""

    def __init__(self, folder: Path, reference: str, reason: str) -> None:
        super().__init__(folder, reference, reason)
        self.folder = folder
        self.what = f"{reference} was not exported to {folder}."
        self.why = reason
        other = shlex.quote(f"{folder}-2")
        self.do = f"Name a folder that does not exist yet: nbprod export {reference} {other}"


class MlflowError(NbprodError):
    """A model of an MLflow server could not be had."""


class MlflowAddressError(MlflowError, ValueError):
    """There is no address of an MLflow server, or one that is not served over HTTP."""

    def __init__(self, reference: str, address: str) -> None:
        super().__init__(reference, address)
        self.what = f"{reference} needs an MLflow server."
        self.why = (
            f"MLFLOW_TRACKING_URI is {address!r}; only http and https are read."
            if address
            else "MLFLOW_TRACKING_URI is not set."
        )
        self.do = "Say where it is: export MLFLOW_TRACKING_URI=http://127.0.0.1:5000"


class MlflowUnreachableError(MlflowError, ConnectionError):
    """The MLflow server does not answer."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)
        self.what = f"The MLflow server at {address} does not answer."
        self.why = reason
        self.do = f"Start it or correct MLFLOW_TRACKING_URI, then check: curl -f {address}/health"


class MlflowModelError(MlflowError, LookupError):
    """The MLflow server has no such model, alias or version, or will not show it."""

    def __init__(self, reference: str, address: str, reason: str, name: str) -> None:
        super().__init__(reference, address, reason, name)
        self.what = f"The MLflow server at {address} does not give {reference}."
        self.why = reason
        self.do = (
            f"See what it has: curl -s '{address}/api/2.0/mlflow/registered-models/get?name={name}'"
        )


class MlflowIncompleteError(MlflowError):
    """What the MLflow server holds under a version is not a whole model."""

    def __init__(self, reference: str, address: str, reason: str) -> None:
        super().__init__(reference, address, reason)
        self.what = f"{reference} was not taken from the MLflow server at {address}."
        self.why = reason
        self.do = (
            "Log the model again and move the alias, then check the server: "
            f"curl -f {address}/health"
        )
