"""`nbprod reports`: pages for people who never open a notebook."""

import click

from nbprod.cli.output import workspace


@click.group()
def reports() -> None:
    """Render runs and job runs as pages without code."""


@reports.command()
@click.argument("run", metavar="RUN|JOB_RUN")
@click.option("--open", "and_open", is_flag=True, help="Open the page in a browser.")
def make(run: str, *, and_open: bool) -> None:
    """Render the page of a run or of a whole job run, and print its path."""
    from nbprod.jobs.pages import make_page

    path = make_page(workspace(), run)
    click.echo(path)
    if and_open:
        click.launch(str(path))
