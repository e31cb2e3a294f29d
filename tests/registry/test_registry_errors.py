import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import nbprod.core.errors as errors

RAISED = [
    errors.ModelReferenceError("a@", "No."),
    errors.ModelNameError("a model", "a/b", "No."),
    errors.UnknownModelError("a", ["b"]),
    errors.UnknownVersionError("a", "3", ["version 1"]),
    errors.ModelFormatError("m", [("a.pkl", "it is a pickle")], "rm a.pkl"),
    errors.ModelFolderError(Path("m"), "It is empty."),
    errors.ModelTamperedError("a", 1, "m", ["b was added"], is_original_intact=True),
    errors.ModelTamperedError("a", 1, "m", ["b was added"], is_original_intact=False),
    errors.PromotionConflictError("a", 2, "champion", None, 1),
    errors.PromotionBlockedError("a", 2, ["Too few."]),
    errors.AlreadyPromotedError("a", 2, "champion"),
    errors.RollbackError("a", "champion", "Nothing."),
    errors.ExportFolderError(Path("m"), "a@1", "It is not empty."),
    errors.MlflowAddressError("models:/a/1", ""),
    errors.MlflowUnreachableError("http://127.0.0.1:1", "Connection refused."),
    errors.MlflowModelError("models:/a/1", "http://127.0.0.1:1", "Not found.", "a"),
    errors.MlflowIncompleteError("models:/a/1", "http://127.0.0.1:1", "Half."),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_says_three_things_and_survives_a_process_border(
    error: errors.NbprodError,
) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert all([error.what, error.why, error.do])
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_a_long_list_of_wrong_files_is_cut_and_counted() -> None:
    error = errors.ModelFormatError("m", [(f"{n}.pkl", "pickle") for n in range(30)], "rm *.pkl")

    assert error.why.splitlines()[-2:] == ["  7.pkl: pickle", "  and 22 more files"]


SET_UP = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from model_files import model_folder, open_registry, safetensors
from nbprod.core.errors import NbprodError
from nbprod.registry.registry import Registry
from nbprod.store.artifacts import Artifacts

root, models = Path(sys.argv[1]), Path(sys.argv[2])
_, store = open_registry("sqlite:///store.db", root)
registry = Registry(store, Artifacts("artifacts", root=root), models)
folder = model_folder(root / "m")
(folder / "model.safetensors").write_bytes(safetensors(rows=20_000))
registry.register("router", folder, actor="ann")
{prepare}
try:
    registry.path("router@1")
except NbprodError as error:
    print(error)
print(sorted(path.name for path in models.rglob("*")))
"""


READ_ONLY = """
Registry(store, Artifacts("artifacts", root=root), root / "elsewhere").path("router@1")
models.mkdir(mode=0o555)
drop_privileges()
"""


def code(prepare: str = "") -> str:
    return SET_UP.format(here=str(Path(__file__).parent), prepare=prepare)


def test_a_full_disk_leaves_no_half_made_folder(
    python_on_small_disk: Callable[..., object], tmp_path: Path
) -> None:
    done = python_on_small_disk(code(), tmp_path, "/mnt/models", kib=128)

    assert done.stdout == (  # type: ignore[attr-defined]
        "/mnt/models/router could not be written: the disk is full.\n"
        "What was being written was taken back; what was there before is untouched.\n"
        "Make room and try again: df -h /mnt/models/router\n"
        "['router']\n"
    ), done.stderr  # type: ignore[attr-defined]


def test_a_read_only_folder_is_said_to_be_one(
    unprivileged_python: Callable[..., object], public_folder: Path
) -> None:
    models = public_folder / "models"

    done = unprivileged_python(code(READ_ONLY), public_folder, models)

    assert done.stdout == (  # type: ignore[attr-defined]
        f"{models}/router cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {models}\n"
        "[]\n"
    ), done.stderr  # type: ignore[attr-defined]
