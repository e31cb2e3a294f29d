"""Find the model that a parameter names, and write and read the card in a model's folder.

A model folder holds weights that cannot execute code, `nbprod.json` (the card) and
`training_ids.npy` (which rows it learned from). It holds no time and no path, so that the same
training on the same machine gives the same digest.
"""

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nbprod.core.digest import digest_folder
from nbprod.core.errors import (
    ModelNotFoundError,
    UnreadableCardError,
    UnresolvedReferenceError,
    UnsafeModelError,
)
from nbprod.core.evidence import hash_id
from nbprod.core.json import JSON
from nbprod.core.models import CARD_FILE, TRAINING_IDS_FILE
from nbprod.notebook.kernel import path as resolve_path

HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a model folder says of itself."""

    kind: str  #: "transformers" or "tfidf": how to load it
    labels: tuple[str, ...]  #: classes in the order of the model's outputs
    max_length: int | None  #: longest input in tokens; None for no limit
    facts: Mapping[str, JSON]  #: metrics, data, split, settings: for people and lineage


def find_model(reference: str) -> Path | str:
    """Return the folder that `reference` names, or the reference itself if it is a hub id.

    Args:
        reference: `package:NAME` (weights inside an installed Python package), a folder
            (relative to the workspace root), or a Hugging Face hub id.

    Raises:
        UnresolvedReferenceError: a `registry:` or `models:/` reference, which the kernel cannot
            resolve.
        ModelNotFoundError: nothing is there.
        UnsafeModelError: the folder has pickled weights only.
    """
    if reference.startswith(("registry:", "models:/")):
        raise UnresolvedReferenceError(reference)
    if reference.startswith("package:"):
        return _folder_in_package(reference)
    folder = resolve_path(reference)
    if folder.is_dir():
        _refuse_pickles(folder)
        return folder
    if HUB_ID.fullmatch(reference) and not reference.startswith("."):
        return reference
    raise ModelNotFoundError(
        reference,
        f"Looked for the folder {folder}; relative paths start at the workspace root.",
        "See the registered models: nbprod models list",
    )


def describe(reference: str) -> str:
    """Return what a model began as, in words that mean the same on every machine."""
    if reference.startswith("package:"):
        return reference
    place = find_model(reference)
    return place if isinstance(place, str) else f"sha256:{digest_folder(place)}"


def _folder_in_package(reference: str) -> Path:
    name, _, inside = reference.removeprefix("package:").partition("/")
    roots = _package_folders(name)
    if not roots:
        raise ModelNotFoundError(
            reference,
            f"The Python package {name!r} is not installed in this environment.",
            f"Install it: pip install {name.replace('_', '-')}",
        )
    folders = sorted({path.parent for root in roots for path in root.rglob("*.safetensors")})
    folders = [folder for folder in folders if (folder / "config.json").is_file()]
    if inside:
        folders = [folder for folder in folders if folder.as_posix().endswith(inside)]
    if len(folders) == 1:
        return folders[0]
    if not folders:
        raise ModelNotFoundError(
            reference,
            "The package holds no folder with config.json beside *.safetensors.",
            "Name a folder or hub id instead: nbprod run finetune_text_classifier -p model=FOLDER",
        )
    choices = [folder.relative_to(roots[0]).as_posix() for folder in folders]
    raise ModelNotFoundError(
        reference,
        f"The package holds several: {', '.join(choices)}.",
        f"Say which: nbprod run finetune_text_classifier -p model=package:{name}/{choices[0]}",
    )


def _package_folders(name: str) -> list[Path]:
    """Return where the package's files are, without importing it."""
    modules = [name.replace("-", "_")]
    modules += [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if name in owners
    ]
    for module in modules:
        found = importlib.util.find_spec(module) if module.isidentifier() else None
        if found is not None and found.submodule_search_locations:
            return [Path(place) for place in found.submodule_search_locations]
    return []


def _refuse_pickles(folder: Path) -> None:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt"))]
    if pickled and not any(name.endswith(".safetensors") for name in names):
        raise UnsafeModelError(str(folder), pickled)


def write_card(folder: Path, card: Card, *, training_ids: Iterable[str]) -> None:
    """Write the card, and the hashes of the training rows' ids, into a model's folder."""
    content: dict[str, JSON] = {
        "format": 1,
        "kind": card.kind,
        "labels": list(card.labels),
        "max_length": card.max_length,
        **card.facts,
    }
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")
    hashes = np.array(sorted(hash_id(example) for example in training_ids), dtype=np.uint64)
    np.save(folder / TRAINING_IDS_FILE, hashes, allow_pickle=False)


def read_card(folder: Path) -> Card:
    """Read the card of a model that `write_card` described.

    Raises:
        UnreadableCardError: there is none, or it is damaged.
    """
    try:
        content = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
        return Card(
            kind=content.pop("kind"),
            labels=tuple(content.pop("labels")),
            max_length=content.pop("max_length"),
            facts=content,
        )
    except FileNotFoundError as error:
        raise UnreadableCardError(str(folder), f"It has no {CARD_FILE}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableCardError(str(folder), f"Its {CARD_FILE} is damaged: {error!r}.") from error


def seen_in_training(folder: Path, example_ids: Iterable[str]) -> int | None:
    """Return how many of the examples the model learned from; None when it left no record."""
    record = folder / TRAINING_IDS_FILE
    if not record.is_file():
        return None
    asked = np.array([hash_id(example) for example in example_ids], dtype=np.uint64)
    return int(np.isin(asked, np.load(record, allow_pickle=False)).sum())
