"""Whether a fork, or a spare, would be what a cold process would be; what stands against it.

Pure of any decision: each function returns a reason, or nothing.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from nbprod.kernels.protocol import Fork

#: What an extension module may end in, and a source file.
_SUFFIXES = (".py", ".so", ".pyc")
_CONFIGURATIONS = ("ipython_config", "ipython_kernel_config")
#: What a spare listens on; the rest of a connection file are ports and a key.
_PLAIN = {"transport": "tcp", "ip": "127.0.0.1", "signature_scheme": "hmac-sha256"}
_CURVE = ("curve_publickey", "curve_secretkey")


def why_not_forked(request: Fork, preloaded: Sequence[str]) -> str:
    """Return why a fork would have other modules than a cold process; empty when it has not."""
    for entry in request.environment.get("PYTHONPATH", "").split(os.pathsep):
        if entry and not entry.startswith("/"):
            return f"PYTHONPATH names {entry!r}, which depends on the folder"
    if shadow := _shadow(Path(request.cwd), preloaded):
        return f"{shadow} would be imported in place of an installed package"
    return ""


def why_not_spare(request: Fork) -> str:
    """Return why a kernel that started before it was asked for would differ; empty if it does not.

    Beside its command line, which the spare must have had as well.
    """
    if request.environment.get("PYTHONSTARTUP"):
        return "PYTHONSTARTUP names a file to run first"
    if problem := _unlike(split_arguments(request.argv)[0]):
        return problem
    return own_configuration(request.environment)


def split_arguments(argv: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the connection file, empty if none is named, and the other arguments of a kernel."""
    rest = list(argv)
    if "-f" not in rest or rest[-1] == "-f":
        return "", tuple(rest)
    place = rest.index("-f")
    return rest[place + 1], tuple(rest[:place] + rest[place + 2 :])


def own_configuration(environment: Mapping[str, str]) -> str:
    """Return which file of the user's, or of the machine, a starting kernel would read or run."""
    from IPython.core.application import ENV_CONFIG_DIRS, SYSTEM_CONFIG_DIRS

    home = Path(environment.get("HOME") or "~").expanduser()
    profile = Path(environment.get("IPYTHONDIR") or home / ".ipython") / "profile_default"
    for folder in (profile, *map(Path, ENV_CONFIG_DIRS), *map(Path, SYSTEM_CONFIG_DIRS)):
        for name in _CONFIGURATIONS:
            for suffix in (".py", ".json"):
                path = folder / f"{name}{suffix}"
                if path.exists():
                    return f"{path} configures it"
        for path in (folder / "startup").glob("*.*py"):
            return f"{path} is to be run first"
    return ""


def _unlike(file: str) -> str:
    """Return how the client wants to talk to the kernel, if not as spares do."""
    try:
        wanted = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it has no connection file yet"
    for name, value in _PLAIN.items():
        if wanted.get(name, value) != value:
            return f"its connection has the {name} {wanted[name]!r}"
    if any(wanted.get(name) for name in _CURVE):
        return "its connection is encrypted"
    return ""


def _shadow(folder: Path, preloaded: Sequence[str]) -> str:
    """Return what lies in the job's folder and bears the name of a module that is loaded already.

    A kernel looks in its folder first: there, a pandas.py of the user's wins.
    """
    names = set(preloaded)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, _, suffix = entry.name.partition(".")
                if stem not in names:
                    continue
                if f".{suffix}".endswith(_SUFFIXES) if suffix else _is_package(Path(entry.path)):
                    return entry.path
    except OSError:
        return ""  # whoever goes there will say so
    return ""


def _is_package(folder: Path) -> bool:
    return (folder / "__init__.py").exists()
