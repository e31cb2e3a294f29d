"""Say how a run ended: to whoever started it, or watched it."""

from typing import TYPE_CHECKING

import click

from nbprod.cli.extras import how_to_get
from nbprod.cli.main import DONE, FAILED
from nbprod.cli.output import scrap_text
from nbprod.core.words import duration

if TYPE_CHECKING:
    from nbprod.workspace import RunRecord

#: Of an error's message; what it says in full is in the notebook.
_LINES = 8


def code_of(record: "RunRecord") -> int:
    """Return the exit code of a command that stands for this run."""
    return DONE if record.status == "succeeded" else FAILED


def tell(record: "RunRecord") -> int:
    """Print how the run ended and what it left, and return the exit code."""
    succeeded = record.status == "succeeded"
    click.echo(f"{record.id}  {record.template}  {record.status}  {duration(record.seconds)}")
    if record.reason and succeeded:
        click.echo(f"  {record.reason}")
    for name in record.scraps:
        click.echo(f"  {name} = {scrap_text(record.scrap(name))}")
    click.echo(f"  notebook: {record.notebook}")
    if not succeeded:
        click.echo(f"\n{_why(record)}\nSee what happened: nbprod runs show {record.id}", err=True)
    return code_of(record)


def _why(record: "RunRecord") -> str:
    """Return the reason, which ends with the first line of a cell's error, and its other lines."""
    message = record.error.message if record.error else ""
    further = message.splitlines()[1 : 1 + _LINES]
    remedy = how_to_get(message)
    return "\n".join([record.reason, *further, *([remedy] if remedy else [])])
