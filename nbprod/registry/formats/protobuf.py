"""Walk protobuf files without their schemas' packages: ONNX graphs, sentencepiece vocabularies.

Field numbers are those of onnx/onnx.proto and sentencepiece_model.proto.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO

_BYTES = 2  #: wire type of strings, bytes and messages
#: ModelProto: ir_version, graph. GraphProto: node, initializer. TensorProto: external_data.
_IR_VERSION, _GRAPH = 1, 7
_NODE, _INITIALIZER = 1, 5
_EXTERNAL_DATA = 13
#: NodeProto: attribute. AttributeProto: t, g, tensors, graphs.
_ATTRIBUTE = 5
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS = 5, 6, 10, 11
#: sentencepiece's ModelProto: pieces, trainer_spec.
_PIECES, _TRAINER = 1, 2
#: A protobuf message cannot be larger, so neither can an ONNX file without external data.
_LIMIT_BYTES = 1 << 31


class NotProtobufError(ValueError):
    """The bytes do not split into fields."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise NotProtobufError
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield (number, wire type, bytes) of each field; a varint's bytes are empty."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        end = at
        match kind:
            case 0:
                _, end = _varint(data, at)
                yield number, kind, data[:0]
                at = end
                continue
            case 1:
                end = at + 8
            case 2:
                length, at = _varint(data, at)
                end = at + length
            case 5:
                end = at + 4
            case _:
                raise NotProtobufError
        if number == 0 or end > len(data):
            raise NotProtobufError
        yield number, kind, data[at:end]
        at = end


def _inside(data: memoryview, *numbers: int) -> Iterator[tuple[int, memoryview]]:
    for number, kind, content in _fields(data):
        if number in numbers and kind == _BYTES:
            yield number, content


def onnx(file: BinaryIO) -> str | None:
    """Check that a file is an ONNX model and that its external data stays in its folder."""
    try:
        locations = external_data(file)
    except NotProtobufError:
        return "it is not an ONNX model, or was cut off"
    for location in locations:
        path = PurePosixPath(location)
        if path.is_absolute() or ".." in path.parts:
            return f"it reads its weights from {location!r}, outside its folder"
    return None


def external_data(file: BinaryIO) -> set[str]:
    """Return the files, relative to the model's own, that an ONNX model keeps weights in."""
    data = memoryview(file.read(_LIMIT_BYTES))
    file.seek(0)
    found = {number: content for number, _, content in _fields(data)}
    if _IR_VERSION not in found or _GRAPH not in found:
        raise NotProtobufError
    return set(_locations_of_graph(found[_GRAPH]))


def _locations_of_graph(graph: memoryview) -> Iterator[str]:
    for number, content in _inside(graph, _NODE, _INITIALIZER):
        if number == _INITIALIZER:
            yield from _locations_of_tensor(content)
            continue
        for _, attribute in _inside(content, _ATTRIBUTE):
            for kind, value in _inside(attribute, _TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS):
                if kind in (_TENSOR, _TENSORS):
                    yield from _locations_of_tensor(value)
                else:
                    yield from _locations_of_graph(value)


def _locations_of_tensor(tensor: memoryview) -> Iterator[str]:
    for _, entry in _inside(tensor, _EXTERNAL_DATA):
        pair = {number: bytes(content) for number, content in _inside(entry, 1, 2)}
        if pair.get(1) == b"location":
            yield pair.get(2, b"").decode(errors="replace")


def sentencepiece(file: BinaryIO) -> str | None:
    """Check that a `.model` file is a sentencepiece vocabulary, or tiktoken's text form of one."""
    content = file.read()
    try:
        numbers = {number for number, _, _ in _fields(memoryview(content))}
    except NotProtobufError:
        numbers = set()
    if {_PIECES, _TRAINER} <= numbers:
        return None
    try:
        lines = content.decode("ascii").splitlines()
        if lines and all(line.split()[1].isdigit() for line in lines if line):
            return None
    except (UnicodeDecodeError, IndexError):
        pass
    return "it is not a sentencepiece or tiktoken vocabulary"
