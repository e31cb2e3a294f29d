"""One look for every plot: few colours with fixed meanings, quiet axes, titles that state."""

from typing import TYPE_CHECKING

from nbprod.core.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#1f2933"  #: text
MUTED = "#7b8794"  #: axes, and what is there for comparison
GRID = "#e4e7eb"
BLUE = "#2f6db5"  #: the candidate, and anything that stands alone
ORANGE = "#dd7a2b"  #: the champion
GREY = "#9aa5b1"  #: the baseline
RED = "#c8443c"  #: what is wrong
#: Colours that stay apart for colour-blind readers, and in a greyscale print by their lightness.
ROLE_COLOURS = {"candidate": BLUE, "champion": ORANGE, "baseline": GREY}
#: White to the candidate's blue, for heat maps.
HEAT = ("#ffffff", "#dbe8f6", "#8fb7e0", BLUE, "#173a63")


def apply_style() -> None:
    """Set matplotlib's defaults for this kernel."""
    try:
        import matplotlib as mpl
        from cycler import cycler
    except ImportError as error:
        raise MissingExtraError("matplotlib") from error
    mpl.rcParams.update(
        {
            "axes.axisbelow": True,
            "axes.edgecolor": MUTED,
            "axes.grid": True,
            "axes.labelcolor": INK,
            "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREY, RED, INK]),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlepad": 12,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "font.family": "sans-serif",
            "font.size": 10,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "legend.frameon": False,
            "savefig.facecolor": "white",
            "text.color": INK,
            "xtick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.color": MUTED,
            "ytick.labelcolor": INK,
        }
    )


def only_lines_across(axes: "Axes") -> None:
    """Keep the grid that helps to read heights, and no left edge."""
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def only_lines_up(axes: "Axes") -> None:
    """Keep the grid that helps to read lengths of horizontal bars, and no bottom edge."""
    axes.grid(visible=False, axis="y")
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="both", length=0)
