"""`nbprod runs`: look at past runs."""

from typing import TYPE_CHECKING

import click

from nbprod.cli.output import (
    ago,
    json_option,
    number,
    plain,
    print_json,
    run_line,
    scrap_text,
    table,
    workspace,
)
from nbprod.core.errors import NoExecutedNotebookError
from nbprod.core.words import bytes_size, duration

if TYPE_CHECKING:
    from nbprod.core.usage import Usage
    from nbprod.workspace import RunRecord

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled", "lost")


@click.group()
def runs() -> None:
    """Look at past runs."""


def described(record: "RunRecord") -> dict[str, object]:
    """Return a run with its scraps as JSON values; sidecars by path and digest."""
    values = plain(record.run)
    assert isinstance(values, dict)
    scraps = {name: plain(record.scrap(name)) for name in record.scraps}
    return values | {
        "seconds": record.seconds,
        "notebook": str(record.notebook),
        "log": str(record.log),
        "cells": plain(record.cells()),
        "scraps": scraps,
    }


@runs.command("list")
@click.option("--template", help="Only runs of this template.")
@click.option("--status", type=click.Choice(STATUSES), help="Only runs in this state.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Newest runs to show.",
)
@json_option
def list_runs(*, template: str | None, status: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first."""
    from nbprod.core.runs import RunStatus

    found = workspace().store.runs.list(
        template=template, status=RunStatus(status) if status else None, limit=limit
    )
    if as_json:
        print_json(found)
        return
    if not found:
        is_filtered = template is not None or status is not None
        none = "No such runs. See them all: nbprod runs list"
        start = "No runs yet. Start one with: nbprod run TEMPLATE"
        click.echo(none if is_filtered else start, err=True)
        return
    table(("RUN", "TEMPLATE", "STATUS", "STARTED", "TOOK"), map(run_line, found), right=("TOOK",))


@runs.command()
@click.argument("run")
@json_option
def show(run: str, *, as_json: bool) -> None:
    """Show one run: how it ended, its parameters, scraps and lineage.

    RUN is an id, any unique beginning of one, "latest" or "latest~1".
    """
    record = workspace().record(run)
    if as_json:
        print_json(described(record))
        return
    _describe(record)


def used(usage: "Usage") -> str:
    """Return what was used in words: "12 s of CPU time, 812.3 MB of memory at most"."""
    words = (
        f"{duration(usage.cpu_seconds)} of CPU time, {bytes_size(usage.peak_rss_bytes)} of memory"
    )
    if usage.peak_gpu_bytes is not None:
        words += f", {bytes_size(usage.peak_gpu_bytes)} on GPUs"
    return f"{words} at most"


def _describe(record: "RunRecord") -> None:
    lineage = record.lineage
    click.echo(f"{record.id}  {record.template}  {record.status}")
    if record.reason:
        click.echo(f"  {record.reason}")
    took = f"took {duration(record.seconds)}" if record.run.finished_at else "still running"
    begun = f"started {ago(record.started_at)}, {took}" if record.started_at else "not begun"
    click.echo(f"  {begun}")
    if record.usage is not None:
        click.echo(f"  {used(record.usage)}")
    click.echo("\nparameters")
    for name, value in record.parameters.items():
        click.echo(f"  {name} = {number(value)}")
    click.echo("\nscraps")
    for name in record.scraps:
        click.echo(f"  {name} = {scrap_text(record.scrap(name))}")
    commit = lineage.git_commit or "not in git"
    state = " with uncommitted changes" if lineage.git_dirty else ""
    click.echo("\nlineage")
    click.echo(f"  template  sha256 {lineage.template_digest}")
    click.echo(f"  git       {commit}{state}")
    for name, digest in lineage.data_fingerprints.items():
        click.echo(f"  data      {name}: sha256 {digest}")
    for name, digest in lineage.models.items():
        click.echo(f"  model     {name}: sha256 {digest}")
    click.echo(f"  packages  sha256 {lineage.environment_digest} (Python {lineage.python})")
    devices = ", ".join(lineage.devices) or "CPU"
    click.echo(f"  by        {lineage.user} on {lineage.host}, {devices}")
    click.echo("\nfiles")
    for kind, path in (("notebook", record.notebook), ("log", record.log)):
        absent = "none: it ended before that" if record.status.is_final else "not yet"
        click.echo(f"  {kind:<8}  {path if path.is_file() else absent}")
    if record.error and record.error.traceback:
        click.echo(f"\n{record.error.traceback}")


@runs.command()
@click.argument("run")
@click.option("--quiet", is_flag=True, help="Show no progress, only how it ended.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON a change.")
def watch(run: str, *, quiet: bool, as_json: bool) -> int:
    """Watch a run until it ends, whoever started it, and exit as it does.

    RUN is an id, any unique beginning of one, "latest" or "latest~1". Ctrl-C ends the watching, not
    the run.
    """
    from nbprod.cli.ending import code_of, tell
    from nbprod.cli.main import DONE, FAILED
    from nbprod.cli.progress import JsonLines, Lines, shown, write_json_line
    from nbprod.workspace.following import follow

    ws = workspace()
    record = ws.record(run)
    with shown(record.template, quiet=quiet or as_json) as show:
        if as_json:
            show = JsonLines(record.id)
        try:
            for event in follow(ws.store, ws.root, record.id):
                if event is not None:
                    show(event)
                elif isinstance(show, JsonLines | Lines):
                    show.tick()
        except BrokenPipeError:
            return DONE  # whoever read it has seen enough: `nbprod runs watch ID --json | head -3`
        except KeyboardInterrupt:
            again = f"Watch it again: nbprod runs watch {record.id}"
            click.echo(f"No longer watched; the run goes on. {again}", err=True)
            return FAILED
    record = ws.record(record.id)
    if not as_json:
        return tell(record)
    fields = {name: plain(getattr(record, name)) for name in ("status", "reason", "error")}
    usage = plain(record.run.usage)
    write_json_line(
        {"run": record.id, "event": "final", **fields, "seconds": record.seconds, "usage": usage}
    )
    return code_of(record)


@runs.command("open")
@click.argument("run")
@click.option("--print", "only_print", is_flag=True, help="Print the path; open nothing.")
def open_run(run: str, *, only_print: bool) -> None:
    """Open the executed notebook of a run, in JupyterLab where it is installed."""
    import os
    import shutil
    import sys
    from pathlib import Path

    record = workspace().record(run)
    path = record.notebook
    if not path.is_file():
        raise NoExecutedNotebookError(record.id, record.status, record.reason)
    jupyter = Path(sys.executable).with_name("jupyter")
    if only_print or not sys.stdout.isatty():
        click.echo(path)
        return
    if (jupyter.is_file() or shutil.which("jupyter")) and _has("jupyterlab"):
        command = str(jupyter) if jupyter.is_file() else "jupyter"
        os.execvp(command, [command, "lab", str(path)])
    click.echo(path)
    click.echo("JupyterLab is not installed: pip install 'nbprod[lab]'", err=True)


def _has(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


@runs.command()
@click.argument("ids", metavar="RUN RUN ...", nargs=-1, required=True)
@json_option
def compare(ids: tuple[str, ...], *, as_json: bool) -> None:
    """Compare runs side by side: what differs in parameters and scraps."""
    if len(ids) < 2:
        raise click.UsageError("Comparing takes two runs or more: nbprod runs list")
    ws = workspace()
    records = [ws.record(run) for run in ids]
    rows = _differences(records)
    if as_json:
        print_json({"runs": [record.id for record in records], "rows": rows})
        return
    table(
        ("", *(record.id for record in records)),
        [(name, *(number(value) for value in values)) for name, values in rows.items()],
    )


def _differences(records: "list[RunRecord]") -> dict[str, list[object]]:
    """Return name -> a value a run: all numbers, and whatever else differs."""
    rows: dict[str, list[object]] = {
        "template": [record.template for record in records],
        "status": [str(record.status) for record in records],
        "seconds": [record.seconds for record in records],
        "git": [record.lineage.git_commit for record in records],
    }
    parameters = {name for record in records for name in record.parameters}
    for name in sorted(parameters):
        values: list[object] = [record.parameters.get(name) for record in records]
        if any(value != values[0] for value in values):
            rows[f"parameters.{name}"] = values
    scraps = {name for record in records for name in record.numbers()}
    for name in sorted(scraps):
        rows[name] = [record.numbers().get(name) for record in records]
    return rows
