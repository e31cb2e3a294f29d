"""What a run's lineage says of the checkout and of the installed packages, looked up once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nbprod.core.plugins import installed
from nbprod.workspace.lineage import GitLook, packages


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@team", *arguments]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def look(folder: Path) -> tuple[str | None, bool | None]:
    with GitLook(folder) as found:
        return found.result()


def test_the_commit_and_whether_tracked_files_differ_from_it(tmp_path: Path) -> None:
    inside = tmp_path / "team" / "notebooks"
    inside.mkdir(parents=True)
    nowhere = look(inside)
    git(tmp_path, "init", "-q")
    empty = look(inside)
    (tmp_path / "kept.txt").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    commit = git(tmp_path, "rev-parse", "HEAD")
    clean = look(inside)
    (inside / "new.txt").write_text("git does not know it")
    untracked = look(inside)
    (tmp_path / "kept.txt").write_text("2")
    changed = look(inside)

    assert nowhere == empty == (None, None)
    assert clean == untracked == (commit, False)
    assert changed == (commit, True)


def test_a_machine_without_git_knows_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert look(tmp_path) == (None, None)


def test_a_look_that_nobody_waits_for_leaves_no_process(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")

    with pytest.raises(KeyboardInterrupt), GitLook(tmp_path) as found:
        raise KeyboardInterrupt

    assert found._process is not None
    assert found._process.returncode is not None


def test_a_package_installed_while_the_process_lives_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    os.utime(tmp_path, (0, 0))  # a file system's clock moves on in steps of milliseconds
    before, gates = packages(), installed("nbprod.gates")
    again = packages()
    folder = tmp_path / "router_kit-2.1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: router-kit\nVersion: 2.1\n")
    (folder / "entry_points.txt").write_text("[nbprod.gates]\nown = router_kit:gate\n")

    assert again is before
    assert installed("nbprod.gates").keys() == gates.keys() | {"own"}
    assert set(packages()) == {*before, "router-kit==2.1"}
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(tmp_path)])
    assert packages() == before
