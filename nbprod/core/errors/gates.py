"""Errors in the gates that nbprod.toml declares."""

from collections.abc import Sequence

from nbprod.core.errors.root import NbprodError

_DO = "Correct it, then check the workspace:\nnbprod doctor"


class GateError(NbprodError, ValueError):
    """A gate's table in nbprod.toml is wrong."""


class GateDeclarationError(GateError):
    """A gate's table demands nothing, or has a value of the wrong type or out of range."""

    def __init__(self, where: str, number: int, problem: str) -> None:
        super().__init__(where, number, problem)
        self.where = where
        self.number = number
        self.what = f"Gate {number} of {where} is not valid."
        self.why = problem
        self.do = _DO


class UnknownGateError(GateError, LookupError):
    """A gate's table names a kind that no installed package provides."""

    def __init__(self, where: str, number: int, kind: str, kinds: Sequence[str]) -> None:
        super().__init__(where, number, kind, kinds)
        self.kind = kind
        self.what = f"Gate {number} of {where} is of the unknown kind {kind!r}."
        self.why = f"Installed kinds: {', '.join(kinds) or 'none'}."
        self.do = _DO


class UnknownGateKeyError(GateError, LookupError):
    """A gate's table has a key that this kind of gate does not know."""

    def __init__(
        self, where: str, number: int, key: str, nearest: str | None, known: Sequence[str]
    ) -> None:
        super().__init__(where, number, key, nearest, known)
        self.key = key
        self.nearest = nearest
        self.what = f"Gate {number} of {where} has the unknown key {key!r}."
        meant = f"Did you mean {nearest!r}? " if nearest else ""
        self.why = f"{meant}It may have: {', '.join(known)}."
        self.do = _DO


class ContradictoryGateError(GateError):
    """A gate's table mixes keys of two kinds of gate."""

    def __init__(
        self, where: str, number: int, keys: Sequence[str], kind: str, known: Sequence[str]
    ) -> None:
        super().__init__(where, number, keys, kind, known)
        self.keys = tuple(keys)
        named = " and ".join(map(repr, keys))
        self.what = (
            f"Gate {number} of {where} mixes two gates: {named} in one table."
            if len(keys) > 1
            else f"Gate {number} of {where} is a {kind} gate, to which {named} does not belong."
        )
        self.why = f"A {kind} gate may have: {', '.join(known)}. Declare one table for each demand."
        self.do = _DO
