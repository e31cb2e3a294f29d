"""The chart of the README: seconds by notebook and contender, in the look of the reports."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from nbprod.ml.style import BLUE, GREY, INK, MUTED, apply_style
from warm.cases import Case
from warm.contenders import Contender
from warm.rounds import Rounds, in_seconds

FLOOR = "#d3d9e0"  #: the script, which leaves no notebook
#: Inches of one bar with its gap, and of what a panel has around its bars.
BAR, AROUND = 0.24, 0.62


def draw(
    rounds: Rounds, contenders: Sequence[Contender], cases: Sequence[Case], path: Path
) -> None:
    """Write the chart to `path`, as PNG or SVG by its ending."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    apply_style()
    mpl.rcParams["svg.hashsalt"] = "nbprod"
    columns = 3 if len(cases) > 2 else len(cases)
    lines = -(-len(cases) // columns)
    height = lines * (len(contenders) * BAR + AROUND) + 0.3
    figure, panels = plt.subplots(
        lines, columns, figsize=(12, height), squeeze=False, sharey=True, layout="constrained"
    )
    for panel, case in zip(panels.flat, cases, strict=False):
        _panel(panel, rounds, contenders, case)
    for panel in list(panels.flat)[len(cases) :]:
        panel.set_visible(False)
    figure.suptitle(
        "Seconds from call to executed notebook, median of each contender",
        x=0.01, ha="left", weight="bold", size=13, color=INK,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None} if path.suffix == ".png" else {})
    plt.close(figure)


def _panel(panel: object, rounds: Rounds, contenders: Sequence[Contender], case: Case) -> None:
    """Draw one notebook's bars, the slowest contender's filling the panel."""
    from matplotlib.axes import Axes

    assert isinstance(panel, Axes)
    medians = [rounds.median(case.name, contender.name) for contender in contenders]
    slowest = max((it for it in medians if it is not None), default=1.0)
    for place, (contender, median) in enumerate(zip(contenders, medians, strict=True)):
        if median is None:
            panel.text(0, place, " cannot", va="center", color=MUTED, size=9)
            continue
        is_ours = contender.name.startswith("nbprod")
        colour = BLUE if is_ours else FLOOR if contender.name == "script" else GREY
        panel.barh(place, median, color=colour, height=0.72)
        panel.text(
            median + slowest * 0.015, place, in_seconds(median),
            va="center", color=INK, size=9, weight="bold" if is_ours else "normal",
        )  # fmt: skip
    panel.set_title(case.title, size=11, pad=6)
    panel.set_yticks(range(len(contenders)), [contender.label for contender in contenders])
    panel.set_xlim(0, slowest * 1.14)
    panel.set_xticks([])
    panel.grid(visible=False)
    panel.tick_params(axis="y", length=0)
    panel.spines["bottom"].set_visible(False)
    if not panel.yaxis_inverted():
        panel.invert_yaxis()
