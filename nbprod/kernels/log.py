"""The log of a zygote: its own, and not what its forks find configured."""

import logging
import sys

_LOG = logging.getLogger("nbprod.kernels")


def open_log() -> None:
    """Have this room's loggers write to the log, which is where stderr leads."""
    # Not the root logger: what a fork finds there must be what a cold process finds, nothing.
    log = logging.StreamHandler(sys.stderr)
    log.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    _LOG.addHandler(log)
    _LOG.setLevel(logging.INFO)
    _LOG.propagate = False


def close_log() -> None:
    """Leave logging as a process finds it that has configured nothing."""
    _LOG.handlers.clear()
    _LOG.setLevel(logging.NOTSET)
    _LOG.propagate = True
