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
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    *("tqdm.auto", "yaml", "nbprod"),
)
#: What commands and attempts need; strings, because this room is below those.
COMMANDS = ("nbprod.cli.served",)
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
    callbacks: list[tuple[str, Callable[..., Any]]] = field(default_factory=list)
    gpu: str = ""  #: the module whose import opened a GPU
    variables: dict[str, str] = field(default_factory=dict)  #: set by modules as they were imported
    temporary: str = ""  #: the folder for temporary files that they found
    streams: dict[str, Any] = field(default_factory=dict)  #: sys.stdout and sys.stderr of then

    def names(self) -> list[str]:
        """Return the top-level names that the folder of a job could mean something else by."""
        known = {name.partition(".")[0] for name in self.launcher}
        return sorted({name.partition(".")[0] for name in sys.modules} - known)


def preload(role: str, modules: Sequence[str] | None, *, note: Path | None = None) -> Preloaded:
    """Import the modules, None for the usual ones; nothing that they do wrong is raised.

    `note` is a file that names the module at hand: one that ended an earlier zygote is skipped.
    """
    found = Preloaded(streams={"stdout": sys.stdout, "stderr": sys.stderr})
    before = dict(os.environ)
    culprit = _read(note)
    # Collections while everything stays alive only cost time.
    gc.disable()
    with _recorded_generators(found):
        if role == KERNEL:
            _import_all(KERNEL_LAUNCHER, found, note, culprit)
            _import_all(KERNEL_STACK, found, note, culprit)
            found.launcher = frozenset(sys.modules)
            with _as_in_a_notebook(found):
                _import_all(USUAL if modules is None else modules, found, note, culprit, modules)
            # It configures the shell that it finds at import: each kernel does that itself.
            for name in [name for name in sys.modules if name.startswith("matplotlib_inline.")]:
                del sys.modules[name]
        else:
            found.launcher = frozenset(sys.modules)
            _import_all(COMMANDS, found, note, culprit)
    gc.enable()
    if note is not None:
        note.unlink(missing_ok=True)
    found.variables = {
        name: value for name, value in os.environ.items() if before.get(name) != value
    }
    found.temporary = tempfile.gettempdir()
    return found


def _import_all(
    modules: Sequence[str],
    found: Preloaded,
    note: Path | None,
    culprit: str,
    asked_for: Sequence[str] | None = (),
) -> None:
    from nbprod.kernels.safety import gpu_devices, threads

    for name in modules:
        if name == culprit:
            found.failures[name] = "Its import ended the zygote the last time."
            logger.warning("%s is not preloaded: %s", name, found.failures[name])
            continue
        if asked_for is None and not _is_installed(name):
            continue  # of the usual ones, what is there
        if note is not None:
            note.write_text(name, encoding="utf-8")
        before, begun = threads(), time.perf_counter()
        signal.alarm(LONGEST_IMPORT)
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - a module may raise SystemExit, or anything
            found.failures[name] = f"{type(error).__name__}: {error}"
            logger.warning("%s is not preloaded: %s", name, found.failures[name])
        finally:
            signal.alarm(0)
        found.seconds[name] = round(time.perf_counter() - begun, 4)
        found.started_by |= dict.fromkeys(threads() - before, name)
        if not found.gpu and gpu_devices():
            found.gpu = name


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def _read(note: Path | None) -> str:
    if note is None:
        return ""
    try:
        return note.read_text(encoding="utf-8").strip()
    except OSError:
        return ""


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
def _as_in_a_notebook(found: Preloaded) -> Iterator[None]:
    """Answer modules that ask at import whether they are in a notebook: yes.

    tqdm.auto, Trainer's progress and rich decide then what they show, for good.
    """
    from IPython.core.interactiveshell import InteractiveShell

    backend = os.environ.get("MPLBACKEND")
    # Read by matplotlib at import; ipykernel sets it before any cell.
    os.environ["MPLBACKEND"] = backend or "module://matplotlib_inline.backend_inline"
    shell = _stand_in(found)
    names = {"get_ipython": lambda: shell, "__IPYTHON__": True}
    InteractiveShell._instance = shell
    for name, value in names.items():
        setattr(builtins, name, value)
    try:
        yield
    finally:
        for name in names:
            delattr(builtins, name)
        InteractiveShell._instance = None
        if not backend:
            del os.environ["MPLBACKEND"]


def _stand_in(found: Preloaded) -> Any:
    """Return what `get_ipython()` gives while there is no shell: its looks, and no more.

    A module that wants more of it fails with AttributeError and is left to each kernel.
    """
    from ipykernel.zmqshell import ZMQInteractiveShell as Real
    from traitlets.config import Config

    class Events:
        def register(self, event: str, callback: Callable[..., Any]) -> None:
            found.callbacks.append((event, callback))

    class ZMQInteractiveShell:
        config = Config({"IPKernelApp": {"connection_file": ""}})
        events = Events()
        kernel = object()

        @property
        def __class__(self) -> type:  # isinstance() believes it
            return Real

        @__class__.setter
        def __class__(self, value: type) -> None:
            raise TypeError(value)

    return ZMQInteractiveShell()
