"""Print verdicts and decisions the way a person reads them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nbprod.cli.output import MARK, STATUS_STYLE, console
from nbprod.core.verdicts import Verdict
from nbprod.core.words import wrapped

if TYPE_CHECKING:
    from nbprod.workspace import Decision


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """Print one verdict a paragraph: mark, gate, then the sentence with its numbers."""
    from rich.markup import escape

    out = console()
    width = min(out.width, 100) if out.is_terminal else 100
    for verdict in verdicts:
        style = STATUS_STYLE[verdict.outcome]
        mark = MARK[verdict.outcome]
        out.print(f"  [{style}]{mark} {verdict.outcome}[/{style}]  {escape(verdict.gate)}")
        for line in wrapped(verdict.reason, width - 6):
            out.print(f"      {escape(line)}")


def print_decision(decision: "Decision") -> None:
    """Print the verdicts, what they rest on, and what moved."""
    from rich.markup import escape

    out = console()
    print_verdicts(decision.verdicts)
    if decision.note:
        out.print(f"\n  {escape(decision.note)}")
    style = STATUS_STYLE.get(decision.movement, "bold")
    out.print(f"\n[{style}]{decision.movement}[/{style}]: {escape(decision.explanation)}")
    if decision.movement == "overridden":
        out.print(f"The reason given stays on record: {escape(decision.reason)}")
