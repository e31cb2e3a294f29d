"""Gather what a promotion is decided on, from an evaluation run's scraps and the models' folders.

What the evaluating notebook claims is checked where it can be: example ids and labels are
digested anew, and the rows a model was trained on are read from that model's own record. Of a
model that is registered, or that a run left, that is the file stored by digest: its folder could
have been edited since.
"""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.digest import digest_folder, digest_json
from nbprod.core.evidence import Evidence, hash_id
from nbprod.core.json import JSON
from nbprod.core.models import TRAINING_IDS_FILE, ModelFile

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from nbprod.store.artifacts import Artifacts
    from nbprod.workspace.records import RunRecord

    Hashes = npt.NDArray[np.uint64]

#: digest of a model -> its files by path
Manifests = Mapping[str, Mapping[str, ModelFile]]


def gather(
    record: "RunRecord",
    *,
    candidate: str,
    champion: str | None,
    manifests: Manifests,
    artifacts: "Artifacts",
    decided: Callable[[str], int],
) -> Evidence:
    """Return the evidence that the evaluation `record` left.

    Args:
        record: the evaluation run.
        candidate: digest of the model that wants to be promoted.
        champion: digest of the current champion, None when there is none.
        manifests: the models whose files `artifacts` holds; others are looked for where the
            notebook says it found them.
        artifacts: files by digest.
        decided: counts the promotions that an evaluation set has decided.

    Raises:
        SidecarDamagedError: a frame of the run is not what the run left.
        ArtifactDamagedError, ArtifactMissingError: a stored training record is not whole.
    """
    predictions = _frame(record, "predictions")
    models = _mapping(record, "models")
    scored = {role: str(_mapping_of(model).get("digest", "")) for role, model in models.items()}
    claimed = {
        role: Path(str(path))
        for role, model in models.items()
        if (path := _mapping_of(model).get("path"))
    }
    evaluation = evaluation_digest(predictions)
    return Evidence(
        predictions=predictions,
        latency=_frame(record, "latency"),
        scraps={name: record.scrap(name).value for name in record.scraps},
        scored=scored,
        candidate=candidate,
        champion=champion,
        fingerprints={role: str(value) for role, value in _mapping(record, "fingerprints").items()},
        seen_in_training={
            role: _seen(
                predictions,
                role,
                _stored(manifests[digest], artifacts)
                if digest in manifests
                else _claimed(claimed.get(role), digest),
            )
            for role, digest in scored.items()
        },
        evaluation_digest=evaluation,
        decided=decided(evaluation) if evaluation else 0,
        run=record.id,
    )


def evaluation_digest(predictions: "pd.DataFrame | None") -> str:
    """Return the sha256 over the sorted example ids and their labels; "" without predictions."""
    if predictions is None or not {"example_id", "label"} <= set(predictions.columns):
        return ""
    pairs = predictions[["example_id", "label"]].drop_duplicates().astype(str)
    ordered: list[JSON] = [list(pair) for pair in sorted(pairs.itertuples(index=False, name=None))]
    return digest_json(ordered)


def _frame(record: "RunRecord", name: str) -> "pd.DataFrame | None":
    import pandas as pd

    value = record.scraps.get(name)
    return value if isinstance(value, pd.DataFrame) else None


def _mapping(record: "RunRecord", name: str) -> Mapping[str, JSON]:
    value = record.scrap(name).value if name in record.scraps else None
    return _mapping_of(value)


def _mapping_of(value: JSON) -> Mapping[str, JSON]:
    return value if isinstance(value, dict) else {}


def _stored(files: Mapping[str, ModelFile], artifacts: "Artifacts") -> "Hashes | None":
    """Return the hashes of a stored model's training rows; None when it left no record."""
    file = files.get(TRAINING_IDS_FILE)
    if file is None:
        return None
    artifacts.verify(file.sha256)
    with artifacts.open(file.sha256) as stored:
        return _hashes(io.BytesIO(stored.read()))


def _claimed(folder: Path | None, digest: str) -> "Hashes | None":
    """Return the same of the folder that the notebook named, if it still holds what was scored."""
    if folder is None or not (folder / TRAINING_IDS_FILE).is_file():
        return None
    return _hashes(folder / TRAINING_IDS_FILE) if digest_folder(folder) == digest else None


def _hashes(source: "Path | io.BytesIO") -> "Hashes | None":
    import numpy as np

    found = np.load(source, allow_pickle=False)
    return found.astype(np.uint64) if found.dtype.kind in "ui" else None


def _seen(predictions: "pd.DataFrame | None", role: str, trained: "Hashes | None") -> int | None:
    """Return how many evaluation rows the model was trained on; None when that is not known."""
    import numpy as np

    if predictions is None or trained is None:
        return None
    rows = predictions.loc[predictions["role"] == role, "example_id"].astype(str)
    scored = np.array([hash_id(example) for example in rows], dtype=np.uint64)
    return int(np.isin(scored, trained).sum())
