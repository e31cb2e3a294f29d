"""Check text: JSON, and anything that only a person or a tokenizer reads."""

import codecs
import json
from typing import BinaryIO

#: Beyond this JSON is only checked to be text: parsing takes about ten times its size in memory.
_PARSED_BYTES = 64 << 20
_BLOCK_BYTES = 1 << 20


def plain_text(file: BinaryIO) -> str | None:
    """Check that a file is UTF-8 without NUL bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := file.read(_BLOCK_BYTES):
            if "\0" in decoder.decode(block):
                return "it is named like text, but holds binary data"
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return "it is named like text, but is not UTF-8"
    finally:
        file.seek(0)
    return None


def json_text(file: BinaryIO) -> str | None:
    """Check that a file is one JSON value."""
    if problem := plain_text(file):
        return problem
    raw = file.read(_PARSED_BYTES + 1)
    file.seek(0)
    if len(raw) > _PARSED_BYTES:
        return None
    try:
        json.loads(raw)
    except ValueError as error:
        line = getattr(error, "lineno", 1)
        return f"it is not valid JSON (line {line}), or was cut off"
    except RecursionError:
        return "it is JSON nested too deeply to be read"
    return None


def json_lines(file: BinaryIO) -> str | None:
    """Check that every line of a file is JSON."""
    for number, line in enumerate(file, start=1):
        try:
            if line.strip():
                json.loads(line)
        except (ValueError, RecursionError):
            return f"line {number} is not valid JSON"
    return None
