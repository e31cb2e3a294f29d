"""Places that do not let nbprod work: nothing may be written, no room, not ours, not TOML."""

import os
import re
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import NBPROD, Cli, Done, make_workspace, write_notebook
from tests.conftest import AS_NOBODY

#: The interpreter may lie in a home that "nobody" cannot enter: it may read all, and write nothing.
READ_ALL = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--")
UNPRIVILEGED = (*AS_NOBODY[:-1], *READ_ALL) if os.geteuid() == 0 else ()


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


def read_only(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_a_read_only_workspace_is_refused_before_anything_is_made(
    public_folder: Path, tmp_path: Path
) -> None:
    team = make_workspace(public_folder / "team")
    write_notebook(team.folder / "notebooks" / "a.ipynb", "print('a')")
    read_only(team.folder)
    before = tree(team.folder)

    done = [
        team(*words, before=UNPRIVILEGED)
        for words in (("run", "notebooks/a.ipynb"), ("runs", "list"), ("templates", "list"))
    ]

    refused = (
        f"{team.folder}/.nbprod cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {team.folder}\n"
    )
    assert done[:2] == [Done(1, "", refused), Done(1, "", refused)]
    assert done[2].code == 0  # reading what lies there needs no store
    assert tree(team.folder) == before


def test_a_workspace_that_became_read_only_starts_no_run(public_folder: Path) -> None:
    team = make_workspace(public_folder / "team")
    path = write_notebook(team.folder / "notebooks" / "a.ipynb", "print('a')")
    team.ok("run", path, "--quiet")
    read_only(team.folder)
    before = tree(team.folder)

    done = team("run", path, before=UNPRIVILEGED)

    assert done == Done(
        1,
        "",
        f"{team.folder}/.nbprod/store.db cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {team.folder}/.nbprod/store.db\n",
    )
    assert tree(team.folder) == before


def test_init_where_nothing_may_be_written(public_folder: Path) -> None:
    read_only(public_folder)

    done = Cli(public_folder)("init", "team", before=UNPRIVILEGED)

    assert done == Done(
        1,
        "",
        f"The system refused: Permission denied ({public_folder}/team).\n"
        "Nothing was left half-done; what is written is in the store.\n"
        "See disk, permissions and services: nbprod doctor\n",
    )
    assert list(public_folder.iterdir()) == []


ON_A_SMALL_DISK = """
mount -t tmpfs -o size={size}k,nr_inodes=2000 tmpfs /mnt && cp -r {team} /mnt/team && cd /mnt/team
{script}
"""


def on_a_small_disk(team: Cli, script: str, *, size: int) -> Done:
    """Run a shell script in a copy of the workspace on a disk of `size` KiB."""
    text = ON_A_SMALL_DISK.format(size=size, team=team.folder, script=script)
    done = subprocess.run(
        ["unshare", "-Urm", "bash", "-c", text.replace("nbprod ", f"{NBPROD} ")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_full_disk_starts_no_run_and_harms_none(team: Cli) -> None:
    write_notebook(team.folder / "notebooks" / "a.ipynb", "print('a')")
    script = """
    nbprod run notebooks/a.ipynb --quiet > first
    head -c 9M /dev/zero > ballast 2> /dev/null
    nbprod run notebooks/a.ipynb --quiet; echo "exit $?"
    rm ballast; ls .nbprod/runs | wc -l
    nbprod runs list --json | grep '"status"'
    """

    done = on_a_small_disk(team, script, size=4096)

    assert done.out == 'exit 1\n1\n    "status": "succeeded",\n'
    assert done.err == (
        "/mnt/team/.nbprod/store.db could not be written: the disk is full.\n"
        "What was being written was taken back; what was there before is untouched.\n"
        "Make room and try again: df -h /mnt/team/.nbprod\n"
    )


def test_a_disk_that_fills_up_in_a_run_fails_it_and_says_so(team: Cli) -> None:
    write_notebook(
        team.folder / "notebooks" / "fill.ipynb",
        "import nbprod; nbprod.glue('before', 1)",
        """
        size = 65536
        with open("/mnt/ballast", "wb", buffering=0) as ballast:
            while size:
                try:
                    ballast.write(b"x" * size)
                except OSError:
                    size //= 2
        print("x" * 1_000_000)
        """,
        "print('never')",
    )
    script = """
    nbprod run notebooks/fill.ipynb --quiet > /dev/null; echo "exit $?"
    rm /mnt/ballast
    nbprod runs show latest --json | grep -E '^  "(status|reason)"'
    nbprod runs show latest --json | grep -A 5 '"before"' | grep '"value"'
    """

    done = on_a_small_disk(team, script, size=6144)

    lines = done.out.splitlines()
    assert done.err.splitlines()[1].startswith("The disk of /mnt/team/.nbprod/runs/")
    assert re.sub(r"runs/[^ ]*/1", "runs/ID/1", lines.pop(2)) == (
        '  "reason": "The disk of /mnt/team/.nbprod/runs/ID/1 is full: '
        'the run ended while cell 2 was running.",'
    )
    assert lines == ["exit 1", '  "status": "failed",', '      "value": 1,']


def test_a_store_of_a_newer_version_is_left_alone(team: Cli) -> None:
    path = write_notebook(team.folder / "notebooks" / "a.ipynb", "print('a')")
    team.ok("runs", "list")
    database = team.folder / ".nbprod" / "store.db"
    with sqlite3.connect(database) as connection:
        known = connection.execute("SELECT version_num FROM nbprod_revision").fetchone()[0]
        connection.execute("UPDATE nbprod_revision SET version_num = '9999_later'")
    connection.close()
    before = database.read_bytes()

    done = [team("run", path), team("runs", "list"), team("jobs", "list")]

    refused = (
        f"The store {database} was written by a newer nbprod.\n"
        f"It is at revision 9999_later; this nbprod knows revisions up to {known}.\n"
        "Nothing was changed. Upgrade: pip install --upgrade nbprod\n"
    )
    assert done[:2] == [Done(1, "", refused), Done(1, "", refused)]
    assert database.read_bytes() == before
    assert not (team.folder / ".nbprod" / "runs").exists()


@pytest.mark.parametrize(
    ("text", "at", "problem"),
    [
        (
            "[workspace\n",
            ", line 1",
            "It is not TOML: Expected ']' at the end of a table "
            "declaration (at line 1, column 11).",
        ),
        (
            '[workspace]\nname = "team"\nstores = "x"\n',
            ", line 3",
            "There is no setting 'workspace.stores'; did you mean 'store'?",
        ),
        ("", "", "workspace: Field required."),
    ],
    ids=["no TOML", "unknown key", "empty"],
)
def test_a_malformed_nbprod_toml_stops_every_command(
    team: Cli, text: str, at: str, problem: str
) -> None:
    path = team.folder / "nbprod.toml"
    path.write_text(text)

    done = team("runs", "list")

    assert done == Done(
        2,
        "",
        f"{path}{at} cannot be used.\n{problem}\nCorrect the file, then check it: nbprod doctor\n",
    )
    assert not (team.folder / ".nbprod").exists()
    doctor = team("doctor")
    assert doctor.code == 1
    assert f"✗ workspace   {path}{at} cannot be used. {problem}\n" in doctor.out
