"""What a notebook's own code calls: paths, stop, progress, and the way out of its kernel.

Works in JupyterLab, under our engine, under plain papermill and in a plain script. Nothing here
needs a store or a run: where there is none, files go to `.nbprod/scratch/`.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from nbprod.core.errors.scraps import OutputNameError
from nbprod.core.json import JSON
from nbprod.core.runner import SCRAPS_FOLDER
from nbprod.core.scraps import PROGRESS_MIME, STOP_MIME

WORKSPACE_VARIABLE = "NBPROD_WORKSPACE"
RUN_FOLDER_VARIABLE = "NBPROD_RUN_FOLDER"
RUN_VARIABLE = "NBPROD_RUN"
#: Seconds between two progress messages: a training step may take a millisecond.
PROGRESS_EVERY = 0.1

_progress: dict[str, Any] = {"sent": 0.0, "cell": None}


def workspace_root() -> Path:
    """Return the run's workspace, else where nbprod.toml is found upwards, else the cwd."""
    given = os.environ.get(WORKSPACE_VARIABLE)
    if given:
        return Path(given)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "nbprod.toml").is_file():
            return folder
    return here


def path(p: str | os.PathLike[str]) -> Path:
    """Return `p` resolved against the workspace root; an absolute path stays as it is.

    The kernel starts in the template's folder, so a bare relative path means different files in
    different templates; this one does not.
    """
    return workspace_root() / Path(p).expanduser()


def attempt_folder() -> Path:
    """Return the folder that sidecars are relative to: the attempt's, else a scratch one."""
    given = os.environ.get(RUN_FOLDER_VARIABLE)
    if given:
        return Path(given)
    return workspace_root() / ".nbprod" / "scratch" / _kernel_name()


def output(name: str) -> Path:
    """Return a path below the attempt's `scraps/` folder to write a file or a folder to.

    Its parent folder exists afterwards; the path itself is yours to make. What is glued from
    there is not copied again: `nbprod.glue("model", nbprod.output("model"))`.

    Raises:
        OutputNameError: when `name` leads out of that folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or any(part in ("..", "/") for part in parts):
        raise OutputNameError(name)
    place = attempt_folder() / SCRAPS_FOLDER / Path(*parts)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


class StopRun(BaseException):
    """Raised by `stop`. Not an `Exception`, so that a cell's own handlers let it through."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        """Return nothing: see the comment on the class's name below."""
        return ""

    def _render_traceback_(self) -> list[str]:
        return [f"Stopped here: {self.reason or 'no reason given'}"]


# papermill counts an error output named SystemExit with an empty value as a clean end. Under that
# name a template that stops early also ends well with papermill's own engine.
StopRun.__name__ = "SystemExit"


def stop(reason: str = "") -> None:
    """End the run here as succeeded; the cells below are marked as not run.

    Use it for a run that has nothing to do ("no new rows since yesterday"). `sys.exit` instead
    fails the run, because nobody can tell whether it was meant.
    """
    send_display({STOP_MIME: {"reason": reason}}, {})
    raise StopRun(reason)


def progress(
    *, step: int | None = None, steps: int | None = None, **numbers: float | str | None
) -> None:
    """Show how far a long cell is: `progress(step=120, steps=400, epoch=1, loss=0.31)`.

    Shown live where the run is watched and never kept in the executed notebook. Calls that come
    faster than ten a second are dropped, the last step never.
    """
    now = time.monotonic()
    is_last = step is not None and step == steps
    if not is_last and now - _progress["sent"] < PROGRESS_EVERY:
        return
    _progress["sent"] = now
    fields: dict[str, JSON] = {"step": _plain(step), "steps": _plain(steps)}
    fields = {key: value for key, value in fields.items() if value is not None}
    fields |= {key: _plain(value) for key, value in numbers.items()}
    bundle: dict[str, Any] = {PROGRESS_MIME: fields, "text/plain": _progress_line(fields)}
    cell = _parent_id()
    display_id = f"nbprod-progress-{cell}"
    is_update = _progress["cell"] == display_id
    _progress["cell"] = display_id
    send_display(bundle, {}, display_id=display_id, is_update=is_update)


def _plain(value: Any) -> JSON:
    """Return a number as JSON has it: NumPy's and torch's unpacked, NaN and infinity as null."""
    item = getattr(value, "item", None)
    if callable(item):
        value = item()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def _progress_line(fields: Mapping[str, JSON]) -> str:
    parts = []
    if "step" in fields:
        of = f" of {fields['steps']}" if "steps" in fields else ""
        parts.append(f"step {fields['step']}{of}")
    for key, value in fields.items():
        if key not in ("step", "steps"):
            parts.append(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}")
    return ", ".join(parts)


def shell() -> Any:
    """Return IPython's shell when this process is a Jupyter kernel, else None."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    found = get_ipython()
    return found if getattr(found, "kernel", None) is not None else None


def send_display(
    data: Mapping[str, Any],
    metadata: Mapping[str, Any],
    *,
    display_id: str | None = None,
    is_update: bool = False,
) -> bool:
    """Publish a display through the kernel's own session; False where there is no kernel.

    `%%capture` replaces IPython's display publisher and so swallows what `display()` shows. A
    scrap must not depend on that, so this goes around it.
    """
    ip = shell()
    if ip is None:
        return False
    from ipykernel import jsonutil

    clean: Any = jsonutil.json_clean  # base64 for bytes, text for dates

    sys.stdout.flush()
    sys.stderr.flush()
    kernel = ip.kernel
    content = {
        "data": dict(data),
        "metadata": dict(metadata),
        "transient": {} if display_id is None else {"display_id": display_id},
    }
    kernel.session.send(
        kernel.iopub_socket,
        "update_display_data" if is_update else "display_data",
        clean(content),
        parent=_parent(kernel),
        ident=b"display_data",
    )
    return True


def _parent(kernel: Any) -> Any:
    # The publisher knows which cell a thread's output belongs to. It is missing while %%capture
    # stands in for it; the kernel's own current request is the same cell then.
    header = getattr(kernel.shell.display_pub, "parent_header", None)
    return header or kernel.get_parent("shell")


def _parent_id() -> str:
    ip = shell()
    if ip is None:
        return "none"
    parent = _parent(ip.kernel)
    return str(parent.get("msg_id") or parent.get("header", {}).get("msg_id", "none"))


def _kernel_name() -> str:
    if shell() is None:
        return f"process-{os.getpid()}"
    from ipykernel.connect import get_connection_file

    return Path(get_connection_file()).stem
