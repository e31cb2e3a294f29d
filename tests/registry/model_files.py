"""Small real files of each format, written the way their libraries write them."""

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np

from nbprod.registry.registry import Registry
from nbprod.store.artifacts import Artifacts
from nbprod.store.store import Store


class Explosive:
    """A pickle of it runs code when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("boom",))


def safetensors(seed: int = 0, rows: int = 4) -> bytes:
    values = np.random.default_rng(seed).random((rows, 3)).astype("<f4")
    header = json.dumps(
        {"weight": {"dtype": "F32", "shape": [rows, 3], "data_offsets": [0, values.nbytes]}}
    ).encode()
    return struct.pack("<Q", len(header)) + header + values.tobytes()


def npy(values: object) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=True)
    return buffer.getvalue()


def npz(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def torch_zip() -> bytes:
    """Lay out what torch.save writes: a zip with data.pkl in a folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Explosive()))
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def node(module: str, name: str, loader: str, **more: object) -> dict[str, object]:
    return {"__class__": name, "__module__": module, "__loader__": loader, **more}


def skops(*nodes: dict[str, object]) -> bytes:
    """Lay out what skops.io.dump writes for a fitted estimator with these attributes."""
    content = {
        "coef_": node("numpy", "ndarray", "NdArrayNode", type="numpy", file="1.npy"),
        "C": node("builtins", "str", "JsonNode", content="1.0", is_json=True),
        **{f"extra_{index}": item for index, item in enumerate(nodes)},
    }
    schema = node(
        "sklearn.linear_model._logistic",
        "LogisticRegression",
        "ObjectNode",
        content=node("builtins", "dict", "DictNode", content=content),
        protocol=2,
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("1.npy", npy([[1.0, 2.0]]))
        archive.writestr("schema.json", json.dumps(schema))
    return buffer.getvalue()


def field(number: int, content: bytes | int) -> bytes:
    """Encode one protobuf field."""
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def onnx(external: str | None = None) -> bytes:
    tensor = field(1, 2) + field(2, 1) + field(8, b"w")
    if external is None:
        tensor += field(9, b"\0" * 8)
    else:
        tensor += field(13, field(1, b"location") + field(2, external.encode()))
        tensor += field(14, 1)
    graph = field(1, field(4, b"MatMul")) + field(2, b"g") + field(5, tensor)
    return field(1, 10) + field(7, graph) + field(8, field(2, 21))


def sentencepiece() -> bytes:
    piece = field(1, "▁a".encode()) + b"\x15" + struct.pack("<f", -1.5)
    return field(1, piece) * 3 + field(2, field(4, 3)) + field(3, field(1, b"nmt"))


def ubj_name(text: str) -> bytes:
    return b"L" + struct.pack(">q", len(text)) + text.encode()


def xgboost_ubj() -> bytes:
    """Lay out what Booster.save_model writes: names with long lengths, typed arrays."""
    floats = b"[$d#L" + struct.pack(">q", 2) + struct.pack(">ff", 0.5, 1.5)
    learner = b"{" + ubj_name("attributes") + b"{}" + ubj_name("base_weights") + floats
    learner += ubj_name("name") + b"S" + ubj_name("gbtree") + b"}"
    version = b"[#L" + struct.pack(">q", 2) + b"i\x03" + b"i\x00"
    return b"{" + ubj_name("learner") + learner + ubj_name("version") + version + b"}"


def gguf() -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 0)


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def model_folder(folder: Path, seed: int = 0) -> Path:
    """Write a small model such as save_pretrained would."""
    return write(
        folder,
        {
            "config.json": json.dumps({"model_type": "bert", "seed": seed}),
            "model.safetensors": safetensors(seed),
            "tokenizer/vocab.txt": "[PAD]\na\nb\n",
        },
    )


def open_registry(url: str, root: Path) -> tuple[Registry, Store]:
    """Wire a registry as a workspace does."""
    store = Store.open(url, root=root)
    artifacts = Artifacts(".nbprod/artifacts", root=root)
    return Registry(store, artifacts, root / ".nbprod" / "models"), store
