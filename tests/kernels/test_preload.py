"""What a zygote imports ahead, what it goes without, and when it refuses to fork."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from zygote_forks import Forks

from nbprod.kernels import safety
from nbprod.kernels.client import NotWarmError
from nbprod.kernels.culprits import CULPRIT_SECONDS, Note
from nbprod.kernels.fidelity import split_arguments, why_not_forked
from nbprod.kernels.key import IMPORT_TIME, import_time, zygote_key
from nbprod.kernels.protocol import Fork

MODULES = {
    "threaded": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(600,), daemon=True, name='ticker').start()\n",
    "parallel": "import ctypes, ctypes.util\n"
    "libc = ctypes.CDLL(None)\n"
    "thread = ctypes.c_void_p()\n"
    "pause = ctypes.cast(libc.pause, ctypes.c_void_p)\n"
    "libc.pthread_create(ctypes.byref(thread), None, pause, None)\n",
    "noisy": "print('Thank you for importing noisy')\n",
    "crashing": "import os; os._exit(3)\n",
    "segfaulting": "import ctypes; ctypes.string_at(0)\n",
    "leaving": "raise SystemExit(0)\n",
    "raising": "raise RuntimeError('no licence')\n",
    "asking": "from IPython import get_ipython\n"
    "shell = get_ipython()\n"
    "LOOKS = [type(shell).__name__, shell.__class__.__module__, 'IPKernelApp' in shell.config]\n"
    "shell.events.register('post_execute', lambda: calls.append('cell'))\n"
    "calls = []\n",
    "wanting": "from IPython import get_ipython; get_ipython().register_magics(object)\n",
    "drawing": "import random\nown, fixed = random.Random(), random.Random(7)\n",
    "keeping": "import tempfile\nfolder = tempfile.TemporaryDirectory()\n",
}


@pytest.fixture
def forks(runtime: Path, tmp_path: Path) -> Forks:
    return having(tmp_path, "probe")


def having(folder: Path, *modules: str) -> Forks:
    forks = Forks(folder, preload=modules, spares=0)
    for name, code in MODULES.items():
        (folder / "modules" / f"{name}.py").write_text(code)
    return forks


@pytest.mark.usefixtures("runtime")
def test_a_module_that_is_missing_fails_or_leaves_is_skipped_with_the_reason(
    tmp_path: Path,
) -> None:
    forks = having(tmp_path, "absent", "raising", "leaving", "wanting", "json")

    facts = forks.state()

    assert facts["failures"] == {
        "absent": "ModuleNotFoundError: No module named 'absent'",
        "raising": "RuntimeError: no licence",
        "leaving": "SystemExit: 0",
        "wanting": "AttributeError: 'ZMQInteractiveShell' object has no attribute "
        "'register_magics'",
    }
    assert "json" in facts["preload"]
    assert facts["is_safe"]
    assert forks.run(forks.request("leave", "pass"))[0] == 5


@pytest.mark.usefixtures("runtime")
def test_modules_that_end_the_zygote_are_left_out_by_the_next(tmp_path: Path) -> None:
    forks = having(tmp_path, "crashing", "noisy", "segfaulting", "probe")

    facts = forks.state()

    ended = "the zygote ended while it was imported, the last time"
    assert facts["failures"] == {
        "crashing": ended,
        "segfaulting": ended,
        "noisy": "its import prints something, which each kernel is to see",
    }
    assert forks.run(forks.request("leave", "import noisy"))[:2] == (
        5,
        "Thank you for importing noisy\natexit\n",
    )


def test_a_module_is_left_out_for_an_hour(tmp_path: Path) -> None:
    path = tmp_path / "key.importing"
    Note(path).begin("crashing")
    assert list(Note(path).culprits) == ["crashing"]

    then = time.time() - CULPRIT_SECONDS - 1
    os.utime(path, (then, then))

    assert Note(path).culprits == {}


@pytest.mark.usefixtures("runtime")
@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("threaded", "importing threaded started a thread (ticker), which a fork"),
        ("parallel", "importing parallel started a thread (python"),
    ],
)
def test_a_module_that_starts_threads_makes_every_process_cold_and_is_named(
    tmp_path: Path, module: str, reason: str
) -> None:
    forks = having(tmp_path, "probe", module)

    with pytest.raises(NotWarmError) as caught:
        forks.ask(forks.request("leave", "pass"))

    assert caught.value.reason.startswith(reason)
    facts = forks.state()
    assert (facts["is_safe"], facts["reason"]) == (False, caught.value.reason)
    assert facts["refused"] == {caught.value.reason: 1}


@pytest.mark.usefixtures("runtime")
def test_numpy_and_pyarrow_have_threads_that_know_of_forks(tmp_path: Path) -> None:
    forks = having(tmp_path, "numpy", "pyarrow", "probe")
    line = """
import numpy, pyarrow
ones = numpy.ones((300, 300))
print((ones @ ones).sum(), pyarrow.array([1, 2]).to_pylist())
"""

    found = [forks.run(forks.request("leave", line))[:2] for _ in range(3)]

    assert found == [(5, "27000000.0 [1, 2]\natexit\n")] * 3
    assert forks.state()["is_safe"]


def test_an_open_gpu_is_a_reason_and_names_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "nvidia0"
    device.touch()
    monkeypatch.setattr(safety, "_GPUS", (str(device),))

    with device.open():
        opened = safety.gpu_devices()
        by_module = safety.why_unsafe({}, "torchy")
        by_somebody = safety.why_unsafe({}, "")

    assert opened == [str(device)]
    assert by_module == ("importing torchy initialised a GPU, which a forked process could not use")
    assert by_somebody == (
        f"a GPU was initialised ({device} is open), which a forked process could not use"
    )


@pytest.mark.usefixtures("runtime")
def test_modules_find_the_looks_of_a_notebook_and_their_callbacks_its_shell(
    tmp_path: Path,
) -> None:
    forks = having(tmp_path, "asking")
    kernel = forks.kernel()

    looks = kernel.says("import asking; print(asking.LOOKS)")
    calls = kernel.says("print(asking.calls, asking.get_ipython() is get_ipython())")

    assert looks == "['ZMQInteractiveShell', 'ipykernel.zmqshell', True]"
    assert calls == "['cell'] True"
    assert kernel.end() == 0


@pytest.mark.usefixtures("runtime")
def test_generators_of_modules_differ_unless_they_were_given_a_seed(tmp_path: Path) -> None:
    forks = having(tmp_path, "drawing", "probe")
    line = "import drawing; print(drawing.own.random(), drawing.fixed.random())"

    drawn = [forks.run(forks.request("leave", line))[1].split()[:2] for _ in range(3)]

    own, fixed = zip(*drawn, strict=True)
    assert (len(set(own)), len(set(fixed))) == (3, 1)


@pytest.mark.usefixtures("runtime")
def test_what_a_module_made_for_itself_outlives_each_fork(tmp_path: Path) -> None:
    forks = having(tmp_path, "keeping", "probe")
    line = "import keeping; print(os.path.isdir(keeping.folder.name))"

    found = [forks.run(forks.request("leave", line))[1] for _ in range(2)]

    assert found == ["True\natexit\n"] * 2


def key(**changes: object) -> str:
    given = {"python": sys.executable, "preload": ("json",), "environment": {"HOME": "/root"}}
    return zygote_key("kernel", **(given | changes))  # type: ignore[arg-type]


def test_a_key_is_the_same_for_processes_that_a_zygote_can_stand_in_for() -> None:
    others = {"PATH": "/elsewhere", "CUDA_VISIBLE_DEVICES": "1", "TZ": "Asia/Tokyo", "NBPROD_X": ""}

    assert key() == key(environment={"HOME": "/root", **others})
    assert len(key()) == 20


@pytest.mark.parametrize(
    "changes",
    [
        {"preload": ("json", "csv")},
        {"preload": None},
        {"python": "/usr/bin/env"},
        {"environment": {"HOME": "/elsewhere"}},
        {"environment": {"HOME": "/root", "OMP_NUM_THREADS": "1"}},
        {"environment": {"HOME": "/root", "HF_HUB_OFFLINE": "1"}},
        {"environment": {"HOME": "/root", "PYTHONPATH": "/x"}},
        {"environment": {"HOME": "/root", "PYTEST_CURRENT_TEST": "x"}},
    ],
    ids=str,
)
def test_a_key_differs_where_a_process_would(changes: dict[str, object]) -> None:
    assert key() != key(**changes)


def test_a_key_differs_in_another_session_of_limits() -> None:
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\n"
        "from nbprod.kernels.key import zygote_key\n"
        "print(zygote_key('kernel', python=sys.executable, preload=('json',),"
        " environment={'HOME': '/root'}))\n"
    )

    limited = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert limited.stdout.strip() not in ("", key())


def test_a_package_that_is_installed_changes_the_key(tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    packages = environment / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    python = environment / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    before = key(python=str(python))

    (packages / "new-1.0.dist-info").mkdir()

    assert key(python=str(python)) != before


def test_import_time_variables_are_told_by_family() -> None:
    found = import_time({"HF_HOME": "/x", "OMP_NUM_THREADS": "2", "PATH": "/", "MY_OMP_X": "1"})

    assert found == {"HF_HOME": "/x", "OMP_NUM_THREADS": "2"}
    assert len(set(IMPORT_TIME)) == len(IMPORT_TIME)


@pytest.mark.parametrize(
    ("made", "is_shadow"),
    [
        ("pandas.py", True),
        ("pandas/__init__.py", True),
        ("pandas.cpython-311-x86_64-linux-gnu.so", True),
        ("pandas/data.csv", False),
        ("pandas.csv", False),
        ("numbers.py", False),
    ],
)
def test_what_a_folder_has_of_the_name_of_a_module(
    tmp_path: Path,
    made: str,
    is_shadow: bool,  # noqa: FBT001 - a table's column
) -> None:
    path = tmp_path / made
    path.parent.mkdir(exist_ok=True)
    path.touch()
    request = Fork(target="kernel", argv=(), environment={}, cwd=str(tmp_path), umask=0)

    reason = why_not_forked(request, ["numpy", "pandas"])

    assert bool(reason) == is_shadow


def test_a_connection_file_is_told_from_the_other_arguments() -> None:
    assert split_arguments(["-f", "x.json", "--a=1"]) == ("x.json", ("--a=1",))
    assert split_arguments(["--a=1", "-f", "x.json"]) == ("x.json", ("--a=1",))
    assert split_arguments(["--a=1"]) == ("", ("--a=1",))
    assert split_arguments(["-f"]) == ("", ("-f",))
