"""What a fork of the command zygote runs: the command line, for a thin client that waits for it.

The zygote imports this module, and with it everything that commands and attempts will import, and
looks up once what each of them would look up.
"""

import importlib
import os
import select
import signal
import sys
import threading
from pathlib import Path

from nbprod.cli.main import JUPYTER_SERVER, invoke, let_go_of_closed_pipes
from nbprod.core.imports import SCHEMA_FORMATS, leave_out
from nbprod.core.plugins import installed
from nbprod.kernels import children, places
from nbprod.kernels.starts import Start, StartKind, now, owner, record
from nbprod.runners.attempt import HDFS

_GROUPS = ("nbprod.commands", "nbprod.gates", "nbprod.runners", "nbprod.templates")
#: What commands and attempts import on their way, beyond what importing the first ones loads.
_ON_THE_WAY = (
    *("IPython.paths", "concurrent.futures.thread", "encodings.utf_8_sig"),
    *("ipykernel.kernelspec", "jupyter_client.blocking.client"),
    *("jupyter_client.kernelspec", "jupyter_client.manager", "jupyter_client.provisioning"),
    *("nbprod.jobs", "nbprod.kernels.client", "nbprod.kernels.provisioner"),
    *("nbprod.notebook.annotations", "nbprod.notebook.binding", "nbprod.notebook.discovery"),
    *("nbprod.notebook.document", "nbprod.notebook.injection", "nbprod.notebook.rendering"),
    *("nbprod.notebook.resources", "nbprod.notebook.scraps", "nbprod.notebook.types"),
    *("nbprod.notebook.yaml", "nbprod.runners.engine", "pydantic.type_adapter"),
    *("nbprod.runners.gpus", "nbprod.runners.kernel_run", "nbprod.runners.kernels"),
    *("nbprod.runners.local", "nbprod.runners.rehearsal", "nbprod.store.artifacts"),
    *("nbprod.store.store", "nbprod.workspace"),
    *("papermill.engines", "papermill.execute", "psutil", "pynvml", "rich.console", "rich.markup"),
    *("rich.progress", "rich.table", "sqlalchemy.dialects.sqlite", "yaml"),
)
#: Seconds that a command has to end when whoever asked for it is gone.
_GRACE = 60.0


def _prepare() -> None:
    leave_out(*SCHEMA_FORMATS, *JUPYTER_SERVER)
    leave_out(HDFS)
    importlib.import_module("papermill.iorw")
    # Only papermill goes without it: pyarrow's own reader of Parquet does not.
    if sys.modules.get(HDFS, 0) is None:
        del sys.modules[HDFS]
    for name in _ON_THE_WAY:
        importlib.import_module(name)
    # Compiles the schema, 60 ms.
    nbformat = importlib.import_module("nbformat")
    nbformat.validate(nbformat.v4.new_notebook())
    # Before its first kernel it goes through every installed package for provisioners, 17 ms.
    importlib.import_module("jupyter_client.provisioning").KernelProvisionerFactory.instance()
    for group in _GROUPS:
        for entry in installed(group).values():
            if entry.value.startswith("nbprod."):
                entry.load()
    importlib.import_module("nbprod.workspace.lineage").packages()


def main(argv: list[str]) -> int:
    """Run the command line as `nbprod` does; return its exit code once the client has it."""
    is_over = threading.Event()
    owner = children.owner()
    if owner is not None:
        if _is_gone(owner, 0):
            return 1  # it was told that there is no fork, or has been killed: nothing has begun
        watch = threading.Thread(target=_end_with, args=(owner, is_over), daemon=True)
        watch.start()
    code = invoke(argv)
    is_over.set()
    let_go_of_closed_pipes()
    _let_go_of_stdio()
    children.done(code)
    _record()
    return code


def _end_with(owner: int, is_over: threading.Event) -> None:
    """Take the client's end for the terminal's: a run is cancelled, and that is on record."""
    while not _is_gone(owner, None):
        pass
    if is_over.is_set():
        return
    os.kill(os.getpid(), signal.SIGHUP)
    if not is_over.wait(_GRACE):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_gone(owner: int, milliseconds: int | None) -> bool:
    waiting = select.poll()
    waiting.register(owner, select.POLLRDHUP)
    return bool(waiting.poll(milliseconds))


def _record() -> None:
    """Put this start on the ledger: the client, who has no time, leaves that to us."""
    command = Path("/proc/self/cmdline").read_bytes().decode(errors="replace").split("\0")
    key = command[command.index("--key") + 1] if "--key" in command else ""
    kind = StartKind.SPARE if children.was_spare() else StartKind.FORKED
    start = Start(t=now(), role="command", key=key, kind=kind, owner=owner())
    record(places.runtime_folder(), start)


def _let_go_of_stdio() -> None:
    """Let whoever reads the command's output see its end, while we still clean up."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for number in range(3):
        os.dup2(nothing, number)
    os.close(nothing)


_prepare()
