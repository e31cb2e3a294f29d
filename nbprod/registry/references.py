"""How a model is named: `NAME@champion`, `NAME@3`, `registry:NAME@ALIAS?`, `models:/NAME@ALIAS`."""

import re
from dataclasses import dataclass
from enum import StrEnum

from nbprod.core.errors import ModelNameError, ModelReferenceError

CHAMPION = "champion"

#: A name is a folder's name, a TOML key and a word on the command line.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_NAME_RULE = (
    "It starts with a letter or digit; letters, digits, '.', '_' and '-' follow; 128 at most."
)
_ALIAS_RULE = "It starts with a letter; letters, digits, '.', '_' and '-' follow; 64 at most."


class Origin(StrEnum):
    """Which registry a reference speaks of."""

    REGISTRY = "registry"  #: this workspace's own
    MLFLOW = "mlflow"  #: an MLflow server's


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """One version of one model, named by number or by alias: exactly one of the two."""

    name: str
    alias: str = ""
    version: int | None = None
    origin: Origin = Origin.REGISTRY
    is_optional: bool = False  #: written with a trailing `?`: none is an answer too

    def __str__(self) -> str:
        """Return the shortest text that parses to the same, the `?` included."""
        which = self.alias or str(self.version)
        mark = "?" if self.is_optional else ""
        match self.origin:
            case Origin.REGISTRY:
                return f"{self.name}@{which}{mark}"
            case Origin.MLFLOW:
                separator = "@" if self.alias else "/"
                return f"models:/{self.name}{separator}{which}{mark}"


def is_reference(text: str) -> bool:
    """Say whether a parameter's value speaks of a registry, by its prefix alone."""
    return text.startswith(("registry:", "models:/"))


def parse_reference(text: str) -> ModelReference:
    """Read a reference; a bare NAME means its champion.

    Raises:
        ModelReferenceError: saying which part is wrong.
    """
    rest = text.strip()
    is_optional = rest.endswith("?")
    rest = rest.removesuffix("?")
    if rest.startswith("models:"):
        return _parse_mlflow(text, rest.removeprefix("models:"), is_optional=is_optional)
    name, separator, which = rest.removeprefix("registry:").partition("@")
    if not _NAME.fullmatch(name):
        raise ModelReferenceError(text, f"{name!r} cannot be a model's name. {_NAME_RULE}")
    if not separator:
        return ModelReference(name=name, alias=CHAMPION, is_optional=is_optional)
    if _VERSION.fullmatch(which):
        return ModelReference(name=name, version=int(which), is_optional=is_optional)
    if not _ALIAS.fullmatch(which):
        raise ModelReferenceError(
            text, f"After '@' comes an alias or a version's number, not {which!r}."
        )
    return ModelReference(name=name, alias=which, is_optional=is_optional)


def _parse_mlflow(text: str, rest: str, *, is_optional: bool) -> ModelReference:
    if not re.match(r"/[^/]", rest):
        raise ModelReferenceError(text, "After 'models:' comes one '/' and the model's name.")
    body = rest[1:]
    name, separator, alias = body.rpartition("@")
    if separator and name and alias and "/" not in body:
        return ModelReference(name=name, alias=alias, origin=Origin.MLFLOW, is_optional=is_optional)
    name, separator, version = body.partition("/")
    if separator and _VERSION.fullmatch(version):
        return ModelReference(
            name=name, version=int(version), origin=Origin.MLFLOW, is_optional=is_optional
        )
    raise ModelReferenceError(
        text,
        "An MLflow model is named models:/NAME@ALIAS or models:/NAME/3; "
        "stages and 'latest' are not read, since what they mean changes unseen.",
    )


def check_name(name: str) -> None:
    """Refuse a name that could not be a folder or be typed back."""
    if not _NAME.fullmatch(name):
        raise ModelNameError("a model", name, _NAME_RULE)


def check_alias(alias: str) -> None:
    """Refuse an alias that could be read as a version or could not be typed back."""
    if not _ALIAS.fullmatch(alias):
        raise ModelNameError("an alias", alias, _ALIAS_RULE)
