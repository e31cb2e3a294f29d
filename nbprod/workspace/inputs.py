"""Resolve parameters that name a registered model, before anything starts.

`registry:NAME@ALIAS` and `models:/NAME@ALIAS` (of an MLflow server) become the path of a
verified folder; a trailing `?` allows none. The digest goes into the run's lineage.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nbprod.core.errors import MlflowModelError, ModelReferenceNotFoundError

if TYPE_CHECKING:
    from nbprod.registry.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Parameters after resolution, and the digests of the models they brought."""

    given: Mapping[str, object]
    models: Mapping[str, str]  #: parameter -> digest


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
    for name, value in given.items():
        if not is_model_reference(value):
            continue
        assert isinstance(value, str)
        if value.startswith("models:/"):
            found = _from_mlflow(value, tracking_uri, downloads)
        else:
            found = _from_registry(value, registry(), name)
        values[name] = None if found is None else str(found[0])
        if found is not None:
            models[name] = found[1]
    return Inputs(given=values, models=models)


def _from_mlflow(reference: str, tracking_uri: str | None, into: Path) -> tuple[Path, str] | None:
    from nbprod.registry.mlflow import download

    try:
        return download(reference, tracking_uri=tracking_uri, into=into)
    except MlflowModelError:  # the server answers, and has no such model
        if reference.endswith("?"):
            return None
        raise


def _from_registry(reference: str, registry: "Registry", parameter: str) -> tuple[Path, str] | None:
    version = registry.find(reference.removeprefix("registry:").removesuffix("?"))
    if version is not None:
        return registry.path(f"{version.name}@{version.version}"), version.digest
    if reference.endswith("?"):
        return None
    raise ModelReferenceNotFoundError(parameter, reference)
