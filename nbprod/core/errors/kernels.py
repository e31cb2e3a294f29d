"""Errors of the kernels: what keeps processes from being warm."""

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
