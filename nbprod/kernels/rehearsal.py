"""A spare answers a client once before it is lent: half of a first answer is walking the way.

Code that runs for the first time in a fork copies the pages it lies on, 4 microseconds each, and
fills caches. What is asked leaves nothing that a notebook could see.
"""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import zmq
from jupyter_client.session import Session
from tornado.ioloop import IOLoop

#: Seconds that the answers may take; a spare goes without them then.
PATIENCE = 10.0
#: What is asked: as a client does that has just connected, and a cell, which counts as none.
REQUESTS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("kernel_info_request", {}),
    (
        "execute_request",
        {
            "code": "print()",
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        },
    ),
)


def rehearse(app: Any, connection: Mapping[str, Any]) -> None:
    """Have a started kernel answer at its own ports, then leave its event loop, to be run again."""
    loop, shell = IOLoop.current(), app.shell
    before = shell.last_execution_succeeded, shell.last_execution_result
    is_over = threading.Event()

    def leave() -> None:
        # Late, it would end the kernel: by then the loop serves whoever that is lent to.
        if not is_over.is_set():
            loop.stop()

    # With a name: threads without one are counted, and the count is shown to users.
    asking = threading.Thread(
        target=_ask,
        args=(connection, partial(loop.add_callback, leave)),
        name="nbprod-rehearsal",
        daemon=True,
    )
    given_up = loop.call_later(PATIENCE, leave)
    try:
        asking.start()
        loop.start()
    finally:
        is_over.set()
        loop.remove_timeout(given_up)
    asking.join(PATIENCE)
    if shell.displayhook.do_full_cache:  # else it refuses, for there is nothing to flush
        shell.displayhook.flush()
    # Nothing, but for what the kernel's arguments had it execute.
    shell.last_execution_succeeded, shell.last_execution_result = before


def _ask(connection: Mapping[str, Any], on_answered: Callable[[], object]) -> None:
    try:
        with zmq.Context() as context:
            context.linger = 0
            _talk(context, connection)
    finally:
        on_answered()


def _talk(context: "zmq.Context[Any]", connection: Mapping[str, Any]) -> None:
    session = Session(key=str(connection["key"]).encode())
    outputs = context.socket(zmq.SUB)
    outputs.subscribe(b"")
    outputs.connect(f"tcp://{connection['ip']}:{connection['iopub_port']}")
    shell = context.socket(zmq.DEALER)
    shell.connect(f"tcp://{connection['ip']}:{connection['shell_port']}")
    for kind, content in REQUESTS:
        session.send(shell, kind, content=dict(content))
        if not shell.poll(int(PATIENCE * 1000)):
            break
        shell.recv_multipart()
    while outputs.poll(0):
        outputs.recv_multipart()
    outputs.close()
    shell.close()
