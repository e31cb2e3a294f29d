"""What `make bench-kernels` does: measure the parts, hold them to what is promised, report."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from figures import Figure
from figures import table as table_of_figures

from warm import chart, load, promises, shutdowns, spares
from warm.cases import Case, cases, quick_cases
from warm.contenders import PLOOMBER, Contender, ContenderError, InProcess, Worker, peers
from warm.profiles import of_attempt, text_of
from warm.rounds import Rounds, table
from warm.rounds import measure as measure_rounds
from warm.workspaces import InWorkspace, OpenWorkspace, RunCommand

PARTS = ("rounds", "memory", "shutdowns", "load")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to measure, and how long."""

    parts: tuple[str, ...]
    cases: Mapping[str, Case]
    contenders: tuple[str, ...]  #: names; none for all
    rounds: int
    seconds: float
    submitters: int
    shutdowns: int
    is_quick: bool
    is_whole: bool  #: everything that the README states

    @classmethod
    def of(
        cls,
        *,
        quick: bool,
        parts: Sequence[str] = (),
        cases: Sequence[str] | None = None,
        contenders: Sequence[str] = (),
        rounds: int | None = None,
        seconds: float | None = None,
        submitters: int | None = None,
        shutdowns: int | None = None,
    ) -> Self:
        """Return what was asked for, the rest as the README's figures need it."""
        known = _known(quick=quick)
        return cls(
            parts=tuple(parts) or PARTS,
            cases={name: known[name] for name in cases} if cases else known,
            contenders=tuple(contenders),
            rounds=rounds or (1 if quick else 7),
            seconds=seconds or (3 if quick else 600),
            submitters=submitters or 2,
            shutdowns=shutdowns or (4 if quick else 500),
            is_quick=quick,
            is_whole=not (quick or parts or cases or contenders),
        )

    @property
    def preload(self) -> tuple[str, ...] | None:
        """Return what zygotes import: as a user who set nothing has it, unless it must be quick."""
        return ("pandas",) if self.is_quick else None


def _known(*, quick: bool) -> Mapping[str, Case]:
    return quick_cases() if quick else cases()


@dataclass(slots=True, kw_only=True)
class Report:
    """All that was measured."""

    where: str  #: the machine
    options: Options
    contenders: Sequence[Contender] = ()
    rounds: Rounds = field(default_factory=Rounds)
    figures: list[Figure] = field(default_factory=list)
    profiles: dict[str, str] = field(default_factory=dict)  #: by figure that does not hold
    notes: list[str] = field(default_factory=list)
    sustained: load.Load | None = None

    @property
    def holds(self) -> bool:
        """Say whether every promise is kept."""
        return all(figure.holds is not False for figure in self.figures)

    def text(self) -> str:
        """Return the tables in Markdown, the reasons below them."""
        parts = [self.where]
        if self.rounds.samples:
            parts.append(table(self.rounds, self.contenders, list(self.options.cases.values())))
        parts.append(table_of_figures(self.figures))
        parts += self.notes
        parts += [
            f"Where the time goes, {name}:\n\n```text\n{profile}\n```"
            for name, profile in self.profiles.items()
        ]
        return "\n\n".join(parts)

    def save(self, folder: Path, *, chart_path: Path | None) -> None:
        """Write kernels.json, kernels.md and kernels.png into `folder`; the chart elsewhere too."""
        facts: dict[str, Any] = {
            "machine": self.where.splitlines(),
            "figures": [asdict(figure) for figure in self.figures],
            "profiles": self.profiles,
            "notes": self.notes,
            "labels": {contender.name: contender.label for contender in self.contenders},
            "executions": promises.rows(
                self.rounds, contenders=[contender.name for contender in self.contenders]
            ),
        }
        if self.sustained is not None:
            facts["load"] = load.as_json(self.sustained)
        name = "kernels-quick" if self.options.is_quick else "kernels"
        if not self.options.is_whole and not self.options.is_quick:
            name = "-".join([name, *self.options.parts])
        (folder / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
        (folder / f"{name}.md").write_text(self.text() + "\n")
        if self.rounds.samples:
            shown = list(self.options.cases.values())
            for path in filter(None, (folder / f"{name}.png", chart_path)):
                chart.draw(self.rounds, self.contenders, shown, path)


def measure(options: Options, *, folder: Path, where: str) -> Report:
    """Measure the parts, one after the other; files go below `folder`."""
    report = Report(where=where, options=options)
    measured: dict[str, Callable[[Report, Path], None]] = {
        "rounds": _rounds,
        "memory": _memory,
        "shutdowns": _shutdowns,
        "load": _load,
    }
    for part in PARTS:
        if part in options.parts:
            _say(f"measuring: {part}")
            place = folder / part
            place.mkdir()
            measured[part](report, place)
    return report


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _rounds(report: Report, folder: Path) -> None:
    options = report.options
    with ExitStack() as stack:
        warm = stack.enter_context(
            OpenWorkspace(folder / "spares", spares=2, preload=options.preload)
        )
        bare = stack.enter_context(
            OpenWorkspace(folder / "on-demand", spares=0, preload=options.preload)
        )
        everyone: list[Contender] = []
        for contender in _contenders(warm, bare, folder):
            stack.callback(contender.close)
            if not options.contenders or contender.name in options.contenders:
                everyone.append(contender)
        report.contenders = everyone
        if not PLOOMBER.exists():
            report.notes.append(f"ploomber-engine: not measured, there is no {PLOOMBER.name}.")

        def settle() -> None:
            warm.settle()
            bare.settle()

        for workspace in (warm, bare):
            workspace.warm_up()
        report.rounds = measure_rounds(
            everyone,
            list(options.cases.values()),
            rounds=options.rounds,
            warm_ups=0 if options.is_quick else 1,
            folder=folder,
            settle=settle,
            say=_say,
        )
        _judge(report, {it.name: it for it in everyone}, folder)
    report.figures.append(promises.same_outputs(report.rounds))
    report.notes += report.rounds.wrong


def _contenders(warm: OpenWorkspace, bare: OpenWorkspace, folder: Path) -> Iterator[Contender]:
    """Yield all of them, as the table and the chart have them."""
    once = Worker("nbclient", environment=warm.environment, log=folder / "nbclient-warm.log")
    yield InWorkspace(promises.SPARES, "nbprod, with spares", warm)
    yield InWorkspace(promises.ON_DEMAND, "nbprod, on demand", bare)
    yield RunCommand(promises.COMMAND, "nbprod run (command)", warm)
    # In the workspace's folder, so that its settings hold and its zygote serves.
    yield InProcess(
        promises.ONCE, "nbclient in a spare", once, kernel="python3-warm", cwd=warm.folder
    )
    yield from peers(folder)


def _judge(report: Report, everyone: Mapping[str, Contender], folder: Path) -> None:
    """Add the figures; profile one more run of each that does not hold."""
    for judged in promises.judge(report.rounds):
        figure = judged.figure
        report.figures.append(figure)
        contender = everyone.get(judged.contender)
        if figure.holds or not isinstance(contender, InWorkspace):
            continue
        try:
            answer = contender.run(report.options.cases[judged.case], folder, profile=True).answer
        except ContenderError as error:
            report.notes.append(f"{figure.name}: no profile, {error}")
            continue
        median = report.rounds.middle(judged.case, judged.contender).answer
        again = of_attempt(answer, contender.workspace.environment)
        report.profiles[figure.name] = (
            f"{text_of(median)}\n\nits supervisor:\n{answer['profile']}\n\n"
            f"its attempt, done over again:\n{again}"
        )


def _memory(report: Report, folder: Path) -> None:
    options = report.options
    with OpenWorkspace(folder / "spares", spares=2, preload=options.preload) as workspace:
        workspace.warm_up()
        found, zygote, has_torch = spares.idle_spares(workspace)
        report.figures += spares.figures(found, zygote, has_torch=has_torch)


def _shutdowns(report: Report, folder: Path) -> None:
    options = report.options
    with (
        OpenWorkspace(folder / "spares", spares=2, preload=options.preload) as warm,
        OpenWorkspace(folder / "on-demand", spares=0, preload=options.preload) as bare,
    ):
        for workspace in (warm, bare):
            workspace.warm_up()
        found = shutdowns.end_many((warm, bare), runs=options.shutdowns, say=_say)
    report.figures += shutdowns.figures(found)
    report.notes += found.wrong


def _load(report: Report, folder: Path) -> None:
    options = report.options
    with OpenWorkspace(
        folder / "load", spares=2, preload=options.preload, workers=options.submitters
    ) as workspace:
        workspace.warm_up()
        report.sustained = load.sustain(
            workspace, seconds=options.seconds, is_heavy=not options.is_quick, say=_say
        )
    report.figures += load.figures(report.sustained)
    report.notes += [*report.sustained.wrong, *report.sustained.stalls]
