"""What a test's kernels came from."""

from pathlib import Path

from nbprod.kernels.starts import Start, StartKind, starts


class Starts:
    """The ledger of a runtime folder, as far as it is of kernels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._begun = len(self._all())

    def found(self) -> list[Start]:
        """Return the starts since the beginning of the test, oldest first."""
        return self._all()[self._begun :]

    def kinds(self) -> set[StartKind]:
        """Return where they came from."""
        return {start.kind for start in self.found()}

    def _all(self) -> list[Start]:
        return [start for start in starts(self.folder) if start.kind is not StartKind.ZYGOTE]
