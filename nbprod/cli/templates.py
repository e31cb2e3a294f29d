"""`nbprod templates`: the notebooks meant to be run many times."""

from typing import TYPE_CHECKING

import click

from nbprod.cli.main import DONE, FAILED
from nbprod.cli.output import json_option, number, print_json, table, templates_here, workspace
from nbprod.core.errors import NbprodError

if TYPE_CHECKING:
    from pathlib import Path

    from nbprod.notebook.template import Template

KINDS = ("explore", "baseline", "finetune", "evaluate", "score", "monitor", "report")


@click.group()
def templates() -> None:
    """Find, read, check and begin templates."""


@templates.command("list")
@json_option
def list_templates(*, as_json: bool) -> None:
    """List templates: the workspace's own, then installed packages', then the built-in ones."""
    _, listed = templates_here()
    found = []
    for name, entry in listed.items():
        try:
            found.append(entry.load())
        except NbprodError as error:  # one that is broken must not hide the others
            click.echo(f"{name} cannot be read. {error.what}\n{error.do}\n", err=True)
    if as_json:
        print_json([_described(template) for template in found])
        return
    table(
        ("TEMPLATE", "KIND", "FROM", "TITLE"),
        [
            (
                template.name,
                str(template.front_matter.kind or ""),
                template.package if template.origin == "package" else str(template.origin),
                template.title,
            )
            for template in found
        ],
    )


@templates.command()
@click.argument("name")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the parameters.")
@json_option
def show(name: str, *, schema: bool, as_json: bool) -> None:
    """Show a template: its parameters, the scraps it promises, what it asks for."""
    from nbprod.notebook.schema import json_schema

    template = _template(name)
    if schema:
        print_json(json_schema(template))
        return
    if as_json:
        print_json(_described(template) | {"schema": json_schema(template)})
        return
    front = template.front_matter
    click.echo(f"{template.name}: {front.title or 'no title'}")
    if front.description:
        click.echo(f"  {front.description}")
    click.echo(f"  {template.path}")
    click.echo("\nparameters")
    for parameter in template.parameters:
        default = f" = {parameter.default!r}" if parameter.has_default else ""
        annotation = f": {parameter.annotation}" if parameter.annotation else ""
        click.echo(f"  {parameter.name}{annotation}{default}")
        if parameter.help:
            click.echo(f"      {parameter.help}")
    if not template.parameters:
        click.echo("  none")
    click.echo("\nscraps")
    for scrap in front.scraps:
        marks = [str(scrap.type), "required" if scrap.required else "optional"]
        if scrap.range:
            marks.append(_range(*scrap.range))
        if scrap.unit:
            marks.append(scrap.unit)
        click.echo(f"  {scrap.name}: {', '.join(marks)}")
    if not front.scraps:
        click.echo("  none declared")
    click.echo(f"\nRun it: nbprod run {template.name}")


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"at most {number(high)}" if low is None else f"at least {number(low)}"
    return f"from {number(low)} to {number(high)}"


def _template(name: str) -> "Template":
    from pathlib import Path

    from nbprod.notebook.discovery import find_template

    ws, _ = templates_here()
    return find_template(name, folder=ws.templates_folder if ws else None, cwd=Path.cwd())


def _described(template: "Template") -> dict[str, object]:
    front = template.front_matter
    return {
        "name": template.name,
        "path": str(template.path),
        "origin": template.origin,
        "digest": template.digest,
        "kind": front.kind,
        "title": front.title,
        "description": front.description,
        "parameters": template.parameters,
        "scraps": front.scraps,
        "resources": front.resources,
    }


@templates.command()
@click.argument("name", required=False)
@click.option("--rules", is_flag=True, help="List the rules, each with its why.")
@json_option
def check(name: str | None, *, rules: bool, as_json: bool) -> int:
    """Check a template, or all of the workspace's, against the rules NB001, NB002, ..."""
    from nbprod.notebook.checks import check_file
    from nbprod.notebook.rules import RULES

    if rules:
        if as_json:
            print_json([{"code": r.code, "title": r.title, "why": r.why} for r in RULES.values()])
        for rule in () if as_json else RULES.values():
            click.echo(f"{rule.code}  {rule.title}\n       {rule.why}")
        return DONE
    chosen = _to_check(name)
    findings = [
        (title, finding)
        for title, path in chosen.items()
        for finding in check_file(path, name=title)
    ]
    if as_json:
        print_json([{"template": title, "finding": finding} for title, finding in findings])
        return FAILED if findings else DONE
    for title, finding in findings:
        where = f", {finding.place}" if finding.place else ""
        click.echo(f"{title}{where}: {finding.code} {finding.message}")
        if finding.why:
            click.echo(f"    why: {finding.why}")
    count = len(chosen)
    checked = "1 template" if count == 1 else f"{count} templates"
    click.echo(f"{checked} checked, {len(findings) or 'nothing'} found.", err=True)
    return FAILED if findings else DONE


def _to_check(name: str | None) -> "dict[str, Path]":
    """Return the files to check by name: the one asked for, else the workspace's own.

    Outside a workspace there are none of one's own: then the installed ones are checked. A file
    need not be readable as a template: that is then the finding.
    """
    from pathlib import Path

    ws, listed = templates_here()
    if name is None:
        return {
            title: entry.path
            for title, entry in listed.items()
            if ws is None or entry.origin == "workspace"
        }
    if name in listed:
        return {name: listed[name].path}
    if Path(name).is_file():
        return {name: Path(name)}
    return {name: _template(name).path}  # refuses the name, and suggests the nearest


@templates.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    default="explore",
    show_default=True,
    help="What it is for; decides what it begins with.",
)
def new(name: str, *, kind: str) -> None:
    """Begin a template that runs as it is and passes `check`."""
    from nbprod.notebook.scaffold import new_template

    path: Path = new_template(name, kind=kind, folder=workspace().templates_folder)
    click.echo(path)
    click.echo(f"Run it: nbprod run {name}", err=True)
