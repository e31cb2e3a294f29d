"""Errors of the kernels: what keeps processes from being warm."""

from collections.abc import Sequence
from pathlib import Path

from nbprod.core.errors.root import NbprodError


class RuntimeFolderError(NbprodError, OSError):
    """The folder in which zygotes and their clients meet cannot be used, or not safely."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(folder, problem)
        self.folder = folder
        self.problem = problem
        self.what = f"Nothing can be kept warm: {folder} cannot be used."
        self.why = problem
        self.do = "Name a folder of your own: export NBPROD_RUNTIME_DIR=$HOME/.cache/nbprod/run"


class NotKeptWarmError(NbprodError):
    """Nothing could be kept warm when it was asked for by name."""

    def __init__(self, role: str, reason: str) -> None:
        super().__init__(role, reason)
        self.role = role
        self.reason = reason
        self.what = f"Nothing is kept warm for {role}s."
        self.why = f"The reason: {reason}."
        self.do = "Runs go on as before, cold. See what else is wrong: nbprod doctor"


class UnknownZygoteError(NbprodError, LookupError):
    """No zygote has such a key, or more than one has."""

    def __init__(self, key: str, keys: Sequence[str]) -> None:
        super().__init__(key, keys)
        self.key = key
        self.what = f"No zygote, or more than one, is named {key!r}."
        self.why = f"There are: {', '.join(keys) or 'none'}."
        self.do = "See them: nbprod kernels list"
