"""Too much memory is noticed, by a control group or by looking, and told from the machine's end."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbprod.runners import cgroups
from nbprod.runners.cgroups import MemoryGroup
from nbprod.runners.family import Family
from nbprod.runners.memory import MemoryLimit, machine_kills, machine_sentence
from tests.runners.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")

MB = 1_000_000
TAKE = "x = bytearray({mb}_000_000); x[::4096] = bytes(len(x[::4096]))"


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    Family(worker.pid).kill()
    worker.end()


@pytest.fixture
def unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nobody may make a control group."""
    monkeypatch.setattr(cgroups, "ROOTS", ())


@pytest.mark.usefixtures("unsupported")
def test_what_is_too_much_is_noticed(worker: Worker) -> None:
    limit, family = MemoryLimit(200 * MB, name="x"), Family(worker.pid)
    limit.hold(worker.pid)

    before = limit.exceeded(family.members)
    worker.does(TAKE.format(mb=150))
    within = limit.exceeded(family.members)
    worker.does(TAKE.format(mb=250).replace("x", "y"))
    beyond = limit.exceeded(family.members)

    assert (before, within, beyond) == (False, False, True)
    assert 400 * MB < limit.peak_bytes < 430 * MB
    assert limit.sentence("while cell 2 was running") == (
        f"The run used more memory than its limit of 200.0 MB (it held "
        f"{limit.peak_bytes / 1e6:.1f} MB); it ended while cell 2 was running."
    )


@pytest.mark.usefixtures("unsupported")
def test_pages_that_children_share_do_not_count_again(worker: Worker) -> None:
    limit, family = MemoryLimit(300 * MB, name="x"), Family(worker.pid)
    worker.does(TAKE.format(mb=200))
    child = """
import os, time
if not os.fork():
    {}
    time.sleep(600)
"""
    worker.does(child.format("pass") * 4)
    sharing = limit.exceeded(family.members)
    sizes = sum(process.rss_bytes for process in family.members())
    # in a child, where it is not the kernel that grows; it says so when it has
    worker.does("read, write = os.pipe()")
    own = TAKE.format(mb=150).replace("x", "y") + "; os.write(write, b'.')"
    worker.does(child.format(own) + "os.read(read, 1)")
    grown = limit.exceeded(family.members)

    assert sizes > 800 * MB
    assert (sharing, grown) == (False, True)


def group_files(folder: Path, *, control: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text("cpu memory pids\n")
    (folder / "cgroup.subtree_control").write_text(control)
    (folder / "cgroup.procs").write_text("")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ordinary files where Linux has a tree of control groups; ours is user/app/shell."""
    root = tmp_path / "cgroup"
    own = tmp_path / "own"
    own.write_text("4:memory:/elsewhere\n0::/user/app/shell\n")
    monkeypatch.setattr(cgroups, "ROOTS", (root,))
    monkeypatch.setattr(cgroups, "OWN", own)
    group_files(root, control="memory")
    group_files(root / "user", control="memory pids")
    group_files(root / "user/app", control="cpu memory")
    group_files(root / "user/app/shell", control="")
    return root


def test_a_group_is_made_beside_our_own_with_the_limit_and_ends_as_one(tree: Path) -> None:
    group = MemoryGroup.make("run-1", limit_bytes=5 * MB)

    assert group is not None
    assert group.folder == tree / "user/app/nbprod-run-1"
    found = {path.name: path.read_text() for path in group.folder.iterdir()}
    assert found == {"memory.max": "5000000", "memory.oom.group": "1", "memory.swap.max": "0"}


def test_a_group_is_made_no_higher_than_processes_may_be_moved(tree: Path) -> None:
    (tree / "user/app/cgroup.subtree_control").write_text("cpu")
    before = MemoryGroup.make("a", limit_bytes=MB)
    (tree / "user/cgroup.procs").chmod(0o444)
    may_write = os.access(tree / "user/cgroup.procs", os.W_OK)  # root may, whatever the mode

    after = MemoryGroup.make("b", limit_bytes=MB)

    assert before is not None
    assert before.folder == tree / "user/nbprod-a"
    assert (after is not None) == may_write


@pytest.mark.parametrize("own", ["", "0::/gone\n", "4:memory:/elsewhere\n"])
def test_without_a_group_of_version_2_there_is_none(tree: Path, own: str) -> None:
    cgroups.OWN.write_text(own)

    assert MemoryGroup.make("a", limit_bytes=MB) is None


def test_a_group_that_takes_no_limit_is_taken_away_again(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(MemoryGroup, "_write", refuse)

    assert MemoryGroup.make("a", limit_bytes=MB) is None
    assert sorted(tree.rglob("nbprod-*")) == []


def test_a_kill_by_the_group_is_too_much_even_where_nobody_saw_it_grow(tree: Path) -> None:
    limit = MemoryLimit(5 * MB, name="run-1")
    limit.hold(os.getpid())
    folder = tree / f"user/app/nbprod-run-1-{os.getpid()}"
    family = Family(os.getpid())

    before = limit.exceeded(family.members)  # though this very process is larger than 5 MB
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 7\noom 1\noom_kill 3\n")
    (folder / "memory.peak").write_text("5000000\n")

    assert (folder / "cgroup.procs").read_text() == str(os.getpid())
    assert (before, limit.exceeded(family.members)) == (False, True)
    assert limit.sentence("between two cells") == (
        "The run used more memory than its limit of 5.0 MB; it ended between two cells."
    )


def test_a_kill_for_want_of_the_machines_memory_is_not_the_groups(tree: Path) -> None:
    limit = MemoryLimit(5 * MB, name="run-1")
    limit.hold(os.getpid())
    folder = tree / f"user/app/nbprod-run-1-{os.getpid()}"

    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 3\n")

    assert not limit.exceeded(Family(os.getpid()).members)


def test_a_group_that_is_still_used_does_not_keep_the_others(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_ABANDONED", -1.0)
    for number in range(5):
        (tree / f"user/app/nbprod-left-{number}").mkdir()
        group_files(tree / f"user/app/nbprod-used-{number}", control="")

    group = MemoryGroup.make("run-1", limit_bytes=MB)

    assert group is not None
    assert sorted(path.name for path in tree.rglob("nbprod-*")) == [
        "nbprod-run-1",
        *(f"nbprod-used-{number}" for number in range(5)),
    ]


def _group_here() -> MemoryGroup | None:
    return MemoryGroup.make(f"test-{os.getpid()}", limit_bytes=100 * MB)


def test_linux_holds_a_group_to_its_limit_and_ends_it_whole() -> None:
    group = _group_here()
    if group is None:
        pytest.skip("no control group of version 2 can be made here")
    worker = Worker()
    try:
        assert group.add(worker.pid)
        worker.does("import os, time\nif not os.fork(): time.sleep(600)")
        family = Family(worker.pid)
        child = [process.pid for process in family.members() if process.pid != worker.pid]
        before = group.kills()

        with pytest.raises(AssertionError, match="the worker ended"):
            worker.does(TAKE.format(mb=150))

        assert worker.process.wait(timeout=10) == -signal.SIGKILL
        assert before == 0
        assert group.kills() >= 1
        assert group.peak() in (0, *range(99 * MB, 101 * MB))
        assert len(child) == 1
        assert all(process.is_over for process in family.members())
    finally:
        worker.end()
        group.remove()
    assert not group.folder.exists()


def test_what_linux_killed_for_want_of_memory_is_counted_and_said() -> None:
    assert machine_kills() >= 0
    assert machine_sentence("The kernel", " while cell 3 was running", held_bytes=7_900 * MB) == (
        "The kernel was killed while cell 3 was running because the machine ran out of memory; "
        "it held 7.9 GB."
    )
