"""Show a job while it runs: a line a step as it ends, and the running step live."""

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from nbprod.cli.output import STATUS_STYLE, console
from nbprod.cli.progress import shown
from nbprod.core.events import Event
from nbprod.core.words import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbprod.jobs.execute import JobProgress
    from nbprod.jobs.file import Step
    from nbprod.jobs.outcome import StepOutcome


@contextmanager
def job_shown(*, quiet: bool = False) -> "Iterator[JobProgress | None]":
    """Yield what a job reports its progress to, on stderr; None when nothing is to be shown."""
    if quiet:
        yield None
        return
    with ExitStack() as stack:
        yield _Steps(stack)


class _Steps:
    """Opens the live view of a step when it starts, closes it when it ends."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._view: ExitStack | None = None
        self._on_event: Callable[[Event], None] | None = None
        self._place = ""

    def on_step_started(self, step: "Step", *, position: int, total: int) -> None:
        """Open the live view of a run step."""
        self._place = f"{position + 1} of {total}"
        if step.kind == "run":
            self._view = self._stack.enter_context(ExitStack())
            self._on_event = self._view.enter_context(shown(f"{self._place} {step.target}"))
        else:
            click.echo(f"{self._place} {step.kind} {step.target}".rstrip(), err=True)

    def on_event(self, step: "Step", event: Event) -> None:
        """Hand an event to the live view."""
        if self._on_event is not None:
            self._on_event(event)

    def on_step_finished(self, outcome: "StepOutcome") -> None:
        """Close the live view and leave a line in its place."""
        if self._view is not None:
            self._view.close()
            self._view = self._on_event = None
        if outcome.kind != "run":
            return
        style = STATUS_STYLE[outcome.status]
        out = console(err=True)
        took = duration(outcome.seconds)
        out.print(
            f"{self._place} {outcome.target} [{style}]{outcome.status}[/{style}] {took}".rstrip()
        )
