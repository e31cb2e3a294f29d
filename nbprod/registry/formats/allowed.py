"""The allow-list: which reader checks a file, by its name; everything else is refused."""

from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO

from nbprod.core.errors import ModelFormatError
from nbprod.registry.formats import arrays, protobuf, trees
from nbprod.registry.formats.pickles import find_pickle
from nbprod.registry.formats.skops import skops
from nbprod.registry.formats.text import json_lines, json_text, plain_text

Reader = Callable[[BinaryIO], str | None]
Opener = Callable[[], BinaryIO]

#: An export writes these beside the model's own files.
RESERVED = frozenset({"SHA256SUMS", "lineage.json", "verdicts.json"})


def _begins(*magic: bytes, what: str) -> Reader:
    def read(file: BinaryIO) -> str | None:
        head = file.read(16)
        file.seek(0)
        return None if head.startswith(magic) else f"it is not {what}"

    return read


#: By suffix, lower case.
READERS: Mapping[str, Reader] = {
    ".safetensors": arrays.safetensors,
    ".onnx": protobuf.onnx,
    ".ubj": trees.xgboost_ubjson,
    ".xgb": trees.xgboost,
    ".lgb": trees.lightgbm,
    ".npy": arrays.npy_array,
    ".npz": arrays.npz_arrays,
    ".gguf": arrays.gguf,
    ".model": protobuf.sentencepiece,
    ".spm": protobuf.sentencepiece,
    ".json": json_text,
    ".jsonl": json_lines,
    **dict.fromkeys(
        # jinja: transformers renders chat templates in Jinja's sandbox
        (".txt", ".md", ".rst", ".csv", ".tsv", ".vocab", ".merges", ".bpe", ".codes",
         ".tiktoken", ".yaml", ".yml", ".toml", ".cff", ".jinja"),
        plain_text,
    ),
    ".parquet": _begins(b"PAR1", what="Parquet"),
    ".png": _begins(b"\x89PNG\r\n", what="a PNG picture"),
    ".jpg": _begins(b"\xff\xd8\xff", what="a JPEG picture"),
}  # fmt: skip
#: Text that has no suffix.
_NAMES = frozenset({"LICENSE", "LICENCE", "NOTICE", "README", "COPYING", "MLmodel",
                    ".gitattributes"})  # fmt: skip
_CODE = frozenset({".py", ".pyc", ".ipynb", ".sh", ".so", ".dll", ".dylib", ".pyd", ".js", ".whl"})
_PICKLES = frozenset({".pkl", ".pickle", ".joblib", ".bin", ".pt", ".pth", ".ckpt", ".dill"})
_KERAS = frozenset({".h5", ".hdf5", ".keras"})


def check_contents(
    where: str,
    files: Mapping[str, Opener],
    *,
    do: Callable[[Mapping[str, str]], str],
    refused: Mapping[str, str] | None = None,
    trusted: Collection[str] = (),
) -> None:
    """Refuse a model unless each of its files is of a format that cannot execute code.

    Args:
        where: what the model is or where it lies, for the message.
        files: relative path -> how to open it; the file must be seekable.
        do: says what to do about the problems, path -> reason.
        refused: relative path -> reason, for what was found wrong before opening anything.
        trusted: dotted names of types that its skops files may build.

    Raises:
        ModelFormatError: naming each file.
    """
    problems = dict(refused or {})
    weights = _external_weights(files)
    for path, opener in files.items():
        with opener() as file:
            problem = _problem(path, file, weights=weights, trusted=trusted)
        if problem:
            problems[path] = problem
    if problems:
        raise ModelFormatError(where, list(problems.items()), do(problems))


def _problem(
    path: str, file: BinaryIO, *, weights: Collection[str], trusted: Collection[str]
) -> str | None:
    name = PurePosixPath(path).name
    suffix = PurePosixPath(path).suffix.lower()
    if path in RESERVED:
        return "its name is one that nbprod export writes"
    if suffix in _CODE:
        return "it is a program"
    if problem := find_pickle(file):
        return problem
    file.seek(0)
    if suffix == ".skops":
        return skops(file, trusted=trusted)
    if reader := READERS.get(suffix):
        return reader(file)
    if name in _NAMES:
        return plain_text(file)
    if path in weights:  # raw numbers: any bytes are as good as any others
        return None
    if suffix in _PICKLES:
        return f"{suffix} files are loaded as pickles, which run code"
    if suffix in _KERAS:
        return "Keras files can hold Lambda layers, which run code"
    return "its format is not known to be unable to run code"


def _external_weights(files: Mapping[str, Opener]) -> set[str]:
    """Return the paths of files that an ONNX model beside them keeps its weights in."""
    found: set[str] = set()
    for path, opener in files.items():
        if not path.lower().endswith(".onnx"):
            continue
        with opener() as file:
            try:
                locations = protobuf.external_data(file)
            except protobuf.NotProtobufError:
                continue
        found.update(str(PurePosixPath(path).parent / location) for location in locations)
    return found


__all__ = ["READERS", "RESERVED", "Opener", "check_contents"]
