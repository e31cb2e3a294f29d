"""A kernel that starts before anybody asks for it, and becomes the one that was asked for."""

import gc
import importlib
import json
import logging
import os
import secrets
import select
import socket
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from nbprod.kernels import children
from nbprod.kernels.children import Order, introduce, leave, outcome, refuse
from nbprod.kernels.fidelity import split_arguments
from nbprod.kernels.kernel_child import (
    adopt,
    begin,
    dropper,
    hide,
    initialize,
    launcher,
    new_app,
    serve,
)
from nbprod.kernels.preload import Preloaded
from nbprod.kernels.protocol import BadMessageError, Fork, Forked, Inbox, send
from nbprod.kernels.rehearsal import rehearse

logger = logging.getLogger("nbprod.kernels.zygote")

#: Played through by a spare of commands; a string, because that room is above this one.
REHEARSAL = "nbprod.runners.rehearsal:rehearse"
_PORTS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")


def run_spare(
    control: socket.socket, *, extra: tuple[str, ...], folder: Path, preloaded: Preloaded
) -> NoReturn:
    """Start a kernel on ports of its own, wait to be lent, and serve whoever it is lent to.

    `control` is the zygote's end of the matter: its end is ours.
    """
    drop, veil = dropper(), hide(preloaded)
    children.begin_unasked()
    children.fresh_main(launcher())
    app, connection = _start(extra, folder)
    is_begun = begin(app)
    if is_begun:
        _answer_once(app, connection)
    children.forget_absent_folders()
    send(control, Forked(pid=os.getpid(), is_spare=True, connection_info=connection))
    order = wait_to_be_lent(control, preloaded)
    _become(app, order)
    veil.note_variables()
    introduce(order.peer, Forked(pid=os.getpid(), is_spare=True, connection_info=connection))
    leave(outcome(partial(serve, app, is_begun=is_begun)), drop=drop)


def run_spare_command(control: socket.socket, *, preloaded: Preloaded) -> NoReturn:
    """Be there before a command is asked for: what is left to do then takes 2 ms, a fork 15."""
    children.begin_unasked()
    _rehearse()
    children.forget_absent_folders()
    send(control, Forked(pid=os.getpid(), is_spare=True))
    order = wait_to_be_lent(control, preloaded)
    children.run_command(order, is_spare=True)


def _rehearse() -> None:
    module, _, function = REHEARSAL.partition(":")
    try:
        getattr(importlib.import_module(module), function)()
    except Exception:
        logger.exception("what a command does could not be rehearsed")
    gc.collect()
    gc.freeze()  # as in the zygote: else the next collection is soon, and walks all this


def _answer_once(app: Any, connection: dict[str, Any]) -> None:
    try:
        rehearse(app, connection)
    except Exception:  # noqa: BLE001 - it goes on record, and the spare is as good as without it
        # Not by logging, which would write to the notebook: stderr is a stream of it by now.
        log = getattr(sys.stderr, "_original_stdstream_copy", 2)
        with open(log, "w", encoding="utf-8", closefd=False) as stream:
            stream.write("a kernel's first answer could not be rehearsed\n")
            traceback.print_exc(file=stream)


def _start(extra: tuple[str, ...], folder: Path) -> tuple[Any, dict[str, Any]]:
    file = folder / f"spare-{os.getpid()}.json"
    connection: dict[str, Any] = {"ip": "127.0.0.1", "transport": "tcp"}
    connection |= {"key": secrets.token_hex(32), "signature_scheme": "hmac-sha256"}
    connection |= dict.fromkeys(_PORTS, 0)
    file.write_text(json.dumps(connection), encoding="utf-8")  # its folder is private
    try:
        app = new_app()
        initialize(app, ["-f", str(file), *extra])
    finally:
        file.unlink()
    return app, connection | {name: getattr(app, name) for name in _PORTS}


def wait_to_be_lent(control: socket.socket, preloaded: Preloaded) -> Order:
    """Return what this process is lent for; leave, without a trace, if it never is."""
    inbox = Inbox(control)
    waiting = select.poll()
    waiting.register(control, select.POLLIN)
    while True:
        waiting.poll()
        try:
            received = inbox.receive()
        except BlockingIOError:
            continue
        except (OSError, BadMessageError):
            received = None
        request, descriptors = (None, []) if received is None else received
        if not isinstance(request, Fork):
            os._exit(0)
        control.close()
        peer, *stdio = descriptors
        return Order(request, socket.socket(fileno=peer), stdio, preloaded)


def _become(app: Any, order: Order) -> None:
    request = order.request
    order.peer.settimeout(children.PATIENCE)
    try:
        _take_stdio(order.descriptors)
        children.inherit(request)
        os.chdir(request.cwd)
    except (OSError, ValueError, AttributeError) as error:
        refuse(order.peer, f"the process could not be set up as asked ({error})")
    backend = os.environ.get("MPLBACKEND", "")
    children.settle_in(request, order.preloaded, launcher())
    children.take_owner(order.peer)
    # What starting has put there by the variables and the folder that it found.
    app.shell.init_environment()
    if not os.environ.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = backend
    app.shell.starting_dir = os.getcwd()  # noqa: PTH109 - text, as IPython has it
    if session := os.environ.get("JPY_SESSION_NAME"):
        app.shell.user_ns["__session__"] = session
    file = split_arguments(request.argv)[0]
    app.connection_file = file
    for part in (app, app.kernel, app.shell):
        part.config.IPKernelApp.connection_file = file
    adopt(app, order.peer, order.preloaded)


def _take_stdio(descriptors: list[int]) -> None:
    # Descriptors 1 and 2 are pipes by now, from which the kernel sends what programs write there;
    # the streams keep copies of what was there before.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        place = getattr(stream, "_original_stdstream_copy", number)
        os.dup2(descriptors[number], place, inheritable=place == number)
        os.close(descriptors[number])
        if number:
            getattr(sys, f"__{name}__").reconfigure(line_buffering=number == 2 or os.isatty(place))
