"""When to write the notebook of a run that goes on, so that it can be read meanwhile.

Ever more seldom, and never much: papermill's rewrite of the whole file at each cell made a
notebook of 20 MB write two gigabytes.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbprod.notebook.rendering import Rendering, as_bytes

if TYPE_CHECKING:
    from nbformat import NotebookNode

logger = logging.getLogger(__name__)

#: Seconds until the first one; each later one comes after FACTOR times as long as the one before.
FIRST, FACTOR = 5.0, 3.0
#: Bytes that all of them may take together where a journal has everything. From half of it on,
#: they leave out what is large.
FREE = 8 * 2**20
#: Bytes from which an output is large.
LARGE = 16 * 2**10


class Interim:
    """Writes the notebook as it stands.

    Together not more than FREE; without a journal, where nothing else is left after a crash, not
    more than FREE or twice the notebook.
    """

    def __init__(
        self,
        rendering: Rendering,
        write: Callable[[bytes], None],
        *,
        has_journal: bool,
        first: float = FIRST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rendering = rendering
        self._write = write
        self._has_journal = has_journal
        self._clock = clock
        self._pause = first
        self._due = clock() + first
        self._spent = 0
        self._seen = -1  #: changes of the rendering that were written
        self._is_over = False

    def tick(self) -> float | None:
        """Write if it is time; return in how many seconds it will be. Nothing is raised."""
        if self._is_over:
            return None
        left = self._due - self._clock()
        if left > 0:
            return left
        if self._rendering.changes == self._seen:
            return None  # whatever changes something comes with another tick
        try:
            self._save()
        except Exception as error:  # noqa: BLE001 - papermill's clouds raise errors of their own
            # The run goes on, and its end is written all the same where there is room by then.
            logger.warning("the notebook is not written while the run goes on: %s", error)
            self._is_over = True
            return None
        self._seen = self._rendering.changes
        self._pause *= FACTOR
        self._due = self._clock() + self._pause
        return self._pause

    def _save(self) -> None:
        content = self._render(None)
        limit = FREE // 2 if self._has_journal else max(FREE, 2 * len(content))
        if self._has_journal and self._spent + len(content) > limit:
            content, limit = self._render(LARGE), FREE
        if self._spent + len(content) <= limit:
            self._write(content)
            self._spent += len(content)

    def _render(self, largest: int | None) -> bytes:
        notebook: NotebookNode = self._rendering.notebook(is_final=False, largest=largest)
        return as_bytes(notebook)
