"""Measure the figures of the README: start-up, first report, demo, store, registry, training.

    make bench-main                                   # all of them
    .venv/bin/python tests/benchmarks/bench_main.py start demo

Prints one table, ratios first, and writes it as JSON and Markdown below .nbprod/benchmarks/.
Every comparison is made in the same run and interleaved, so that a busy machine slows both sides.
"""

import importlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
NBPROD = Path(sys.executable).with_name("nbprod")
ROUNDS = 15
GIB = 2**30

# Benchmarks and the makers of environments are programs beside this one, not a package.
sys.path[:0] = [str(Path(__file__).parent), str(ROOT / "tests" / "packaging")]

from environments import Environment, build, make_environment  # noqa: E402
from figures import Figure, machine, save, table  # noqa: E402
from warm.processes import memory, started_with  # noqa: E402


def seconds(*command: str | Path) -> float:
    """Return the wall time of one `command`, its output thrown away."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def start_up() -> list[Figure]:
    """Measure a bare interpreter, `import nbprod` and `nbprod --help`, round by round."""
    bare, imported, helped = [], [], []
    for _ in range(ROUNDS):
        bare.append(seconds(sys.executable, "-c", "pass"))
        imported.append(seconds(sys.executable, "-c", "import nbprod"))
        helped.append(seconds(NBPROD, "--help"))
    # The fastest round is the one that the rest of the machine disturbed least.
    importing = min(imported) - min(bare)
    return [
        Figure(
            name="`import nbprod`",
            ratio=f"{min(imported) / min(bare):.2f} x a bare `python -c pass`",
            measured=f"{importing * 1000:.0f} ms beyond the interpreter's {min(bare) * 1000:.0f}",
            goal="under 100 ms",
            holds=importing < 0.1,
        ),
        Figure(
            name="`nbprod --help`",
            ratio=f"{min(helped) / min(bare):.2f} x a bare `python -c pass`",
            measured=f"{min(helped) * 1000:.0f} ms, median {statistics.median(helped) * 1000:.0f}",
            goal="under 200 ms",
            holds=min(helped) < 0.2,
        ),
    ]


def first_report() -> list[Figure]:
    """Measure `nbprod init` to an executed notebook with its report, without any extra."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        build(folder / "dist")
        (wheel,) = (folder / "dist").glob("*.whl")
        environment = make_environment(wheel, folder=folder / "environment", extras=())

        begin = time.perf_counter()
        _succeed(environment, "init", "team", cwd=folder)
        team = folder / "team"
        _succeed(environment, "templates", "new", "first", "--kind", "report", cwd=team)
        run = _succeed(environment, "run", "first", "--quiet", cwd=team).split()[0]
        _succeed(environment, "reports", "make", run, cwd=team)
        took = time.perf_counter() - begin

        bare = (Path(scratch) / "bare.ipynb", folder / "environment" / "bin" / "python")
        (template,) = (team / "templates").glob("first.*")
        papermill = min(seconds(bare[1], "-m", "papermill", template, bare[0]) for _ in range(3))
    return [
        Figure(
            name="`nbprod init` to a first report, control plane only",
            ratio=f"{took / papermill:.1f} x papermill alone on the same notebook",
            measured=f"{took:.1f} s",
            goal="under 60 s",
            holds=took < 60,
        )
    ]


def _succeed(environment: Environment, *arguments: str, cwd: Path) -> str:
    done = environment.run("nbprod", *arguments, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"nbprod {' '.join(arguments)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def demo() -> list[Figure]:
    """Run the repository's own job in a copy without history; watch all that it starts.

    Its zygotes are its own, and so imported during it, as in the first demo of a fresh clone.
    """
    with tempfile.TemporaryDirectory() as scratch, zygotes_of_its_own() as runtime:
        copy = Path(scratch)
        for name in ("nbprod.toml", "scheduler", "templates", "notebooks"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name)
            else:
                shutil.copy(source, copy / name)
        begin = time.perf_counter()
        environment = {**os.environ, "NBPROD_RUNTIME_DIR": str(runtime)}
        command = [NBPROD, "jobs", "run", "subject-router"]
        job = psutil.Popen(command, cwd=copy, env=environment)
        peak = 0
        while job.poll() is None:
            peak = max(peak, proportional_memory(runtime))
            time.sleep(0.5)
        took = time.perf_counter() - begin
    if job.returncode not in {0, 3}:
        raise RuntimeError(f"nbprod jobs run subject-router ended with {job.returncode}")
    return [
        Figure(
            name="`make demo` after installation",
            measured=f"{took:.0f} s",
            goal="under 240 s on two cores",
            holds=took < 240,
        ),
        Figure(
            name="its peak memory, all processes",
            measured=f"{peak / GIB:.2f} GiB",
            goal="under 3 GB",
            holds=peak < 3e9,
        ),
    ]


@contextmanager
def zygotes_of_its_own() -> Iterator[Path]:
    """Make a folder where a program's zygotes live; nothing that was started with it stays."""
    folder = Path(tempfile.mkdtemp(prefix="nbprod-bench-"))
    try:
        yield folder
    finally:
        for pid in started_with(folder.name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def proportional_memory(runtime: Path) -> int:
    """Return what all processes started with `runtime` hold, shared pages counted once: bytes."""
    found = (memory(pid) for pid in started_with(runtime.name))
    return sum(each.pss for each in found if each is not None)


def room(name: str) -> Callable[[], list[Figure]]:
    """Return what runs the `figures()` of the benchmark `name`, a module beside this one."""

    def measure() -> list[Figure]:
        found: list[Figure] = importlib.import_module(name).figures()
        return found

    return measure


PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "start": start_up,
    "report": first_report,
    "demo": demo,
    "store": room("bench_store"),
    "registry": room("bench_registry"),
    "training": room("bench_training"),
}


def main(arguments: Sequence[str]) -> int:
    """Measure the named parts, or all; return 1 where a figure does not hold."""
    unknown = [name for name in arguments if name not in PARTS]
    if unknown:
        print(f"No part {unknown[0]!r}. Parts: {', '.join(PARTS)}", file=sys.stderr)
        return 2
    os.environ |= {"HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
    where = machine()
    found: list[Figure] = []
    for name in arguments or PARTS:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        found += PARTS[name]()
    print(f"{table(found)}\n\n{where}")
    folder = ROOT / ".nbprod" / "benchmarks"
    save(found, where=where, folder=folder, name="main" if not arguments else "-".join(arguments))
    return 0 if all(figure.holds is not False for figure in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
