"""`nbprod run`: one run, live."""

import click

from nbprod.cli.ending import code_of, tell
from nbprod.cli.output import json_option, print_json, workspace
from nbprod.cli.progress import shown


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
    if as_json:
        from nbprod.cli.runs import described

        print_json(described(record))
        return code_of(record)
    return tell(record)
