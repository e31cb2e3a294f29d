"""For which starts of a kernel a fork can stand in: the same command line, the same surroundings.

Everything else gets the cold kernel that it would have got, and the reason is on record.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbprod.core.version import VERSION
from nbprod.kernels.launch import NotWarmError

LAUNCHER = "ipykernel_launcher"
#: A function for `preexec_fn` with this attribute only ends a kernel with its owner, which a
#: forked one does by itself.
TIES_TO_OWNER = "ties_to_owner"
#: Options of Popen that a fork honours, or that say what is so anyway.
_HONOURED = frozenset({"cwd", "env", "stdin", "stdout", "stderr"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A kernel's command line, taken apart."""

    python: str  #: path of the interpreter
    argv: Sequence[str]  #: what follows the launcher


def read_command(command: Sequence[str], *, language: str, path: str | None) -> Command:
    """Take the command line of an IPython kernel apart; `path` is where programs are looked for.

    Raises:
        NotWarmError: it is another kernel's, or a special one's.
    """
    if language and language.lower() != "python":
        raise NotWarmError(f"the kernel speaks {language}, and only Python's are kept warm")
    python, *words = (os.path.expanduser(word) for word in command)  # noqa: PTH111 - as Popen's caller
    if words[:2] == ["-m", LAUNCHER]:
        return Command(python=_interpreter(python, path), argv=words[2:])
    shown = " ".join([python, *words[:3]])
    raise NotWarmError(f"the kernel is not started by python -m {LAUNCHER}: {shown} ...")


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what only a process of our own can be given.

    Raises:
        NotWarmError: naming it.
    """
    special = {name for name, value in options.items() if value and name not in _HONOURED}
    if getattr(options.get("preexec_fn"), TIES_TO_OWNER, False):
        special.discard("preexec_fn")
    special -= {"kernel_id", "extra_arguments", "close_fds", "start_new_session", "restore_signals"}
    if special:
        raise NotWarmError(
            f"the kernel is started with options of its own: {', '.join(sorted(special))}"
        )
    pipes = [name for name in ("stdin", "stdout", "stderr") if options.get(name) == subprocess.PIPE]
    if pipes:
        raise NotWarmError(f"the kernel is started with a pipe as {' and '.join(pipes)}")
    environment = options.get("env") or {}
    if not all(isinstance(word, str) for pair in environment.items() for word in pair):
        raise NotWarmError("the kernel's variables are not all text")


@contextmanager
def standard_streams(options: Mapping[str, Any]) -> Iterator[list[int]]:
    """Open what jupyter_client would make a child's stdin, stdout and stderr."""
    with ExitStack() as stack:

        def opened(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        def descriptor(name: str, own: int) -> int:
            match options.get(name):
                case None:
                    return own if _is_open(own) else opened(os.open(os.devnull, os.O_RDWR))
                case subprocess.DEVNULL:
                    return opened(os.open(os.devnull, os.O_RDWR))
                case int() as number:
                    return number
                case stream:
                    return int(stream.fileno())

        if options.get("stdin") is None:
            # A pipe at its end: whoever reads from it is told at once that nothing will come.
            reading, writing = os.pipe2(os.O_CLOEXEC)
            os.close(writing)
            standard = [opened(reading)]
        else:
            standard = [descriptor("stdin", 0)]
        standard.append(descriptor("stdout", 1))
        is_joined = options.get("stderr") == subprocess.STDOUT
        standard.append(standard[1] if is_joined else descriptor("stderr", 2))
        yield standard


def _interpreter(python: str, path: str | None) -> str:
    """Return the path of an interpreter that can be a zygote: one that has our version."""
    found = python if Path(python).is_absolute() else shutil.which(python, path=path)
    if found is None:
        raise NotWarmError(f"the kernel's interpreter {python} is not found")
    if _environment(found) == _environment(sys.executable):
        return found
    folders = _environment(found).glob("lib*/python3*/*-packages")
    if not any((folder / f"nbprod-{VERSION}.dist-info").is_dir() for folder in folders):
        raise NotWarmError(
            f"nbprod {VERSION} is not installed for the kernel's interpreter {found}"
        )
    return found


def _environment(python: str) -> Path:
    """Return the folder of an interpreter's environment. Not resolved: `bin/python` is a link."""
    return Path(python).absolute().parent.parent


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
