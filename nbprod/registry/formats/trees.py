"""Recognise boosted trees in their native files: XGBoost's UBJSON and JSON, LightGBM's text.

UBJSON: https://ubjson.org/type-reference/; XGBoost writes objects of `learner` and `version`.
"""

import struct
from typing import BinaryIO

from nbprod.registry.formats.text import json_text, plain_text

#: UBJSON's numbers: marker -> struct format.
_NUMBERS = {"i": ">b", "U": ">B", "I": ">h", "l": ">i", "L": ">q", "d": ">f", "D": ">d"}
_EMPTY = frozenset("ZNTF")
_DEPTH = 64


class _NotUbjsonError(ValueError):
    """The bytes do not follow the format."""


class _Walker:
    """Reads UBJSON to its end, keeping only the names of the outermost object."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.names: list[str] = []

    def marker(self) -> str:
        self.at += 1
        if self.at > len(self.data):
            raise _NotUbjsonError
        return chr(self.data[self.at - 1])

    def number(self, marker: str) -> float:
        layout = _NUMBERS.get(marker)
        if layout is None:
            raise _NotUbjsonError
        try:
            (value,) = struct.unpack_from(layout, self.data, self.at)
        except struct.error:
            raise _NotUbjsonError from None
        self.at += struct.calcsize(layout)
        return float(value) if marker in "dD" else int(value)

    def length(self) -> int:
        value = self.number(self.marker())
        if not isinstance(value, int) or value < 0:
            raise _NotUbjsonError
        return value

    def text(self) -> bytes:
        length = self.length()
        self.at += length
        if self.at > len(self.data):
            raise _NotUbjsonError
        return self.data[self.at - length : self.at]

    def value(self, marker: str, depth: int) -> None:
        if depth > _DEPTH:
            raise _NotUbjsonError
        if marker in _NUMBERS:
            self.number(marker)
        elif marker in "SH":
            self.text()
        elif marker == "C":
            self.at += 1
        elif marker == "{":
            self.container("}", depth)
        elif marker == "[":
            self.container("]", depth)
        elif marker not in _EMPTY:
            raise _NotUbjsonError

    def container(self, end: str, depth: int) -> None:
        """Walk an array or object, in any of its three forms: open, counted, typed."""
        kind = None
        count = None
        if self.peek() == "$":
            self.at += 1
            kind = self.marker()
        if self.peek() == "#":
            self.at += 1
            count = self.length()
        elif kind is not None:
            raise _NotUbjsonError
        if end == "]" and kind in _NUMBERS and count is not None:
            self.at += struct.calcsize(_NUMBERS[kind]) * count
            if self.at > len(self.data):
                raise _NotUbjsonError
            return
        read = 0
        while count is None or read < count:
            if count is None and self.peek() == end:
                self.at += 1
                return
            if end == "}":
                name = self.text()
                if depth == 0:
                    self.names.append(name.decode(errors="replace"))
            self.value(kind or self.marker(), depth + 1)
            read += 1

    def peek(self) -> str:
        if self.at >= len(self.data):
            raise _NotUbjsonError
        return chr(self.data[self.at])


def xgboost_ubjson(file: BinaryIO) -> str | None:
    """Check that a file is a whole UBJSON object with the two names that XGBoost writes."""
    walker = _Walker(file.read())
    try:
        if walker.marker() != "{":
            raise _NotUbjsonError
        walker.container("}", 0)
        if walker.at != len(walker.data):
            raise _NotUbjsonError
    except _NotUbjsonError:
        return "it is not an XGBoost model in UBJSON, or was cut off"
    if not {"learner", "version"} <= set(walker.names):
        return "it is UBJSON, but no XGBoost model"
    return None


def xgboost(file: BinaryIO) -> str | None:
    """Check a file named after XGBoost, which writes UBJSON or JSON under one suffix."""
    head = file.read(2)
    file.seek(0)
    # An object's first name follows its brace: quoted in JSON, length first in UBJSON.
    if head[:1] == b"{" and head[1:] not in (b"L", b"i", b"U", b"I", b"l"):
        return json_text(file)
    return xgboost_ubjson(file)


def lightgbm(file: BinaryIO) -> str | None:
    """Check a file named after LightGBM: text whose first line is `tree`."""
    head = file.read(5)
    file.seek(0)
    return plain_text(file) if head.startswith(b"tree") else "it is not a LightGBM model"
