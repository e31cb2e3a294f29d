"""Resolve parameters that name a registered model, before anything starts.

`registry:NAME@ALIAS` and `models:/NAME@ALIAS` (of an MLflow server) become the path of a
verified folder; a trailing `?` allows none. The digest goes into the run's lineage.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.errors import ModelReferenceNotFoundError

if TYPE_CHECKING:
    from nbprod.registry.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Parameters after resolution, and the digests of the models they brought."""

    given: Mapping[str, object]
    models: Mapping[str, str]  #: parameter -> digest
    references: Mapping[str, str]  #: parameter -> what was asked for


def is_model_reference(value: object) -> bool:
    """Say whether a parameter's value names a registered model."""
    return isinstance(value, str) and value.startswith(("registry:", "models:/"))


def resolve(
    given: Mapping[str, object],
    *,
    registry: "Callable[[], Registry]",
    tracking_uri: str | None,
    downloads: Path,
) -> Inputs:
    """Replace model references by paths.

    Args:
        given: parameters as asked for.
        registry: opens what `registry:` looks in; called only when a parameter needs it.
        tracking_uri: the MLflow server for `models:/`; None uses MLFLOW_TRACKING_URI.
        downloads: folder that models of an MLflow server are kept in, by digest.

    Raises:
        ModelReferenceNotFoundError: no such version, and no trailing `?`.
    """
    values = dict(given)
    models: dict[str, str] = {}
    references: dict[str, str] = {}
    for name, value in given.items():
        if not is_model_reference(value):
            continue
        assert isinstance(value, str)
        references[name] = value
        if value.startswith("models:/"):
            from nbprod.registry.mlflow import download

            path, digest = download(value, tracking_uri=tracking_uri, into=downloads)
            values[name], models[name] = str(path), digest
            continue
        wanted = value.removeprefix("registry:")
        version = registry().find(wanted.removesuffix("?"))
        if version is None and not wanted.endswith("?"):
            raise ModelReferenceNotFoundError(name, value)
        if version is None:
            values[name] = None
        else:
            values[name] = str(registry().path(f"{version.name}@{version.version}"))
            models[name] = version.digest
    return Inputs(given=values, models=models, references=references)
