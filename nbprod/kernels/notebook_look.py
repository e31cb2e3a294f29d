"""The looks of a notebook, for modules that are imported before there is one."""

import builtins
import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

#: Events of a shell, each with what is to be called then.
Callbacks: TypeAlias = list[tuple[str, Callable[..., Any]]]

#: What ipykernel sets MPLBACKEND to, where it is not set.
INLINE = "module://matplotlib_inline.backend_inline"


@contextlib.contextmanager
def as_in_a_notebook(callbacks: Callbacks) -> Iterator[None]:
    """Answer modules that ask at import whether they are in a notebook: yes.

    tqdm.auto, Trainer's progress and rich decide then what they show, for good. What they register
    with the shell goes to `callbacks`, for the shell of each kernel.
    """
    from IPython.core.interactiveshell import InteractiveShell

    backend = os.environ.get("MPLBACKEND")
    # Read by matplotlib at import; ipykernel sets it before any cell.
    os.environ["MPLBACKEND"] = backend or INLINE
    shell = _stand_in(callbacks)
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


def _stand_in(callbacks: Callbacks) -> Any:
    """Return what `get_ipython()` gives while there is no shell: its looks, and no more.

    A module that wants more of it fails with AttributeError and is left to each kernel.
    """
    from ipykernel.zmqshell import ZMQInteractiveShell as Real
    from traitlets.config import Config

    class Events:
        def register(self, event: str, callback: Callable[..., Any]) -> None:
            callbacks.append((event, callback))

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
