"""`nbprod kernels`: what is kept warm, what it costs, and why a kernel was cold."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from nbprod.cli.main import DONE, FAILED
from nbprod.cli.output import ago, json_option, print_json, table
from nbprod.core.errors import NotKeptWarmError, UnknownZygoteError
from nbprod.core.words import bytes_size, count, duration

ROLES = ("kernel", "command")


@click.group()
def kernels() -> None:
    """Keep kernels warm: see what is, start it, stop it, and why one was cold."""


@kernels.command("list")
@json_option
def list_zygotes(*, as_json: bool) -> None:
    """List zygotes with their kernels, spares and memory."""
    from nbprod.kernels import client

    found = client.states()
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("Nothing is kept warm. Start it now: nbprod kernels warm", err=True)
        return
    columns = ("ZYGOTE", "ROLE", "PID", "RUNNING", "SPARES", "OWN", "SHARED", "UP", "STATE")
    table(columns, map(_line, found), right=("PID", "RUNNING", "SPARES", "OWN", "SHARED"))
    for facts in found:
        for module, problem in (facts.get("failures") or {}).items():
            click.echo(f"{facts['key']} does not import {module}: {problem}", err=True)


def _line(facts: Mapping[str, Any]) -> tuple[str, ...]:
    if "problem" in facts:
        return (facts["key"], *[""] * 7, facts["problem"])
    memory, spares = facts["memory"], facts["spares"]
    return (
        facts["key"],
        facts["role"],
        str(facts["pid"]),
        str(len(facts["kernels"])),
        f"{spares['count']} of {spares['wanted']}",
        bytes_size(memory.get("private_bytes", 0) + spares["private_bytes"]),
        bytes_size(memory.get("shared_bytes", 0)),
        _since(facts["started"]),
        "forks" if facts["is_safe"] else facts["reason"],
    )


@kernels.command()
@click.option(
    "--role",
    "roles",
    type=click.Choice(ROLES),
    multiple=True,
    default=ROLES,
    help="What to keep warm: what notebooks run in, or what nbprod's commands run in. Both.",
)
@click.option(
    "--plain", "is_plain", is_flag=True, help="For papermill, JupyterLab, ... in this workspace."
)
@json_option
def warm(*, roles: tuple[str, ...], is_plain: bool, as_json: bool) -> int:
    """Have zygotes for this folder's settings, and wait until they have imported everything.

    In a workspace they serve its runs; elsewhere, and with --plain, the notebooks of other tools.
    """
    from nbprod.kernels.client import warm_up
    from nbprod.kernels.launch import NotWarmError
    from nbprod.kernels.settings import find_settings

    settings, states = find_settings(Path.cwd()), []
    for role in dict.fromkeys(roles):
        try:
            # The list of modules is for kernels: commands have one of their own.
            asked = settings if role == "kernel" else replace(settings, preload=None)
            variables = _variables(role, is_plain=is_plain)
            facts = warm_up(role=role, settings=asked, environment=variables)
        except NotWarmError as error:
            raise NotKeptWarmError(role, error.reason) from error
        states.append(facts)
    if as_json:
        print_json(states)
    else:
        for facts in states:
            click.echo("\n".join(_described(facts)))
    return DONE if all(facts["is_safe"] for facts in states) else FAILED


def _variables(role: str, *, is_plain: bool) -> dict[str, str]:
    """Return the variables of what is to be forked: a run's kernel has some of its own."""
    from nbprod.kernels.settings import find_file

    if role != "kernel" or is_plain or find_file(Path.cwd()) is None:
        return dict(os.environ)
    from nbprod.workspace.supervise import kernel_variables

    return dict(os.environ) | kernel_variables()


def _described(facts: Mapping[str, Any]) -> Iterator[str]:
    seconds = facts["preload"]
    modules = count(len(seconds), "module")
    took = duration(sum(seconds.values()))
    yield f"{facts['key']} is warm for {facts['role']}s: {modules} imported in {took}."
    for module, problem in facts["failures"].items():
        yield f"  {module} was left out: {problem}"
    if not facts["is_safe"]:
        yield f"  It refuses to fork: {facts['reason']}"


@kernels.command()
@click.argument("zygote", required=False)
@json_option
def stop(zygote: str | None, *, as_json: bool) -> None:
    """Stop a zygote, or all of them. Kernels that run go on.

    ZYGOTE is a key that `nbprod kernels list` shows, or any unique beginning of one.
    """
    from nbprod.kernels import client

    keys = client.keys()  # not their states: who asks one that hangs has to kill it, and waits
    chosen = [key for key in keys if key.startswith(zygote or "")]
    if zygote is not None and len(chosen) != 1:
        raise UnknownZygoteError(zygote, keys)
    left = [key for key in chosen if client.stop(key)]
    if as_json:
        print_json({"stopped": left})
    elif left:
        click.echo(f"Stopped: {', '.join(left)}")
    else:
        click.echo("Nothing was kept warm.", err=True)


@kernels.command()
@json_option
def stats(*, as_json: bool) -> None:
    """Count starts: warm and cold, how long they took, and the reasons."""
    from nbprod.kernels import client
    from nbprod.kernels.places import runtime_folder
    from nbprod.kernels.starts import starts
    from nbprod.kernels.tally import tally

    found, states = tally(starts(runtime_folder())), client.states()
    memory = _memory(states)
    if as_json:
        print_json({"starts": found.kinds, "reasons": found.reasons, "memory": memory})
        return
    if not found.kinds:
        click.echo("No start is on record. Run a notebook: nbprod run TEMPLATE", err=True)
        return
    table(
        ("ROLE", "FROM", "STARTS", "MEDIAN", "LAST"),
        (
            (each.role, each.kind, str(each.count), _quick(each.median_seconds), _ago(each.last))
            for each in found.kinds
        ),
        right=("STARTS", "MEDIAN"),
    )
    if found.reasons:
        click.echo()
        table(
            ("ROLE", "FROM", "TIMES", "LAST", "WHY"),
            (
                (each.role, each.kind, str(each.count), _ago(each.last), each.reason)
                for each in found.reasons
            ),
            right=("TIMES",),
        )
    click.echo()
    click.echo(
        f"{count(memory['zygotes'], 'zygote')}, {count(memory['spares'], 'spare')}: "
        f"{bytes_size(memory['private_bytes'])} of their own, "
        f"{bytes_size(memory['shared_bytes'])} shared with what they forked."
    )


@kernels.command()
@click.option("--name", default="python3-warm", show_default=True, help="Name of the kernelspec.")
@click.option("--display-name", help="What JupyterLab shows.")
@click.option("--user", "is_for_user", is_flag=True, help="For this user's Jupyter, not this one.")
@click.option(
    "--prefix", type=click.Path(exists=True, file_okay=False), help="Of another environment."
)
@json_option
def install(
    *, name: str, display_name: str | None, is_for_user: bool, prefix: str | None, as_json: bool
) -> None:
    """Install the kernelspec "Python 3 (warm)" of this environment for a Jupyter in another one.

    The environment that Jupyter runs in needs nbprod as well: it starts the kernels.
    """
    from nbprod.kernels.install import install as install_spec

    if is_for_user and prefix is not None:
        raise click.UsageError("--user and --prefix are two places: name one.")
    try:
        folder = install_spec(
            name=name, display_name=display_name, prefix=prefix, is_for_user=is_for_user
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        print_json({"name": name, "folder": folder})
    else:
        click.echo(f"{name} is installed in {folder}")


def _memory(states: list[Mapping[str, Any]]) -> dict[str, int]:
    """Add up what zygotes and spares have: of their own, and shared with what was forked."""
    there = [facts for facts in states if "memory" in facts]
    own = [facts["memory"].get("private_bytes", 0) for facts in there]
    return {
        "zygotes": len(there),
        "spares": sum(facts["spares"]["count"] for facts in there),
        "private_bytes": sum(own) + sum(facts["spares"]["private_bytes"] for facts in there),
        "shared_bytes": sum(facts["memory"].get("shared_bytes", 0) for facts in there),
    }


def _since(seconds: float) -> str:
    return _ago(seconds).removesuffix(" ago")


def _ago(seconds: float) -> str:
    return ago(datetime.fromtimestamp(seconds, UTC))


def _quick(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)
