"""Every picture draws, with all it is about in it."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from labelled_texts import make_examples
from matplotlib import pyplot as plt

from nbprod.ml import plots
from nbprod.ml.baseline import TfidfBaseline
from nbprod.ml.evaluation import Evaluation, evaluate, summary
from nbprod.ml.style import apply_style


@pytest.fixture(autouse=True)
def figures() -> Iterator[None]:
    apply_style()
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    rows = make_examples(300)
    first = TfidfBaseline.fit(rows["text"][:100], rows["label"][:100])
    second = TfidfBaseline.fit(rows["text"][:30], rows["label"][:30])
    return evaluate(rows.iloc[100:], {"candidate": first, "baseline": second, "champion": first})


def texts_in_picture() -> set[str]:
    """Draw the only figure and return every text that is visible in it."""
    (number,) = plt.get_fignums()
    figure = plt.figure(number)
    figure.canvas.draw()
    return {
        text.get_text()
        for text in figure.findobj(plt.Text)
        if text.get_visible() and text.get_text()
    }


def test_class_balance_counts_every_class() -> None:
    plots.class_balance(pd.Series(["a"] * 1200 + ["b"] * 7))

    assert {"a", "b", "1,200", "7"} <= texts_in_picture()


def test_lengths_say_what_is_cut() -> None:
    plots.lengths(pd.Series([3] * 90 + [30] * 10), limit=20, unit="tokens")

    found = texts_in_picture()
    assert {"median 3", "cut here"} <= found
    assert "tokens (the last bar holds everything longer; 10.0% are cut at 20)" in found


def test_the_learning_curve_shows_both_losses_and_both_scores() -> None:
    curve = pd.DataFrame(
        {
            "step": [1, 2, 3],
            "loss": [3.0, 2.0, np.nan],
            "validation_loss": [np.nan, 2.5, 2.4],
            "accuracy": [np.nan, 0.5, 0.6],
            "macro_f1": [np.nan, 0.4, 0.5],
        }
    )

    plots.learning_curve(curve)

    assert {"training", "validation", "accuracy", "macro-F1", "Loss"} <= texts_in_picture()


def test_the_comparison_writes_each_number(evaluation: Evaluation) -> None:
    table = summary(evaluation)

    plots.comparison(table, rows=200)

    numbers = {f"{value:.3f}" for value in table[["accuracy", "macro_f1"]].to_numpy().ravel()}
    assert {"candidate", "baseline", "champion"} | numbers <= texts_in_picture()


@pytest.mark.parametrize("rows", [10, 40, 2000])
def test_no_number_stands_on_its_interval(rows: int) -> None:
    table = pd.DataFrame(
        {"accuracy": [0.55, 0.8, 1.0], "macro_f1": [0.5, 0.7, 1.0]},
        index=["candidate", "baseline", "champion"],
    )

    plots.comparison(table, rows=rows)

    figure = plt.gcf()
    figure.canvas.draw()
    for panel in figure.axes:
        edge = panel.get_window_extent()
        ends = [
            panel.transData.transform((x, y))
            for lines in panel.collections
            for segment in lines.get_segments()  # the intervals
            for x, y in segment
        ]
        for text in panel.texts:
            box = text.get_window_extent()
            assert box.x1 <= edge.x1
            assert all(x < box.x0 for x, y in ends if box.y0 <= y <= box.y1)


def test_the_confusion_matrix_names_every_class_on_both_sides(evaluation: Evaluation) -> None:
    plots.confusion(evaluation, "baseline")

    (axes,) = plt.gcf().axes
    names = ["animal", "food", "tool"]
    assert [label.get_text() for label in axes.get_xticklabels()] == names
    assert [label.get_text() for label in axes.get_yticklabels()] == names


@pytest.mark.parametrize("draw", [plots.reliability, plots.precision_recall])
def test_every_model_is_in_the_legend(draw: object, evaluation: Evaluation) -> None:
    assert callable(draw)
    draw(evaluation)

    found = " ".join(sorted(texts_in_picture()))
    assert all(role in found for role in ("candidate", "baseline", "champion"))


def test_slices_stand_in_reading_order_with_their_sizes(evaluation: Evaluation) -> None:
    plots.accuracy_by_slice(evaluation, "length")

    (axes,) = plt.gcf().axes
    sizes = evaluation.of("candidate")["length"].value_counts()
    order = ["6-10 words", "11-20 words"]
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        f"{name}\n{sizes[name]} rows" for name in order
    ]


def test_latencies_say_the_median_and_the_slow_end() -> None:
    rows = [(number, "candidate", float(number)) for number in range(101)]

    plots.latencies(pd.DataFrame(rows, columns=["round", "role", "milliseconds"]))

    assert "median 50.0 ms, 95 % within 95.0 ms" in texts_in_picture()
