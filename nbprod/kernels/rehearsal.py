"""A spare answers a client once before it is lent: half of a first answer is walking the way.

Code that runs for the first time in a fork copies the pages it lies on, 4 microseconds each, and
fills caches. What is asked leaves nothing that a notebook could see.
"""

import threading
from collections.abc import Mapping
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
    loop = IOLoop.current()
    # With a name: threads without one are counted, and the count is shown to users.
    asking = threading.Thread(target=_ask, args=(connection, loop), name="nbprod-rehearsal")
    given_up = loop.call_later(PATIENCE, loop.stop)
    asking.start()
    loop.start()
    loop.remove_timeout(given_up)
    asking.join(PATIENCE)
    app.shell.displayhook.flush()


def _ask(connection: Mapping[str, Any], loop: IOLoop) -> None:
    try:
        with zmq.Context() as context:
            context.linger = 0
            _talk(context, connection)
    finally:
        loop.add_callback(loop.stop)


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
