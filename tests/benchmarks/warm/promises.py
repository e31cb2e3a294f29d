"""What is promised of each measurement, and whether it holds: pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from figures import Figure

from warm.rounds import Rounds, in_seconds

PAPERMILL = "papermill-in-process"
SPARES, ON_DEMAND, COMMAND = "nbprod-spares", "nbprod-on-demand", "nbprod-command"
#: nbclient in a spare: a run that saves once, and has what nbprod's own has otherwise.
ONCE = "nbclient-warm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How much faster than a peer one of ours has to be on a notebook."""

    name: str
    case: str
    ours: str
    times: float
    peer: str = PAPERMILL
    under: float | None = None  #: seconds, on quiet cores


SPEEDS = (
    Speed(
        name="heavy imports, from an open workspace with spares",
        case="heavy",
        ours=SPARES,
        times=60,
        under=0.09,
    ),
    Speed(name="heavy imports, on demand", case="heavy", ours=ON_DEMAND, times=15),
    Speed(name="empty notebook, with spares", case="empty", ours=SPARES, times=10),
    Speed(name="20 cells, with spares", case="cells20", ours=SPARES, times=5),
    Speed(name="200 cells, with spares", case="cells200", ours=SPARES, times=5),
    Speed(
        name="`nbprod run empty.ipynb` as a command",
        case="empty",
        ours=COMMAND,
        times=5,
        peer="papermill",
    ),
)
_PEERS = {PAPERMILL: "papermill in-process", "papermill": "papermill as a command"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A figure, and the executions that it is about."""

    figure: Figure
    case: str
    contender: str


def judge(rounds: Rounds) -> Iterator[Judged]:
    """Yield every figure that follows from executions, with whose they are."""
    yield from speeds(rounds)
    for figure in each_cell(rounds):
        yield Judged(figure=figure, case="cells200", contender=SPARES)
    for figure in writing(rounds):
        yield Judged(figure=figure, case="outputs", contender=SPARES)


def speeds(rounds: Rounds) -> Iterator[Judged]:
    """Yield what was measured of each promised speed."""
    for speed in SPEEDS:
        ours = rounds.median(speed.case, speed.ours)
        peer = rounds.median(speed.case, speed.peer)
        if ours is None or peer is None:
            continue
        ratio = peer / ours
        goal = f"at least {speed.times:g} x"
        holds = ratio >= speed.times
        if speed.under is not None:
            goal += f", under {speed.under * 1000:.0f} ms"
            holds = holds and ours < speed.under
        figure = Figure(
            name=speed.name,
            ratio=f"{ratio:.1f} x faster than {_PEERS[speed.peer]}",
            measured=f"{ours * 1000:.0f} ms; {in_seconds(peer)} s",
            goal=goal,
            holds=holds,
        )
        yield Judged(figure=figure, case=speed.case, contender=speed.ours)


def each_cell(rounds: Rounds, *, cells: int = 200) -> Iterator[Figure]:
    """Yield what one more cell costs: 200 cells less the empty notebook."""
    many, none = rounds.median(f"cells{cells}", SPARES), rounds.median("empty", SPARES)
    if many is None or none is None:
        return
    per_cell = (many - none) / (cells - 1)
    yield Figure(
        name="each cell, with spares",
        measured=f"{per_cell * 1000:.1f} ms",
        goal="under 6 ms",
        holds=per_cell < 0.006,
    )


def writing(rounds: Rounds, *, case: str = "outputs") -> Iterator[Figure]:
    """Yield how much is written for each byte of the final notebook, and what that costs."""
    ours, peer = rounds.written(case, SPARES), rounds.written(case, PAPERMILL)
    if ours is not None and peer is not None:
        yield Figure(
            name="100 x 200 KB: bytes written",
            ratio=f"{ours:.2f} x the final file; papermill {peer:.1f} x",
            measured=f"{_megabytes(rounds, case, SPARES)} and "
            f"{_megabytes(rounds, case, PAPERMILL)}",
            goal="at most 3 x",
            holds=ours <= 3,
        )
    took, once = rounds.median(case, SPARES), rounds.median(case, ONCE)
    if took is not None and once is not None:
        cold = rounds.median(case, "nbclient")
        cold_words = "" if cold is None else f"; cold {in_seconds(cold)} s"
        yield Figure(
            name="100 x 200 KB: wall time",
            ratio=f"{took / once:.2f} x nbclient in a spare, which saves once",
            measured=f"{in_seconds(took)} s and {in_seconds(once)} s{cold_words}",
            goal="at most 1.3 x",
            holds=took / once <= 1.3,
        )


def _megabytes(rounds: Rounds, case: str, contender: str) -> str:
    written = [it.written for it in rounds.of(case, contender) if it.written is not None]
    return f"{sorted(written)[len(written) // 2] / 1e6:,.0f} MB"


def same_outputs(rounds: Rounds) -> Figure:
    """Return whether every contender's notebook held what the cells print, caps off."""
    return Figure(
        name="outputs, compared after every execution",
        measured=f"{rounds.executions - len(rounds.wrong):,} of {rounds.executions:,} right",
        goal="all the same",
        holds=not rounds.wrong,
    )


def rows(rounds: Rounds, *, contenders: Sequence[str]) -> list[dict[str, object]]:
    """Return every execution as the JSON file has it."""
    return [
        {
            "notebook": sample.case,
            "contender": sample.contender,
            "seconds": round(sample.seconds, 5),
            "written_bytes": sample.written,
            "notebook_bytes": sample.size,
        }
        for name in contenders
        for sample in rounds.samples
        if sample.contender == name
    ]
