"""Check skops files without importing skops: every type in them must be trusted.

A skops file is a zip: `schema.json`, a tree of nodes that each name a module and a class, and
arrays beside it. Loading imports and builds what the nodes name, so the names decide. skops
audits again on load; this check says the same on every machine, installed or not.
"""

import io
import json
import zipfile
from collections.abc import Collection, Iterator
from typing import BinaryIO

import numpy as np

from nbprod.core.json import JSON
from nbprod.registry.formats.arrays import npz_arrays, npz_member

_BUILTINS = frozenset(
    f"builtins.{name}"
    for name in ("bool", "bytearray", "bytes", "dict", "float", "int", "list", "set", "slice",
                 "str", "tuple")
) | {"collections.defaultdict", "collections.OrderedDict"}  # fmt: skip
_SCIPY = frozenset({"csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "csc_array"})
#: What an array file and a fitted estimator need; numpy.memmap, for one, opens files.
_NUMPY = (np.generic, np.dtype, np.random.RandomState, np.random.Generator, np.random.BitGenerator)
#: Nodes that give back a function by its name, or call what they name with what they hold; the
#: others build values without calling anything.
_CALLABLES = frozenset(
    {
        "FunctionNode",
        "MethodNode",
        "OperatorFuncNode",
        "PartialNode",
        "ConstructorFromReduceNode",
    }
)
_SCHEMA_BYTES = 256 << 20


def skops(file: BinaryIO, *, trusted: Collection[str] = ()) -> str | None:
    """Check that a file is skops and names only trusted types.

    Args:
        file: the zip.
        trusted: dotted names declared by whoever registers the model, in addition to
            scikit-learn's estimators, NumPy's and SciPy's arrays and NumPy's ufuncs.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                if problem := _member(archive, member):
                    return problem
            with archive.open("schema.json") as stream:
                schema = json.loads(stream.read(_SCHEMA_BYTES))
            untrusted = sorted(set(_types(schema)) - set(trusted))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, NotImplementedError, OSError):
        return "it is not a skops file"
    if untrusted:
        return f"it builds {', '.join(untrusted)}, which nobody declared as trusted"
    return None


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> str | None:
    name = member.filename
    if name == "schema.json" or name.endswith(".bin"):  # skops keeps bytes objects as .bin
        return None
    if name.endswith(".npz"):
        problem = npz_arrays(io.BytesIO(archive.read(member)))
        return f"{problem} ({name})" if problem else None
    return npz_member(archive, member)


def _types(node: JSON) -> Iterator[str]:
    """Yield the dotted name of each type or function that is not trusted by default."""
    if isinstance(node, list):
        for item in node:
            yield from _types(item)
    elif isinstance(node, dict):
        if "__class__" in node:
            module, name = str(node.get("__module__")), str(node["__class__"])
            if not _is_trusted(module, name, loader=str(node.get("__loader__"))):
                yield f"{module}.{name}"
        for item in node.values():
            yield from _types(item)


def _is_trusted(module: str, name: str, *, loader: str) -> bool:
    if loader in _CALLABLES:
        # numpy.load is a function too; ufuncs only compute.
        return module == "numpy" and isinstance(getattr(np, name, None), np.ufunc)
    root = module.partition(".")[0]
    if root == "sklearn":
        return name.lstrip("_")[:1].isupper()  # classes; functions and modules are lower case
    if root == "numpy":
        places = (np, np.random, np.ma)
        kind = next((getattr(place, name) for place in places if hasattr(place, name)), None)
        return kind in (np.ndarray, np.ma.MaskedArray) or (
            isinstance(kind, type) and issubclass(kind, _NUMPY)
        )
    if root == "scipy":
        return module.startswith("scipy.sparse") and name in _SCIPY
    return f"{module}.{name}" in _BUILTINS
