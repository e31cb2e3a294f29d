"""`nbprod` that kills itself, `kill -9`, just before or after one of its own steps.

python killing.py before|after ROOM:CLASS.METHOD [--] ARGUMENTS...: a program for the tests.
"""

import functools
import importlib
import os
import signal
import sys
from typing import Any

from nbprod.cli.main import main


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(moment: str, place: str) -> None:
    """Wrap the method named in `place` so that this process does not survive it."""
    module, _, name = place.partition(":")
    owner, _, method = name.partition(".")
    found = getattr(importlib.import_module(module), owner)
    original = getattr(found, method)

    @functools.wraps(original)
    def deadly(*arguments: Any, **named: Any) -> Any:
        if moment == "before":
            die()
        original(*arguments, **named)
        die()

    setattr(found, method, deadly)


if __name__ == "__main__":
    arm(sys.argv[1], sys.argv[2])
    main(sys.argv[3:])
