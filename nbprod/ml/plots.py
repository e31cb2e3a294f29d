"""The pictures in the templates. Each draws one new figure and returns nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator, PercentFormatter, StrMethodFormatter

from nbprod.ml.evaluation import Evaluation, calibration, slices, wilson
from nbprod.ml.style import (
    BLUE,
    GREY,
    HEAT,
    INK,
    MUTED,
    ORANGE,
    RED,
    ROLE_COLOURS,
    only_lines_across,
    only_lines_up,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDE = 8.0  # inches: a notebook's text column
_heat = LinearSegmentedColormap.from_list("nbprod heat", HEAT)


def class_balance(labels: pd.Series, *, title: str = "How many examples each class has") -> None:
    """Draw one bar a class, the largest on top."""
    counts = labels.value_counts(ascending=True)
    _, axes = plt.subplots(figsize=(WIDE, 1.2 + 0.24 * len(counts)))
    bars = axes.barh(counts.index, counts.to_numpy(), color=BLUE, height=0.72)
    axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=4, color=MUTED)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_xlim(0, counts.max() * 1.1)
    axes.margins(y=0.015)
    axes.set_title(title)
    only_lines_up(axes)


def lengths(counts: pd.Series, *, limit: int | None = None, unit: str = "words") -> None:
    """Draw the distribution of lengths, its median, and where a model would cut."""
    _, axes = plt.subplots(figsize=(WIDE, 3.2))
    top = int(np.ceil(counts.quantile(0.995)))
    width = max(1, top // 40)
    edges = np.arange(0.5, top + width + 0.5, width).tolist()
    axes.margins(y=0.16)  # room for the notes above the bars
    axes.hist(counts.clip(upper=top), bins=edges, color=BLUE, edgecolor="white", linewidth=0.6)
    median = counts.median()
    axes.axvline(median, color=ORANGE, linewidth=1.6)
    _note(axes, median, f"median {median:.0f}", ORANGE)
    if limit is not None and limit <= top:
        axes.axvline(limit, color=RED, linewidth=1.6, linestyle=(0, (4, 2)))
        _note(axes, limit, "cut here", RED)
    cut = "" if limit is None else f"; {(counts > limit).mean():.1%} are cut at {limit}"
    axes.set_title(f"How long the texts are, in {unit}")
    axes.set_xlabel(f"{unit} (the last bar holds everything longer{cut})")
    axes.set_ylabel("texts")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    only_lines_across(axes)


def _note(axes: "Axes", x: float, text: str, colour: str) -> None:
    """Write beside a vertical line, on the side that has room."""
    is_right = x < np.mean(axes.get_xlim())
    axes.annotate(
        text,
        (x, 0.96),
        xycoords=("data", "axes fraction"),
        xytext=(6 if is_right else -6, 0),
        textcoords="offset points",
        ha="left" if is_right else "right",
        va="top",
        color=colour,
        fontweight="bold",
    )


def learning_curve(curve: pd.DataFrame) -> None:
    """Draw losses on the left, what the validation rows say on the right."""
    _, (left, right) = plt.subplots(1, 2, figsize=(WIDE, 3.2))
    for column, colour, name in (
        ("loss", GREY, "training"),
        ("validation_loss", BLUE, "validation"),
    ):
        line = curve.dropna(subset=[column])
        marker = "o" if column == "validation_loss" else ""
        left.plot(line["step"], line[column], color=colour, linewidth=2, marker=marker, label=name)
    left.set_title("Loss")
    for column, colour, name in (("accuracy", GREY, "accuracy"), ("macro_f1", BLUE, "macro-F1")):
        line = curve.dropna(subset=[column])
        right.plot(line["step"], line[column], color=colour, linewidth=2, marker="o", label=name)
    right.set_title("On the validation rows")
    right.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.legend()
        only_lines_across(axes)


def comparison(summary: pd.DataFrame, rows: int) -> None:
    """Draw each model's accuracy and macro-F1 side by side, accuracy with its 95 % interval."""
    _, axes = plt.subplots(1, 2, figsize=(WIDE, 1.3 + 0.45 * len(summary)), sharey=True)
    order = summary.index[::-1]
    for panel, column, title in zip(
        axes, ("accuracy", "macro_f1"), ("Accuracy", "Macro-F1"), strict=True
    ):
        values = summary.loc[order, column].to_numpy()
        panel.barh(order, values, color=[ROLE_COLOURS[role] for role in order], height=0.6)
        ends = values
        if column == "accuracy":
            low, high = wilson(values * rows, np.full(len(values), rows))
            panel.errorbar(
                values, order, xerr=[values - low, high - values], fmt="none", ecolor=INK, capsize=3
            )
            ends = high
        for place, (value, end) in enumerate(zip(values, ends, strict=True)):
            panel.annotate(
                f"{value:.3f}", (end, place), xytext=(7, 0), textcoords="offset points",
                va="center", color=INK, weight="bold",
            )  # fmt: skip
        panel.set_xlim(0, 1.22)
        panel.set_xticks(np.linspace(0, 1, 6))
        panel.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        panel.set_title(title)
        only_lines_up(panel)


def confusion(evaluation: Evaluation, role: str) -> None:
    """Draw what each class was taken for, as shares of the class."""
    answers = evaluation.of(role)
    labels = list(evaluation.labels)
    counts = pd.crosstab(answers["label"], answers["predicted"])
    square = counts.reindex(index=labels, columns=labels, fill_value=0).to_numpy()
    shares = square / np.maximum(square.sum(axis=1, keepdims=True), 1)
    size = max(3.5, 1.6 + 0.3 * len(labels))
    _, axes = plt.subplots(figsize=(min(size + 0.8, 11), min(size, 10.2)))
    axes.imshow(shares, cmap=_heat, vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(shares >= 0.045), strict=True):
        share = shares[row, column]
        colour = "white" if share > 0.5 else INK
        axes.text(column, row, f"{share:.0%}"[:-1], ha="center", va="center", color=colour, size=8)
    axes.set_xticks(range(len(labels)), labels, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(labels) + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(visible=True, which="minor", color="#eef1f4", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("taken for")
    axes.set_ylabel("really")
    axes.set_title(f"The {role}'s answers, in percent of each class")


def reliability(evaluation: Evaluation) -> None:
    """Draw how often each model is right when it says it is so sure."""
    _, axes = plt.subplots(figsize=(WIDE * 0.62, 4.2))
    dashes = (0, (4, 3))
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, linestyle=dashes, label="as sure as right")
    for role in evaluation.probabilities:
        table = calibration(evaluation.of(role))
        table = table[table["rows"] >= 10]  # fewer say nothing
        axes.plot(
            table["score"],
            table["right"],
            color=ROLE_COLOURS[role],
            marker="o",
            linewidth=2,
            label=role,
            zorder=_depth(role),
        )
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("how sure the model says it is")
    axes.set_ylabel("how often it is right")
    axes.set_title("Calibration")
    axes.legend(loc="upper left")


def _depth(role: str) -> int:
    """Return where to draw a model: the candidate over the champion where they agree."""
    return 4 if role == "candidate" else 3


def precision_recall(evaluation: Evaluation) -> None:
    """Draw precision against recall, averaged over the classes with equal weight."""
    from sklearn.metrics import precision_recall_curve

    _, axes = plt.subplots(figsize=(WIDE * 0.62, 4.2))
    recall = np.linspace(0, 1, 201)
    for role, probabilities in evaluation.probabilities.items():
        curves = []
        for column, label in enumerate(evaluation.labels):
            is_label = evaluation.truth == label
            if is_label.any():
                precision, at, _ = precision_recall_curve(is_label, probabilities[:, column])
                best = np.maximum.accumulate(precision)  # the best precision at this recall or more
                curves.append(np.interp(recall, at[::-1], best[::-1]))
        mean = np.mean(curves, axis=0)
        name = f"{role} (area {np.trapezoid(mean, recall):.2f})"
        axes.plot(
            recall, mean, color=ROLE_COLOURS[role], linewidth=2, label=name, zorder=_depth(role)
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("recall: share of a class that is found")
    axes.set_ylabel("precision: share of the found that is right")
    axes.set_title("Precision and recall, mean over classes")
    axes.legend(loc="lower left")


def accuracy_by_slice(evaluation: Evaluation, column: str) -> None:
    """Draw each model's accuracy in each slice, with 95 % intervals and the slice's size."""
    table = slices(evaluation.predictions, column)
    names = _in_reading_order(table[column].unique().tolist())
    roles = list(evaluation.probabilities)
    _, axes = plt.subplots(figsize=(WIDE, 3.4))
    for offset, role in zip(np.linspace(-0.12, 0.12, len(roles)), roles, strict=True):
        rows = table[table["role"] == role].set_index(column).loc[names]
        centre = rows["accuracy"].to_numpy()
        spread = [centre - rows["low"].to_numpy(), rows["high"].to_numpy() - centre]
        axes.errorbar(
            np.arange(len(names)) + offset,
            centre,
            yerr=spread,
            fmt="o",
            markersize=7,
            capsize=3,
            color=ROLE_COLOURS[role],
            label=role,
        )
    sizes = table[table["role"] == roles[0]].set_index(column)["rows"]
    axes.set_xticks(range(len(names)), [f"{name}\n{sizes[name]:,} rows" for name in names])
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_title(f"Accuracy by {column}")
    axes.legend(ncols=len(roles), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    only_lines_across(axes)


def _in_reading_order(names: Sequence[str]) -> list[str]:
    """Return slices by their first number where they have one: "6-10 words" after "1-5 words"."""

    def key(name: str) -> tuple[int, str]:
        digits = "".join(c if c.isdigit() else " " for c in name).split()
        is_open = name.startswith("over ")
        return (int(digits[0]) + is_open if digits else 0, name)

    return sorted(names, key=key)


def latencies(latency: pd.DataFrame) -> None:
    """Draw how long single answers took: the bar holds 90 % of them, the dot is the median."""
    roles = list(latency["role"].unique())
    order = [role for role in ROLE_COLOURS if role in roles][::-1]
    _, axes = plt.subplots(figsize=(WIDE, 1.3 + 0.45 * len(order)))
    for place, role in enumerate(order):
        times = latency.loc[latency["role"] == role, "milliseconds"].to_numpy()
        low, middle, high = np.quantile(times, [0.05, 0.5, 0.95])
        axes.plot(
            [low, high], [place, place], color=ROLE_COLOURS[role], lw=9, solid_capstyle="butt"
        )
        axes.plot(middle, place, "o", color="white", markeredgecolor=INK, markersize=7)
        axes.annotate(
            f"median {middle:.1f} ms, 95 % within {high:.1f} ms",
            (high, place),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.6, len(order) - 0.4)
    slowest = latency.groupby("role")["milliseconds"].quantile(0.95).max()
    axes.set_xlim(0, float(slowest) * 1.9)  # room for the words beside the longest bar
    axes.set_xlabel("milliseconds for one text")
    axes.set_title("How long one answer takes")
    only_lines_up(axes)
