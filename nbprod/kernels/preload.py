"""Imports what forked processes will need, as each of them would have imported it.

What a list names and this environment has not, or what fails, is skipped: a fork then imports it
itself, as a cold process does.
"""

import builtins
import contextlib
import gc
import importlib
import importlib.util
import logging
import os
import random
import signal
import stat
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbprod.kernels.culprits import Note
from nbprod.kernels.notebook_look import Callbacks, as_in_a_notebook
from nbprod.kernels.safety import gpu_devices, threads

logger = logging.getLogger(__name__)

KERNEL, COMMAND = "kernel", "command"

#: What a kernel imports before it looks at the folder it starts in: its own launcher.
KERNEL_LAUNCHER = ("ipykernel.kernelapp",)
#: What it imports while it starts, or for its first cells.
KERNEL_STACK = (
    *(
        "ipykernel.debugger",
        "debugpy.server",
        "ipykernel.subshell_manager",
        "ipykernel.displayhook",
    ),
    *("ipykernel.comm.manager", "comm.base_comm", "zmq.asyncio", "IPython.core.completer", "jedi"),
    *("IPython.core.history", "IPython.core.magics", "IPython.core.displaypub", "sqlite3"),
    *(
        "IPython.core.debugger",
        "IPython.extensions.storemagic",
        "psutil",
        "IPython.core.async_helpers",
    ),
)
#: What notebooks import, of what is installed. Not `matplotlib.pyplot` (it is quick, and asks the
#: shell at import) and nothing that starts a thread or looks for a GPU.
USUAL = (
    *("numpy", "pandas", "scipy", "scipy.stats", "sklearn", "sklearn.linear_model"),
    *("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg", "PIL.Image"),
    *("torch", "torch.utils.data", "transformers", "transformers.trainer"),
    *("transformers.models.auto", "transformers.models.auto.modeling_auto"),
    *("transformers.models.auto.tokenization_auto", "transformers.data.data_collator"),
    *("tqdm.auto", "yaml"),
)
#: What `nbprod.glue` and its kin load in a kernel, whichever modules are asked for: 50 to 140 ms.
OWN = ("nbprod.notebook.glue", "nbprod.notebook.kernel")
#: What commands and attempts need; strings, because this room is below those.
COMMANDS = ("nbprod.cli.served",)
#: Has torch ask the driver's management library, which a fork survives, for the number of GPUs.
ASK_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"
#: Modules with a random stream for everybody.
DRAWING = ("numpy.random", "torch")
#: Seconds that one import may take before it ends the zygote, which then starts without it.
LONGEST_IMPORT = 300


@dataclass(slots=True)
class Preloaded:
    """What was imported, what was not and why, and what forks have to put right."""

    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)  #: why a module was skipped
    started_by: dict[int, str] = field(default_factory=dict)  #: thread id: module of the list
    launcher: frozenset[str] = frozenset()  #: modules of a kernel that nothing can stand in for
    generators: list[random.Random] = field(default_factory=list)  #: seeded by chance, at import
    callbacks: Callbacks = field(default_factory=list)  #: that modules registered with the shell
    gpu: str = ""  #: the module whose import opened a GPU
    spoilers: dict[str, str] = field(default_factory=dict)  #: modules to go without, and why
    variables: dict[str, str] = field(default_factory=dict)  #: set by modules as they were imported
    late: dict[str, dict[str, str]] = field(default_factory=dict)  #: those of the list, by package
    finders: dict[str, list[Any]] = field(default_factory=dict)  #: put on sys.meta_path, by package
    filters: dict[str, list[Any]] = field(default_factory=dict)  #: of warnings, by package
    imports: dict[str, set[str]] = field(default_factory=dict)  #: which package imports which
    modules: dict[str, Any] = field(default_factory=dict)  #: those that draw numbers by chance
    temporary: str = ""  #: the folder for temporary files that they found
    streams: dict[str, Any] = field(default_factory=dict)  #: sys.stdout and sys.stderr of then

    def names(self) -> list[str]:
        """Return the top-level names that the folder of a job could mean something else by."""
        known = {name.partition(".")[0] for name in self.launcher}
        return sorted({name.partition(".")[0] for name in sys.modules} - known)


def preload(
    role: str,
    modules: Sequence[str] | None,
    *,
    without: Mapping[str, str] | None = None,
    note_path: Path | None = None,
) -> Preloaded:
    """Import the modules, None for the usual ones; nothing that they do wrong is raised.

    `without` names modules to skip, and why. `note_path` is the file of a `Note`.
    """
    found = Preloaded(streams={"stdout": sys.stdout, "stderr": sys.stderr})
    # This one the interpreter sets, where nothing says which language is meant: here, not in forks.
    before = {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}
    note = Note(note_path)
    skipped = {**(without or {}), **note.culprits}
    # Collections while everything stays alive only cost time.
    gc.disable()
    with _recorded_generators(found):
        if role == KERNEL:
            _import_all(KERNEL_LAUNCHER, found, note)
            _import_all(KERNEL_STACK, found, note)
            found.launcher = frozenset(sys.modules)
            with as_in_a_notebook(found.callbacks), _recorded_imports(found.imports):
                # Who asks whether there is a GPU shall not initialise it by that.
                os.environ[ASK_NVML] = os.environ.get(ASK_NVML, "1")
                if modules is None:
                    modules = [name for name in USUAL if _is_installed(name)]
                _import_all([*modules, *OWN], found, note, skipped)
                if ASK_NVML not in before:
                    del os.environ[ASK_NVML]
            # It configures the shell that it finds at import: each kernel does that itself.
            for name in [name for name in sys.modules if name.startswith("matplotlib_inline.")]:
                del sys.modules[name]
        else:
            found.launcher = frozenset(sys.modules)
            _import_all(COMMANDS, found, note)
    gc.enable()
    note.finish()
    late = {name for variables in found.late.values() for name in variables}
    found.variables = {name: os.environ[name] for name in _set_since(before) if name not in late}
    found.modules = {name: sys.modules[name] for name in DRAWING if name in sys.modules}
    found.temporary = tempfile.gettempdir()
    return found


def _import_all(
    modules: Sequence[str],
    found: Preloaded,
    note: Note,
    skipped: Mapping[str, str] | None = None,
) -> None:
    for name in modules:
        if skipped is not None and name in skipped:
            _fail(found, name, skipped[name])
            continue
        note.begin(name)
        before, begun, written = threads(), time.perf_counter(), _written()
        variables, finders = dict(os.environ), list(sys.meta_path)
        filters = list(warnings.filters)
        signal.alarm(LONGEST_IMPORT)
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - a module may raise SystemExit, or anything
            _fail(found, name, f"{type(error).__name__}: {error}")
        else:
            if skipped is not None and _written() > written:
                found.spoilers[name] = "its import prints something, which each kernel is to see"
        finally:
            signal.alarm(0)
        found.seconds[name] = round(time.perf_counter() - begun, 4)
        found.started_by |= dict.fromkeys(threads() - before, name)
        if skipped is not None:
            package = name.partition(".")[0]
            found.late.setdefault(package, {}).update(
                {name: os.environ[name] for name in _set_since(variables)}
            )
            added = [finder for finder in sys.meta_path if finder not in finders]
            found.finders.setdefault(package, []).extend(added)
            new = [entry for entry in warnings.filters if entry not in filters]
            found.filters.setdefault(package, [])[:0] = new
        if not found.gpu and gpu_devices():
            found.gpu = name


def _set_since(before: Mapping[str, str]) -> list[str]:
    return [name for name, value in os.environ.items() if before.get(name) != value]


def _fail(found: Preloaded, name: str, reason: str) -> None:
    found.failures[name] = reason
    logger.warning("%s is not preloaded: %s", name, reason)


def _written() -> int:
    """Return how much this process has written to its log."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    found = os.fstat(2)
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


@contextlib.contextmanager
def _recorded_generators(found: Preloaded) -> Iterator[None]:
    """Note the random generators that modules make for themselves, unless with a seed of theirs.

    Each fork seeds those anew, or all forks would draw the same "random" names.
    """
    original = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        original(self, a, version)
        found.generators[:] = [known for known in found.generators if known is not self]
        if a is None:
            found.generators.append(self)

    random.Random.seed = seed  # type: ignore[method-assign]
    try:
        yield
    finally:
        random.Random.seed = original  # type: ignore[method-assign]


@contextlib.contextmanager
def _recorded_imports(imports: dict[str, set[str]]) -> Iterator[None]:
    """Note which package imports which."""
    original = builtins.__import__

    def recording(
        name: str,
        globals: Any = None,  # noqa: A002 - __import__'s own names
        locals: Any = None,  # noqa: A002
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        importer = str((globals or {}).get("__name__", "")).partition(".")[0]
        if importer and not level:
            imports.setdefault(importer, set()).add(name.partition(".")[0])
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = recording
    try:
        yield
    finally:
        builtins.__import__ = original
