"""A kernel may send faster than it is heard: the clock is looked at, and nothing is lost."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
from jupyter_client.session import Session

from nbprod.runners.client import LAST_OUTPUTS, JournalingClient
from nbprod.runners.kernel import AT_ONCE, Kernel
from nbprod.runners.outputs import Outputs
from tests.runners.conftest import notebook


class Socket:
    """A socket from which so many messages can be read without waiting."""

    def __init__(self, session: Session, kind: str, *, count: int) -> None:
        self._session, self._kind, self._left = session, kind, count

    def recv_multipart(self, _flags: int) -> list[bytes]:
        if not self._left:
            raise zmq.Again
        self._left -= 1
        return self._session.serialize(self._session.msg(self._kind))


def test_an_answer_is_heard_among_outputs_without_end() -> None:
    session = Session()
    client: Any = SimpleNamespace(
        session=session,
        iopub_channel=SimpleNamespace(socket=Socket(session, "stream", count=10 * AT_ONCE)),
        shell_channel=SimpleNamespace(socket=Socket(session, "execute_reply", count=1)),
    )
    kernel = Kernel("python3")
    kernel._client = client

    first = [channel for channel, _ in kernel.messages(0)]
    second = [channel for channel, _ in kernel.messages(0)]

    assert first == ["iopub"] * AT_ONCE + ["shell"]
    assert second == ["iopub"] * AT_ONCE


class Slow:
    """A kernel that answers at once, and whose outputs come most slowly after that."""

    def __init__(self, count: int) -> None:
        self.now = 0.0
        self.is_busy = False
        self.client = SimpleNamespace(execute=lambda source, stop_on_error: "request")
        output = {"data": {"text/plain": "1"}, "metadata": {}}
        self._messages = [
            ("shell", self._message("execute_reply", status="ok")),
            *[("iopub", self._message("display_data", **output))] * count,
            ("iopub", self._message("status", execution_state="idle")),
        ]

    def monotonic(self) -> float:
        return self.now

    def messages(self, _timeout: float | None) -> Iterator[tuple[str, dict[str, Any]]]:
        self.now += LAST_OUTPUTS * 0.7
        yield self._messages.pop(0)

    def _message(self, kind: str, **content: Any) -> dict[str, Any]:
        return {"msg_type": kind, "parent_header": {"msg_id": "request"}, "content": content}


def test_outputs_are_waited_for_while_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel: Any = Slow(count=5)
    monkeypatch.setattr("nbprod.runners.client.time", kernel)
    seen: list[str] = []

    def note(kind: str, **_: Any) -> None:
        seen.append(kind)

    client = JournalingClient(notebook("1"), note=note, outputs=Outputs(note))
    client.use(kernel)

    reply = client.run_cell("1", 0)

    assert reply == {"status": "ok"}
    assert seen == ["output"] * 5
