"""Recognise pickles whatever they are called: loading one runs the code inside it."""

import pickletools
import zipfile
from typing import BinaryIO

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
#: Opcodes that call something. A list of words can look like a pickle's names, hardly like these.
_CALLS = frozenset({"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "REDUCE", "BUILD"})
#: Text pickles (protocol 0) are looked for in files up to this size. pickletools gives up at
#: the first byte that is no opcode, which in any other text comes early.
_TEXT_LIMIT_BYTES = 1 << 20


def find_pickle(file: BinaryIO) -> str | None:
    """Say in what way a file is a pickle or holds one; None when it does not."""
    content = file.read(_TEXT_LIMIT_BYTES + 1)
    file.seek(0)
    if content[:4] in ZIP_MAGIC:
        return _in_zip(file)
    if is_pickle(content[:64]):
        return "it is a pickle, which runs code when it is loaded"
    if len(content) <= _TEXT_LIMIT_BYTES and _is_text_pickle(content):
        return "it is a text pickle, which runs code when it is loaded"
    return None


def is_pickle(head: bytes) -> bool:
    """Recognise a binary pickle (protocol 2 and later) by its first opcodes.

    The two bytes of the protocol alone would not do: the length at the beginning of a
    safetensors file can be the same two bytes.
    """
    if len(head) < 3 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        return False
    seen: list[tuple[str, object]] = []
    try:
        for opcode, argument, _ in pickletools.genops(head):
            seen.append((opcode.name, argument))
    except Exception:  # noqa: BLE001 - it raises whatever it meets, here the end of `head` too
        pass
    if len(seen) >= 3 or (seen and seen[-1][0] == "STOP"):
        return True
    return len(seen) == 2 and seen[1][0] == "FRAME" and int(str(seen[1][1])) < 1 << 40


def _is_text_pickle(content: bytes) -> bool:
    calls = False
    end = 0
    try:
        for opcode, _, position in pickletools.genops(content):
            calls = calls or opcode.name in _CALLS
            end = position or 0
    except Exception:  # noqa: BLE001 - pickletools raises whatever it meets in what is no pickle
        return False
    return calls and not content[end + 1 :].strip()


def _in_zip(file: BinaryIO) -> str | None:
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    if name.endswith((".pkl", ".pickle")) or is_pickle(member.read(64)):
                        return f"it is a zip that holds a pickle ({name})"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError):
        return "it begins like a zip, but cannot be read as one"
    finally:
        file.seek(0)
    return None
