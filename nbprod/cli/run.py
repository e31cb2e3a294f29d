"""`nbprod run`: one run, live."""

from typing import TYPE_CHECKING

import click

from nbprod.cli.extras import how_to_get
from nbprod.cli.main import DONE, FAILED
from nbprod.cli.output import json_option, print_json, scrap_text, workspace
from nbprod.cli.progress import shown
from nbprod.core.words import duration

if TYPE_CHECKING:
    from nbprod.workspace import RunRecord

#: Of an error's message; what it says in full is in the notebook.
_LINES = 8


@click.command()
@click.argument("template")
@click.option(
    "-p", "--parameter", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter's value."
)
@click.option(
    "--allow-unknown",
    is_flag=True,
    help="Accept parameters that the notebook does not declare, as papermill does.",
)
@click.option(
    "--kernel", default="", metavar="NAME", help="Run in this Jupyter kernel, not its own."
)
@click.option("--quiet", is_flag=True, help="Show no progress.")
@json_option
def run(
    template: str,
    pairs: tuple[str, ...],
    *,
    allow_unknown: bool,
    kernel: str,
    quiet: bool,
    as_json: bool,
) -> int:
    """Execute a template or any papermill notebook.

    TEMPLATE is a name from `nbprod templates list` or a path.
    """
    from nbprod.notebook.binding import Mode, parse_pairs

    ws = workspace()
    given = parse_pairs(pairs)
    with shown(template, quiet=quiet or as_json) as progress:
        record = ws.run(
            template,
            parameters=given,
            mode=Mode.TEXT,
            progress=progress,
            allow_unknown=allow_unknown,
            kernel=kernel,
        )
    succeeded = record.status == "succeeded"
    if as_json:
        from nbprod.cli.runs import described

        print_json(described(record))
        return DONE if succeeded else FAILED
    click.echo(f"{record.id}  {record.template}  {record.status}  {duration(record.seconds)}")
    if record.reason and succeeded:
        click.echo(f"  {record.reason}")
    for name in record.scraps:
        click.echo(f"  {name} = {scrap_text(record.scrap(name))}")
    click.echo(f"  notebook: {record.notebook}")
    if not succeeded:
        click.echo(f"\n{_why(record)}\nSee what happened: nbprod runs show {record.id}", err=True)
    return DONE if succeeded else FAILED


def _why(record: "RunRecord") -> str:
    """Return the reason, which ends with the first line of a cell's error, and its other lines."""
    message = record.error.message if record.error else ""
    further = message.splitlines()[1 : 1 + _LINES]
    remedy = how_to_get(message)
    return "\n".join([record.reason, *further, *([remedy] if remedy else [])])
