"""What an error says to paste works where paths have spaces, as they do in home folders."""

import shlex
from pathlib import Path

import pytest

from nbprod.core import errors
from nbprod.core.errors import NbprodError

FOLDER = Path("/home/Ünal Doe/my team")
PLACE = str(FOLDER)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.WorkspaceExistsError(FOLDER), ["cd", PLACE, "&&", "nbprod", "templates", "list"]),
        (errors.NotAFolderError(FOLDER), ["nbprod", "init", f"{PLACE}-workspace"]),
        (errors.ReadOnlyError(PLACE), ["ls", "-ld", PLACE]),
        (errors.DiskFullError(PLACE), ["df", "-h", PLACE]),
        (errors.ArtifactDamagedError("a" * 64, PLACE, "b" * 64), ["rm", "-f", PLACE]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, NbprodError) else "",
)
def test_a_path_with_spaces_stays_one_word(error: NbprodError, words: list[str]) -> None:
    command = str(error).splitlines()[-1].rpartition(": ")[2]

    assert shlex.split(command) == words
