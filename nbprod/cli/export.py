"""`nbprod export`: a model as plain files, for use without nbprod."""

from pathlib import Path

import click

from nbprod.cli.output import workspace


@click.command()
@click.argument("reference", metavar="NAME@ALIAS")
@click.argument("folder", type=click.Path(path_type=Path))
def export(reference: str, folder: Path) -> None:
    """Write a model as plain files, for use without nbprod.

    FOLDER gets its files, SHA256SUMS, and its lineage and verdicts as JSON.

    `sha256sum -c SHA256SUMS` and `from_pretrained` read it with nbprod uninstalled.
    """
    from nbprod.registry.export import export as write

    entry = write(workspace().registry, reference, folder)
    click.echo(f"{entry.name} version {entry.version} → {folder}")
    click.echo(f"Check it: cd {folder} && sha256sum -c SHA256SUMS", err=True)
