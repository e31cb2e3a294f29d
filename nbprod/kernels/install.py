"""Installs the kernelspec "Python 3 (warm)" for an interpreter, where a Jupyter looks for it."""

import json
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Any

#: The name that comes with the package, in the environment that it is installed into.
NAME = "python3-warm"


def kernelspec(*, python: str = "python", display_name: str | None = None) -> dict[str, Any]:
    """Return kernel.json for an interpreter; "python" is the one that Jupyter itself runs in."""
    text = (files("nbprod.kernels") / "kernelspec" / "kernel.json").read_text(encoding="utf-8")
    spec: dict[str, Any] = json.loads(text)
    spec["argv"][0] = python
    if display_name is not None:
        spec["display_name"] = display_name
    return spec


def install(
    *,
    name: str = NAME,
    display_name: str | None = None,
    prefix: str | None = None,
    is_for_user: bool = False,
) -> Path:
    """Install a kernelspec that starts this interpreter; return its folder.

    It goes to `prefix`, to this user's folder, or to where this interpreter lives.

    Raises:
        ValueError: the name has characters that Jupyter does not allow.
        OSError: it cannot be written there.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    with tempfile.TemporaryDirectory() as folder:
        text = json.dumps(kernelspec(python=sys.executable, display_name=display_name), indent=1)
        (Path(folder) / "kernel.json").write_text(text + "\n", encoding="utf-8")
        place = KernelSpecManager().install_kernel_spec(
            folder,
            kernel_name=name,
            user=is_for_user,
            prefix=None if is_for_user else prefix or sys.prefix,
        )
    return Path(place)


def is_installed() -> bool:
    """Say whether a Jupyter of this environment finds a kernelspec with our provisioner."""
    from jupyter_client.kernelspec import KernelSpecManager

    for found in KernelSpecManager().get_all_specs().values():
        metadata = found["spec"].get("metadata") or {}
        named = (metadata.get("kernel_provisioner") or {}).get("provisioner_name")
        if named == "nbprod-warm":
            return True
    return False
