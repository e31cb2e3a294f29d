"""`nbprod doctor`: what is installed, reachable, missing, and what to do."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import click

from nbprod.cli.extras import EXTRAS
from nbprod.cli.main import DONE, FAILED
from nbprod.cli.output import console, json_option, print_json
from nbprod.core.errors import NbprodError, RuntimeFolderError, WorkspaceNotFoundError
from nbprod.core.words import count, without_password

if TYPE_CHECKING:
    from nbprod.workspace import Workspace


class State(StrEnum):
    """How a thing is found."""

    GOOD = "good"
    OPTIONAL = "optional"  #: not there, and not needed for everything
    BAD = "bad"  #: something will fail


MARKS = {
    State.GOOD: "[green]✓[/green]",
    State.OPTIONAL: "[yellow]-[/yellow]",
    State.BAD: "[red]✗[/red]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    state: State
    detail: str
    do: str = ""  #: a command, where something can be done


@click.command()
@json_option
def doctor(*, as_json: bool) -> int:
    """Say what is installed, reachable or missing, and what to do."""
    findings = list(_examine())
    if as_json:
        print_json(findings)
    else:
        from rich.markup import escape

        out = console()
        for finding in findings:
            out.print(f"{MARKS[finding.state]} {finding.subject:<11} {escape(finding.detail)}")
            if finding.do:
                out.print(f"              {escape(finding.do)}")
    return FAILED if any(finding.state is State.BAD for finding in findings) else DONE


def _examine() -> Iterator[Finding]:
    yield _python()
    yield from map(_extra, EXTRAS)
    yield _kernel()
    yield _warm()
    yield _gpus()
    try:
        import nbprod

        ws = nbprod.open()
    except WorkspaceNotFoundError as error:
        yield Finding(
            subject="workspace", state=State.OPTIONAL, detail=error.what, do="nbprod init ."
        )
        return
    except NbprodError as error:
        detail = f"{error.what} {error.why}"
        yield Finding(subject="workspace", state=State.BAD, detail=detail, do=error.do)
        return
    yield Finding(
        subject="workspace",
        state=State.GOOD,
        detail=f"{ws.settings.workspace.name} in {ws.root}",
    )
    for subject, look in _WORKSPACE_CHECKS.items():
        yield _guarded(subject, look, ws)


def _python() -> Finding:
    import platform
    import sys

    import nbprod

    detail = f"{platform.python_version()} at {sys.executable}, nbprod {nbprod.__version__}"
    return Finding(subject="python", state=State.GOOD, detail=detail)


def _extra(name: str) -> Finding:
    from importlib.util import find_spec

    missing = [package for package in EXTRAS[name] if find_spec(package) is None]
    if not missing:
        detail = ", ".join(_with_version(package) for package in EXTRAS[name])
        return Finding(subject=name, state=State.GOOD, detail=detail)
    return Finding(
        subject=name,
        state=State.OPTIONAL,
        detail=f"not installed: {', '.join(missing)}",
        do=f"pip install 'nbprod[{name}]'",
    )


def _with_version(package: str) -> str:
    from importlib.metadata import packages_distributions, version

    names = packages_distributions().get(package, [package])
    return f"{names[0]} {version(names[0])}"


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager

    found = sorted(KernelSpecManager().find_kernel_specs())
    if "python3" in found:
        return Finding(subject="kernels", state=State.GOOD, detail=", ".join(found))
    return Finding(
        subject="kernels",
        state=State.BAD,
        detail="There is no python3 kernel, so no notebook can run.",
        do="python -m ipykernel install --sys-prefix",
    )


def _warm() -> Finding:
    from nbprod.kernels import client
    from nbprod.kernels.launch import NotWarmError
    from nbprod.kernels.places import runtime_folder
    from nbprod.kernels.starts import StartKind, starts
    from nbprod.kernels.tally import tally

    try:
        client.check(os.environ)
        folder = runtime_folder()
    except NotWarmError as error:
        return Finding(
            subject="warm", state=State.OPTIONAL, detail=f"every kernel is cold: {error}"
        )
    except RuntimeFolderError as error:
        detail = f"every kernel is cold: {error.what} {error.why}"
        return Finding(subject="warm", state=State.OPTIONAL, detail=detail, do=error.do)
    states = client.states()
    for facts in states:
        problem = facts.get("problem") or facts.get("reason")
        if problem:
            detail = f"zygote {facts['key']}: {problem}"
            do = f"nbprod kernels stop {facts['key']}"
            return Finding(subject="warm", state=State.OPTIONAL, detail=detail, do=do)
    found = tally(starts(folder))
    quick = found.count("kernel", StartKind.SPARE, StartKind.FORKED)
    slow = found.count("kernel", StartKind.COLD)
    detail = f"{count(len(states), 'zygote')}; of {quick + slow:,} kernels {quick:,} were warm"
    last = found.last_cold("kernel")
    if last is not None:
        detail += f"; the last cold one because {last.reason}"
    return Finding(
        subject="warm",
        state=State.GOOD,
        detail=detail,
        do="" if states else "nbprod kernels warm",
    )


def _gpus() -> Finding:
    from nbprod.runners.gpus import inventory

    found = inventory()
    if found:
        detail = ", ".join(f"{gpu.name}, {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in found)
        return Finding(subject="gpus", state=State.GOOD, detail=detail)
    return Finding(subject="gpus", state=State.OPTIONAL, detail="none; runs use the CPU")


def _store(ws: "Workspace") -> Finding:
    from sqlalchemy.engine import make_url

    shown = make_url(ws.settings.workspace.store).render_as_string(hide_password=True)
    count = len(ws.store.runs.list(limit=1))
    return Finding(
        subject="store",
        state=State.GOOD,
        detail=f"{shown}, {'has runs' if count else 'no runs yet'}",
    )


def _artifacts(ws: "Workspace") -> Finding:
    ws.artifacts.check()
    return Finding(subject="artifacts", state=State.GOOD, detail=without_password(ws.artifacts.url))


def _disk(ws: "Workspace") -> Finding:
    if not os.access(ws.root, os.W_OK):
        return Finding(
            subject="disk",
            state=State.BAD,
            detail=f"{ws.root} cannot be written, so no run can be recorded.",
            do=f"ls -ld {shlex.quote(str(ws.root))}",
        )
    free = shutil.disk_usage(ws.root).free
    if free < 1e9:
        return Finding(
            subject="disk",
            state=State.BAD,
            detail=f"only {free / 1e6:.0f} MB are free where runs are kept",
            do=f"du -sh {shlex.quote(str(ws.root / '.nbprod'))}",
        )
    return Finding(subject="disk", state=State.GOOD, detail=f"{free / 1e9:.0f} GB free")


def _templates(ws: "Workspace") -> Finding:
    count = len(ws.templates())
    return Finding(subject="templates", state=State.GOOD, detail=f"{count} found")


def _models(ws: "Workspace") -> Finding:
    for name in ws.settings.models:
        ws.gates(name)
    declared = ", ".join(ws.settings.models) or "none declared"
    return Finding(subject="models", state=State.GOOD, detail=declared)


_WORKSPACE_CHECKS: dict[str, Callable[["Workspace"], Finding]] = {
    "disk": _disk,
    "store": _store,
    "artifacts": _artifacts,
    "templates": _templates,
    "models": _models,
}


def _guarded(subject: str, look: Callable[["Workspace"], Finding], ws: "Workspace") -> Finding:
    """Look, and turn an error into a finding: a doctor does not fall over."""
    try:
        return look(ws)
    except NbprodError as error:
        detail = " ".join(part for part in (error.what, error.why) if part)
        return Finding(subject=subject, state=State.BAD, detail=detail, do=error.do)
