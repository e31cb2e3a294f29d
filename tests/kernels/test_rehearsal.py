"""A spare's first answer leaves nothing behind; where it fails, the spare is as good as without."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tornado.ioloop import IOLoop
from zygote_forks import Forks, until

from nbprod.kernels import places, rehearsal

#: Ports at which nobody answers.
NOBODY = {"ip": "127.0.0.1", "key": "secret", "shell_port": 1, "iopub_port": 1}


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[IOLoop]:
    """The event loop of this thread."""
    found = IOLoop(make_current=False)
    monkeypatch.setattr(IOLoop, "current", lambda: found)
    yield found
    found.close(all_fds=True)


def test_an_answer_that_comes_too_late_does_not_end_the_kernel(
    loop: IOLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "PATIENCE", 0.1)
    shell = SimpleNamespace(
        displayhook=SimpleNamespace(do_full_cache=0),
        last_execution_succeeded=True,
        last_execution_result=None,
    )
    seen: list[int] = []

    rehearsal.rehearse(SimpleNamespace(shell=shell), NOBODY)
    loop.call_later(0.2, seen.append, 1)
    loop.call_later(0.3, loop.stop)
    loop.start()

    assert seen == [1]


@pytest.fixture
def forks(runtime: Path, tmp_path: Path) -> Forks:
    return Forks(tmp_path, spares=2)


def ready(forks: Forks) -> None:
    """Wait for a spare."""
    until(lambda: forks.state()["spares"]["count"])


def test_a_spare_that_keeps_no_results_is_one_as_well(forks: Forks) -> None:
    extra = "--InteractiveShell.cache_size=0"
    ready(forks)

    kernels = [forks.kernel(extra) for _ in range(2)]
    ready(forks)
    kernels.append(forks.kernel(extra))

    assert [kernel.process.is_spare for kernel in kernels] == [False, False, True]
    assert kernels[2].says("print(get_ipython().displayhook.cache_size)") == "0"
    assert [kernel.end() for kernel in kernels] == [0, 0, 0]


def test_what_a_kernels_arguments_had_it_execute_is_its_last_result_in_a_spare_too(
    forks: Forks,
) -> None:
    extra = "--IPKernelApp.code_to_run=begun = 1"
    look = "print(get_ipython().last_execution_result.info.raw_cell)"
    ready(forks)

    kernels = [forks.kernel(extra) for _ in range(2)]
    ready(forks)
    kernels.append(forks.kernel(extra))

    assert kernels[2].process.is_spare
    assert [kernel.says(look) for kernel in kernels] == ["begun = 1"] * 3
    assert [kernel.end() for kernel in kernels] == [0, 0, 0]


UNREADY = """
from nbprod.kernels import spare_child

def rehearse(*_):
    raise RuntimeError("the stage is closed")

spare_child.rehearse = rehearse
"""


def test_a_spare_that_could_not_rehearse_is_lent_all_the_same(
    runtime: Path, tmp_path: Path
) -> None:
    forks = Forks(tmp_path, preload=("probe", "unready"), spares=1)
    (tmp_path / "modules" / "unready.py").write_text(UNREADY)
    ready(forks)

    kernel = forks.kernel()

    assert kernel.process.is_spare
    assert kernel.says("print(1)") == "1"
    assert kernel.end() == 0
    log = places.log_path(forks.state()["key"]).read_text()
    assert "a kernel's first answer could not be rehearsed\n" in log
    assert "RuntimeError: the stage is closed\n" in log


LOOKING = """
from importlib.util import find_spec
from nbprod.kernels import spare_child

def rehearse(*_):
    find_spec("nowhere")

spare_child.rehearse = rehearse
"""


def test_a_folder_that_is_made_while_a_spare_waits_is_looked_in(
    runtime: Path, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    path = f"{tmp_path / 'modules'}:{absent}"
    forks = Forks(tmp_path, preload=("looking",), more={"PYTHONPATH": path}, spares=1)
    (tmp_path / "modules" / "looking.py").write_text(LOOKING)
    ready(forks)
    absent.mkdir()
    (absent / "late.py").write_text("came = 'late'\n")

    kernel = forks.kernel()

    assert kernel.process.is_spare
    assert kernel.says("import late; print(late.came)") == "late"
    assert kernel.end() == 0
