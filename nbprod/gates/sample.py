"""The rows of an evaluation, joined by example id: one array a column, the same order a role."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nbprod.core.evidence import Role
from nbprod.gates.metrics import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

REQUIRED_COLUMNS = ("example_id", "role", "label", "predicted")
Strings = npt.NDArray[np.str_]


class Unjudgeable(Exception):  # noqa: N818 - no error: the judge turns it into a verdict
    """Say why the evidence cannot decide; the verdict becomes `unknown` with this sentence."""

    def __init__(self, reason: str, **numbers: int | float | str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.numbers = numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What several models said about the same n examples."""

    ids: Strings  #: (n,) sorted
    classes: tuple[str, ...]  #: the K classes of the label column, sorted
    label: Ints  #: (n,) index into classes
    predicted: Mapping[Role, Ints]  #: (n,) index into classes; K for any other class
    score: Mapping[Role, Floats]  #: (n,) probability given to the predicted class; may be missing
    label_score: Mapping[Role, Floats]  #: (n,) probability given to the label; may be missing
    group: Ints | None  #: (n,) number of the row's group, 0..G-1; None where rows are independent
    rows: "pd.DataFrame"  #: the candidate's rows in the same order, for slice columns

    @property
    def n(self) -> int:
        """Return the number of examples."""
        return len(self.ids)

    @property
    def roles(self) -> tuple[Role, ...]:
        """Return the models compared."""
        return tuple(self.predicted)

    @property
    def groups(self) -> int | None:
        """Return the number of groups, None where rows are independent."""
        return None if self.group is None else int(self.group.max()) + 1

    def right(self, role: Role) -> npt.NDArray[np.bool_]:
        """Say of each example whether `role` had it right."""
        return np.asarray(self.predicted[role] == self.label)


def join(predictions: "pd.DataFrame | None", roles: tuple[Role, ...]) -> Sample:
    """Return the rows of `roles`, joined by example id and checked.

    Raises:
        Unjudgeable: something is missing, not a number, there twice, or differs between roles.
    """
    if predictions is None:
        raise Unjudgeable("The evaluation left no predictions frame.")
    missing = [name for name in REQUIRED_COLUMNS if name not in predictions.columns]
    if missing:
        found = ", ".join(map(str, predictions.columns))
        raise Unjudgeable(
            f"The predictions frame lacks {', '.join(map(repr, missing))}; it has {found}."
        )
    parts = {role: _rows_of(predictions, role) for role in roles}
    first = parts[roles[0]]
    ids = _texts(first["example_id"])
    labels = _texts(first["label"])
    group = _texts(first["group"]) if "group" in first.columns else None
    for role in roles[1:]:
        _check_alike(roles[0], ids, labels, group, role, parts[role])
    classes, label = np.unique(labels, return_inverse=True)
    return Sample(
        ids=ids,
        classes=tuple(map(str, classes)),
        label=label.astype(np.int64),
        predicted={
            role: _encode(_texts(part["predicted"]), classes) for role, part in parts.items()
        },
        score=_probabilities(parts, "score"),
        label_score=_probabilities(parts, "label_score"),
        group=_number_groups(group),
        rows=first,
    )


def _rows_of(predictions: "pd.DataFrame", role: Role) -> "pd.DataFrame":
    rows = predictions[predictions["role"].astype(str) == role.value]
    if rows.empty:
        raise Unjudgeable(f"The predictions frame has no rows of the {role}.")
    needed = [name for name in (*REQUIRED_COLUMNS, "group") if name in rows.columns]
    for name in needed:
        empty = int(rows[name].isna().sum())
        if empty:
            raise Unjudgeable(
                f"{empty:,} of the {role}'s {len(rows):,} rows have no {name!r} (NaN or null)."
            )
    ids = _texts(rows["example_id"])
    order = np.argsort(ids, kind="stable")
    twice = ids[order][1:][ids[order][1:] == ids[order][:-1]]
    if len(twice):
        raise Unjudgeable(
            f"The {role} has several rows for the same example: {len(twice):,} too many, "
            f"the first with example_id {str(twice[0])!r}."
        )
    return rows.iloc[order]


def _check_alike(
    one: Role,
    ids: Strings,
    labels: Strings,
    group: Strings | None,
    other: Role,
    rows: "pd.DataFrame",
) -> None:
    its_ids = _texts(rows["example_id"])
    if not np.array_equal(ids, its_ids):
        only_one = len(np.setdiff1d(ids, its_ids))
        only_other = len(np.setdiff1d(its_ids, ids))
        raise Unjudgeable(
            f"The {one} and the {other} were not scored on the same examples: {only_one:,} only by "
            f"the {one}, {only_other:,} only by the {other}."
        )
    unlike = np.flatnonzero(labels != _texts(rows["label"]))
    if len(unlike):
        raise Unjudgeable(
            f"The labels that the {one} and the {other} were scored against differ in "
            f"{len(unlike):,} of {len(ids):,} examples, the first with example_id "
            f"{str(ids[unlike[0]])!r}."
        )
    if group is not None and not np.array_equal(group, _texts(rows["group"])):
        raise Unjudgeable(f"The {one} and the {other} disagree about the examples' groups.")


def _texts(column: "pd.Series") -> Strings:
    return np.asarray(column.to_numpy(dtype=object), dtype=str)


def _encode(values: Strings, classes: Strings) -> Ints:
    """Return the index of each value in sorted `classes`, len(classes) where it is none of them."""
    position = np.searchsorted(classes, values).clip(max=len(classes) - 1)
    return np.where(classes[position] == values, position, len(classes)).astype(np.int64)


def _probabilities(parts: "Mapping[Role, pd.DataFrame]", name: str) -> dict[Role, Floats]:
    import pandas as pd

    return {
        role: pd.to_numeric(part[name], errors="coerce").to_numpy(dtype=float)
        for role, part in parts.items()
        if name in part.columns
    }


def _number_groups(group: Strings | None) -> Ints | None:
    if group is None:
        return None
    names, number = np.unique(group, return_inverse=True)
    # A group of its own for every row says nothing: the exact methods for single rows apply.
    return None if len(names) == len(group) else number.astype(np.int64)
