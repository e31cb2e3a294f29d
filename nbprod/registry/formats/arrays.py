"""Read the headers of files that hold numbers: safetensors, npy, npz, GGUF.

Sources: https://github.com/huggingface/safetensors#format, numpy.lib.format,
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import ast
import json
import math
import struct
import zipfile
from typing import BinaryIO, cast

import numpy as np
from numpy.lib import format as npy

#: The reference implementation's own limit.
_SAFETENSORS_HEADER_BYTES = 100_000_000
#: numpy itself refuses to evaluate longer ones.
_NPY_HEADER_BYTES = 10_000
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F4": 4,
    "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32,
    "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


def size_of(file: BinaryIO) -> int:
    """Return the bytes of an open file, leaving it at its beginning."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def safetensors(file: BinaryIO) -> str | None:
    """Check that the header is whole and that the tensors cover the rest of the file exactly.

    Exact cover also finds a file that was cut short or had something appended to it.
    """
    size = size_of(file)
    if size < 8:
        return "it is too short for safetensors: the upload or copy was cut off"
    (length,) = struct.unpack("<Q", file.read(8))
    if length > min(size - 8, _SAFETENSORS_HEADER_BYTES):
        return "it is not safetensors, or was cut off: its header does not fit in the file"
    raw = file.read(length)
    if not raw.startswith(b"{"):
        return "it is not safetensors: its header is not JSON"
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        return "it is not safetensors: its header is not JSON"
    header.pop("__metadata__", None)
    spans = []
    for name, entry in header.items():
        try:
            start, end = entry["data_offsets"]
            bits = _BITS.get(entry["dtype"])
            shape = [int(length) for length in entry["shape"]]
            if bits is not None and math.prod(shape) * bits != (end - start) * 8:
                return f"its tensor {name!r} does not have the bytes that its shape needs"
        except (KeyError, TypeError, ValueError):
            return f"its header does not describe tensor {name!r} as safetensors does"
        spans.append((start, end))
    position = 0
    for start, end in sorted(spans):
        if start != position or end < start:
            return "its tensors overlap or leave gaps"
        position = end
    expected = 8 + length + position
    if size != expected:
        return f"it has {size:,} bytes where its header promises {expected:,}: it is not whole"
    return None


def npy_array(file: BinaryIO) -> str | None:
    """Check that an .npy file holds plain numbers or text, whole, and no Python objects."""
    size = size_of(file)
    try:
        dtype, shape = _npy_header(file)
    except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, struct.error):
        return "it is not an npy array"
    if dtype.hasobject:
        return "its array holds Python objects, which are stored as a pickle"
    expected = file.tell() + math.prod(shape) * dtype.itemsize
    if size != expected:
        return f"it has {size:,} bytes where its header promises {expected:,}: it is not whole"
    return None


def _npy_header(file: BinaryIO) -> tuple[np.dtype[np.generic], tuple[int, ...]]:
    """Read the header of any version; numpy's own public readers stop before version 3."""
    major, _ = npy.read_magic(file)
    layout, encoding = {1: ("<H", "latin1"), 2: ("<I", "latin1"), 3: ("<I", "utf8")}[major]
    (length,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    if length > _NPY_HEADER_BYTES:
        raise ValueError(length)
    header = ast.literal_eval(file.read(length).decode(encoding))
    return npy.descr_to_dtype(header["descr"]), tuple(int(side) for side in header["shape"])


def npz_arrays(file: BinaryIO) -> str | None:
    """Check that an .npz file is a zip of nothing but such arrays."""
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if problem := npz_member(archive, member):
                    return problem
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError):
        return "it is not an npz file"
    return None


def npz_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str | None:
    """Check one array of a zip, reading no more than its header."""
    if not member.filename.endswith(".npy"):
        return f"it holds {member.filename}, which is not an array"
    with archive.open(member) as stream:  # seekable, within what zipfile unpacks as it goes
        problem = npy_array(cast("BinaryIO", stream))
    return f"{problem} ({member.filename})" if problem else None


def gguf(file: BinaryIO) -> str | None:
    """Check the fixed start of a GGUF file: magic, a known version, plausible counts."""
    head = file.read(24)
    if len(head) < 24 or head[:4] != b"GGUF":
        return "it is not GGUF"
    version, tensors, pairs = struct.unpack("<IQQ", head[4:])
    if version not in (2, 3) or max(tensors, pairs) > 1 << 32:
        return "it is GGUF of a version that is not known here"
    return None
