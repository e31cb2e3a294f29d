"""A folder that may not be written, and a disk that is full: a clear error, nothing half-done."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.store.artifacts import Artifacts
from nbprod.store.store import Store

if TYPE_CHECKING:
    import subprocess

Python = Callable[..., "subprocess.CompletedProcess[str]"]

PRELUDE = """
import sys, tempfile
from datetime import timedelta
from pathlib import Path
from nbprod.core.errors import NbprodError
from nbprod.core.runs import Lineage, Run
from nbprod.store.artifacts import Artifacts
from nbprod.store.store import Store

def open_store(root):
    return Store.open("sqlite:///.nbprod/store.db", root=root)

def insert(store, id):
    run = Run(id=id, template="train" * 1000, lineage=Lineage(template_digest="a" * 64))
    store.runs.insert(run, owner="host/1/token", lease=timedelta(seconds=30))

def put(root, content, name="model.bin"):
    (root / name).write_bytes(content)
    return Artifacts(".nbprod/artifacts", root=root).put_file(root / name)

def said(action, *arguments):
    try:
        action(*arguments)
    except NbprodError as error:
        print(f"{type(error).__name__}: {error}")
    else:
        print("done")
"""

READ_ONLY = """
with tempfile.TemporaryDirectory() as elsewhere, open_store(Path(elsewhere)) as store:
    insert(store, "20261121-120000-aaaaaa")  # imports everything
    put(Path(elsewhere), b"weights")
drop_privileges()
root = Path(sys.argv[1])
said(open_store, root)
said(Artifacts(".nbprod/artifacts", root=root).put_file, root / "notes.txt")
"""

FULL = """
def fill(folder):
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        try:
            while ballast.write(b"x" * 512):
                pass
        except OSError:
            pass

def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

root = Path("/mnt")
"""

FULL_BEFORE_CREATION = """
fill(root)
said(open_store, root)
print(files(root))
(root / "ballast").unlink()
said(open_store, root)
"""

FULL_BEFORE_INSERT = """
store = open_store(root)
insert(store, "20261121-120000-aaaaaa")
fill(root)
inserted = 0
try:
    for number in range(1000):  # the log has pages left over for the first ones
        insert(store, f"20261121-130000-{number:06x}")
        inserted += 1
except NbprodError as error:
    print(f"{type(error).__name__}: {error}")
print(len(store.runs.list()) - inserted)
(root / "ballast").unlink()
insert(store, "20261121-140000-aaaaaa")
print(len(store.runs.list()) - inserted)
with store.read() as connection:
    print(connection.exec_driver_sql("PRAGMA integrity_check").scalar())
"""

FULL_BEFORE_ARTIFACT = """
kept = put(root, b"first", name="first")
(root / "model.bin").write_bytes(b"x" * 400_000)
said(put, root, b"x" * 400_000)
print(files(root / ".nbprod" / "artifacts") == [f"{kept[0][:2]}/{kept[0]}"])
"""


def test_a_read_only_workspace_is_named_before_anything_is_made(
    public_folder: Path, unprivileged_python: Python
) -> None:
    (public_folder / "notes.txt").write_text("notes")

    done = unprivileged_python(PRELUDE + READ_ONLY, public_folder)

    assert done.stdout == (
        f"ReadOnlyError: {public_folder}/.nbprod cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {public_folder}\n"
        f"ReadOnlyError: {public_folder}/.nbprod/artifacts cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {public_folder}\n"
    ), done.stderr
    assert [path.name for path in public_folder.iterdir()] == ["notes.txt"]


def test_a_store_that_may_not_be_written_is_named(
    public_folder: Path, unprivileged_python: Python
) -> None:
    Store.open("sqlite:///.nbprod/store.db", root=public_folder).close()
    (public_folder / "notes.txt").write_text("notes")
    Artifacts(".nbprod/artifacts", root=public_folder).put_file(public_folder / "notes.txt")
    (public_folder / "notes.txt").write_text("other notes")
    for path in (public_folder, *public_folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)

    done = unprivileged_python(PRELUDE + READ_ONLY, public_folder)

    database = public_folder / ".nbprod" / "store.db"
    assert done.stdout == (
        f"ReadOnlyError: {database} cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {database}\n"
        f"ReadOnlyError: {public_folder}/.nbprod/artifacts cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {public_folder}/.nbprod/artifacts\n"
    ), done.stderr


def test_a_full_disk_leaves_no_half_made_store(python_on_small_disk: Python) -> None:
    done = python_on_small_disk(PRELUDE + FULL + FULL_BEFORE_CREATION, kib=2048)

    *error, files, second = done.stdout.splitlines()
    assert error == [
        "DiskFullError: /mnt/.nbprod/store.db could not be written: the disk is full.",
        "What was being written was taken back; what was there before is untouched.",
        "Make room and try again: df -h /mnt/.nbprod",
    ], done.stdout + done.stderr
    assert (files, second) == ("['.nbprod/store.db.lock', 'ballast']", "done")


def test_a_full_disk_takes_back_what_was_being_written(python_on_small_disk: Python) -> None:
    done = python_on_small_disk(PRELUDE + FULL + FULL_BEFORE_INSERT, kib=2048)

    assert done.stdout == (
        "DiskFullError: /mnt/.nbprod/store.db could not be written: the disk is full.\n"
        "What was being written was taken back; what was there before is untouched.\n"
        "Make room and try again: df -h /mnt/.nbprod\n"
        "1\n"
        "2\n"
        "ok\n"
    ), done.stderr


def test_a_full_disk_leaves_no_half_artifact(python_on_small_disk: Python) -> None:
    done = python_on_small_disk(PRELUDE + FULL + FULL_BEFORE_ARTIFACT, kib=600)

    assert done.stdout == (
        "DiskFullError: /mnt/.nbprod/artifacts could not be written: the disk is full.\n"
        "What was being written was taken back; what was there before is untouched.\n"
        "Make room and try again: df -h /mnt/.nbprod/artifacts\n"
        "True\n"
    ), done.stderr
