"""`nbprod templates`: the notebooks meant to be run many times."""

from typing import TYPE_CHECKING

import click

from nbprod.cli.main import DONE, FAILED
from nbprod.cli.output import json_option, number, print_json, table, workspace

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
    from nbprod.notebook.template import load_template

    found = [
        (name, entry.origin, load_template(entry.path, name=name))
        for name, entry in workspace().templates().items()
    ]
    if as_json:
        print_json([_described(template) | {"origin": origin} for _, origin, template in found])
        return
    table(
        ("TEMPLATE", "KIND", "FROM", "TITLE"),
        [
            (name, template.front_matter.kind or "", origin, template.front_matter.title or "")
            for name, origin, template in found
        ],
    )


@templates.command()
@click.argument("name")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the parameters.")
@json_option
def show(name: str, *, schema: bool, as_json: bool) -> None:
    """Show a template: its parameters, the scraps it promises, what it asks for."""
    from nbprod.notebook.schema import json_schema

    template = workspace().template(name)
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
            marks.append(f"from {number(scrap.range[0])} to {number(scrap.range[1])}")
        if scrap.unit:
            marks.append(scrap.unit)
        click.echo(f"  {scrap.name}: {', '.join(marks)}")
    if not front.scraps:
        click.echo("  none declared")
    click.echo(f"\nRun it: nbprod run {template.name}")


def _described(template: "Template") -> dict[str, object]:
    front = template.front_matter
    return {
        "name": template.name,
        "path": str(template.path),
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
    from nbprod.notebook.checks import check as check_template
    from nbprod.notebook.rules import RULES
    from nbprod.notebook.template import load_template

    if rules:
        if as_json:
            print_json(list(RULES.values()))
        for rule in () if as_json else RULES.values():
            click.echo(f"{rule.code}  {rule.title}\n       {rule.why}")
        return DONE
    ws = workspace()
    if name:
        chosen = [ws.template(name)]
    else:
        own = ws.templates_folder.resolve()
        chosen = [
            load_template(entry.path, name=key)
            for key, entry in ws.templates().items()
            if entry.path.resolve().is_relative_to(own)
        ]
    findings = [(template, finding) for template in chosen for finding in check_template(template)]
    if as_json:
        print_json([{"template": template.name, "finding": item} for template, item in findings])
        return FAILED if findings else DONE
    for template, finding in findings:
        where = f", cell {finding.cell}" if finding.cell is not None else ""
        click.echo(f"{template.name}{where}: {finding.code} {finding.message}")
        click.echo(f"    why: {finding.why}")
    count = len(chosen)
    checked = "1 template" if count == 1 else f"{count} templates"
    click.echo(f"{checked} checked, {len(findings) or 'nothing'} found.", err=True)
    return FAILED if findings else DONE


@templates.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), default="explore", show_default=True)
def new(name: str, *, kind: str) -> None:
    """Begin a template that runs as it is and passes `check`."""
    from nbprod.notebook.scaffold import new_template

    path: Path = new_template(name, kind=kind, folder=workspace().templates_folder)
    click.echo(path)
    click.echo(f"Run it: nbprod run {name}", err=True)
