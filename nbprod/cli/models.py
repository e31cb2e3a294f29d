"""`nbprod models`: which version serves, why, and since when."""

from typing import TYPE_CHECKING

import click

from nbprod.cli.main import BLOCKED, DONE
from nbprod.cli.output import ago, json_option, number, print_json, table, workspace
from nbprod.cli.verdicts import print_decision, print_verdicts
from nbprod.core.words import bytes_size, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbprod.core.models import ModelVersion, Promotion
    from nbprod.workspace import Workspace

_WIDTH = 100


@click.group()
def models() -> None:
    """Registered models: versions, aliases, promotion and rollback."""


@models.command("list")
@json_option
def list_models(*, as_json: bool) -> None:
    """List registered models with their champions."""
    ws = workspace()
    names = list(ws.models)
    rows = [
        (name, ws.registry.find(f"{name}@champion"), ws.models.versions(name)) for name in names
    ]
    if as_json:
        print_json(
            [
                {"name": name, "champion": champion, "versions": len(versions)}
                for name, champion, versions in rows
            ]
        )
        return
    if not names:
        click.echo("No models yet. A job's promote step registers them: nbprod jobs list", err=True)
        return
    table(
        ("MODEL", "CHAMPION", "VERSIONS", "REGISTERED"),
        [
            (
                name,
                f"version {champion.version}" if champion else "none",
                str(len(versions)),
                ago(versions[0].created_at),
            )
            for name, champion, versions in rows
        ],
        right=("VERSIONS",),
    )


@models.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show a model: who serves, where it came from, what the gates said, and its history.

    NAME may end in @ALIAS or @VERSION to show one version.
    """
    ws = workspace()
    base = name.partition("@")[0]
    versions = ws.models.versions(base)
    history = ws.registry.history(base)
    champion = ws.registry.find(f"{base}@champion")
    is_one = "@" in name or not versions  # an unknown name is refused by get, with those there are
    chosen = ws.registry.get(name) if is_one else champion or versions[0]
    if as_json:
        print_json(
            {
                "name": base,
                "champion": champion,
                "shown": chosen,
                "versions": versions,
                "history": [
                    {"event": event, "verdicts": ws.registry.verdicts(event.id)}
                    for event in history
                ],
            }
        )
        return
    declared = ws.settings.models.get(base)
    click.echo(f"{base}: {declared.description}" if declared else base)
    click.echo(f"  champion: {f'version {champion.version}' if champion else 'none yet'}")
    _version(ws, chosen)
    click.echo("\nhistory")
    widest = max((len(event.actor) for event in history), default=0)
    for event in history:
        _event(event, actor=event.actor.ljust(widest))


def _event(event: "Promotion", *, actor: str) -> None:
    """Print a decision: when, who, what moved or did not; below it, why."""
    was = f" (was {event.former})" if event.former else ""
    stays = (
        f"version {event.former} stays {event.alias}"
        if event.former
        else f"there is no {event.alias} yet"
    )
    what = {
        "promote": f"promoted     {event.alias} → version {event.version}{was}",
        "rollback": f"rolled back  {event.alias} → version {event.version}{was}",
        "refuse": f"refused      version {event.version}; {stays}",
    }[event.action]
    override = ", OVERRIDING its gates" if event.is_override else ""
    before = f"  {event.at:%Y-%m-%d %H:%M}  {actor}  "
    click.echo(f"{before}{what}{override}")
    indent = " " * (len(before) + len("rolled back  "))
    for line in wrapped(event.reason, max(_WIDTH - len(indent), 40)):
        click.echo(f"{indent}{line}")


def _version(ws: "Workspace", entry: "ModelVersion") -> None:
    from nbprod.gates.judge import recorded_note

    held = "".join(f" @{alias}" for alias in entry.aliases)
    when = f"registered {ago(entry.created_at)} by {entry.created_by}"
    click.echo(f"\nversion {entry.version}{held}, {when}")
    click.echo(f"  digest    sha256 {entry.digest}")
    click.echo(f"  files     {len(entry.files)}, {bytes_size(entry.size_bytes)}")
    click.echo(f"  from      {entry.source or 'a folder'}")
    lineage = entry.lineage
    if lineage:
        commit = lineage.get("git_commit") or "not in git"
        dirty = " with uncommitted changes" if lineage.get("git_dirty") else ""
        click.echo(f"  notebook  {lineage.get('notebook')}")
        digest = lineage.get("template_digest")
        click.echo(f"  template  {lineage.get('template')}, sha256 {digest}")
        click.echo(f"  git       {commit}{dirty}")
        data = lineage.get("data_fingerprints")
        for name, digest in (data if isinstance(data, dict) else {}).items():
            click.echo(f"  data      {name}: sha256 {digest}")
        python = lineage.get("python")
        click.echo(f"  packages  sha256 {lineage.get('environment_digest')} (Python {python})")
        parameters = lineage.get("parameters")
        if isinstance(parameters, dict):
            given = {key: value for key, value in parameters.items() if value is not None}
            _list("with", [f"{key}={number(value)}" for key, value in given.items()])
    if entry.scraps:
        _list("numbers", [f"{key} {number(value)}" for key, value in entry.scraps.items()])
    judged = [
        (event, verdicts)
        for event in ws.registry.history(entry.name)
        if event.version == entry.version and (verdicts := ws.registry.verdicts(event.id))
    ]
    for event, verdicts in judged[:1]:
        by = f", by run {event.evidence_run}" if event.evidence_run else ""
        click.echo(f"\ngates, at {event.at:%Y-%m-%d %H:%M}{by}")
        print_verdicts(verdicts)
        if note := recorded_note(verdicts):
            click.echo(f"\n  {note}")


def _list(title: str, items: "Sequence[str]") -> None:
    """Print items after a title, in lines that fit; no item is broken that fits into one."""
    lines = wrapped(", ".join(items), _WIDTH - 12)
    for number_, line in enumerate(lines):
        click.echo(f"  {title if number_ == 0 else '':10}{line}")


@models.command()
@click.argument("name")
@click.argument("version", type=int)
@click.option("--evidence", metavar="RUN", help="The evaluation run; the latest by default.")
@click.option("--dry-run", is_flag=True, help="Show the verdicts; move nothing.")
@click.option("--override", is_flag=True, help="Promote although a gate blocks. Needs --reason.")
@click.option("--reason", default="", help="Why; it stays on record for ever.")
@json_option
def promote(
    name: str,
    version: int,
    *,
    evidence: str | None,
    dry_run: bool,
    override: bool,
    reason: str,
    as_json: bool,
) -> int:
    """Make VERSION the champion of NAME, if its gates pass."""
    decision = workspace().promote(
        name, version=version, evidence=evidence, dry_run=dry_run, override=override, reason=reason
    )
    if as_json:
        print_json(decision)
    else:
        print_decision(decision)
    return BLOCKED if decision.is_blocked else DONE


@models.command()
@click.argument("name")
@click.option("--reason", default="", help="Why; it stays on record.")
@click.option("--dry-run", is_flag=True, help="Say where it would go back to; move nothing.")
def rollback(name: str, *, reason: str, dry_run: bool) -> None:
    """Move the champion back to the version that held it before."""
    ws = workspace()
    if dry_run:
        former = ws.registry.former(name)
        click.echo(f"{name}@champion would go back to version {former}. Nothing was moved.")
        return
    event = ws.registry.rollback(name, actor=ws.actor, reason=reason)
    click.echo(f"{name}@champion → version {event.version} (was version {event.former}).")


@models.command()
@click.argument("reference", metavar="NAME@ALIAS")
@click.option("--repair", is_flag=True, help="Replace an edited folder by the registered files.")
@json_option
def verify(reference: str, *, repair: bool, as_json: bool) -> None:
    """Check every file of a version against its recorded digest."""
    ws = workspace()
    entry = ws.registry.get(reference)
    path = ws.registry.repair(reference) if repair else ws.registry.verify(reference)
    if as_json:
        print_json({"reference": reference, "version": entry.version, "files": len(entry.files)})
        return
    click.echo(
        f"{reference} is version {entry.version}: {len(entry.files)} files, "
        f"{bytes_size(entry.size_bytes)}, all as recorded."
    )
    click.echo(f"  {path}")


@models.command("path")
@click.argument("reference", metavar="NAME@ALIAS")
def model_path(reference: str) -> None:
    """Print the folder of a version, after checking it."""
    click.echo(workspace().registry.path(reference))
