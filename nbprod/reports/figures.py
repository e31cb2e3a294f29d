"""Key figures: the scraps a reader sees first, with their units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nbprod.core.scraps import Scrap, ScrapDeclaration, ScrapType
from nbprod.core.words import bytes_size, number, short, spoken

_SHOWN = frozenset({ScrapType.NUMBER, ScrapType.INTEGER, ScrapType.TEXT, ScrapType.BOOLEAN})
_LONGEST_TEXT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """One scrap, ready to be read."""

    name: str  #: as glued
    label: str  #: as words
    value: str  #: formatted, without its unit
    unit: str = ""
    description: str = ""
    share: float | None = None  #: where it stands in its declared range, 0 to 1
    is_number: bool = True

    @property
    def text(self) -> str:
        """Return value and unit."""
        return f"{self.value} {self.unit}".strip()


def key_figures(
    scraps: Mapping[str, Scrap], declared: Sequence[ScrapDeclaration] = ()
) -> tuple[KeyFigure, ...]:
    """Return what is worth a place on top: declared scraps in their order, then the other numbers.

    Tables, arrays and displays are left to the body; long texts and digests are no figures.
    """
    by_name = {declaration.name: declaration for declaration in declared}
    order = [name for name in by_name if name in scraps]
    order += [name for name in scraps if name not in by_name]
    figures = (_figure(scraps[name], by_name.get(name)) for name in order)
    return tuple(figure for figure in figures if figure is not None)


def _figure(scrap: Scrap, declaration: ScrapDeclaration | None) -> KeyFigure | None:
    unit = declaration.unit if declaration else ""
    description = declaration.description if declaration else ""
    label = spoken(scrap.name, unit=unit)
    if scrap.type is ScrapType.MODEL and scrap.sidecar is not None:
        return KeyFigure(
            name=scrap.name,
            label=label,
            value=bytes_size(scrap.sidecar.size_bytes),
            description=description or f"digest {short(scrap.sidecar.digest)}",
            is_number=False,
        )
    if scrap.type not in _SHOWN and scrap.type is not ScrapType.ANY:
        return None
    match scrap.value:
        case bool():
            value, share, is_number = ("yes" if scrap.value else "no"), None, False
        case int() | float():
            value, is_number = number(scrap.value), True
            share = _share(scrap.value, declaration)
        case str() if declaration and 0 < len(scrap.value) <= _LONGEST_TEXT:
            value, share, is_number = scrap.value, None, False
        case _:
            return None
    return KeyFigure(
        name=scrap.name,
        label=label,
        value=value,
        unit=unit,
        description=description,
        share=share,
        is_number=is_number,
    )


def _share(value: float, declaration: ScrapDeclaration | None) -> float | None:
    low, high = (declaration.range if declaration else None) or (None, None)
    if low is None or high is None or not low <= value <= high or low == high:
        return None
    return (value - low) / (high - low)
