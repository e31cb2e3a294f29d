"""Say how to turn a refused file into one that may enter, as a command to paste."""

import shlex
from collections.abc import Mapping
from pathlib import PurePosixPath

from nbprod.core.errors.registry import SHOWN

#: What Trainer leaves beside a model; nothing loads it to predict.
_LEFTOVERS = frozenset({"training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth"})
_TORCH = (
    "import sys, torch; from safetensors.torch import save_file; "
    "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
    "save_file({k: v.clone().contiguous() for k, v in w.items()}, sys.argv[2], {'format': 'pt'})"
)
_SKLEARN = "import sys, joblib, skops.io; skops.io.dump(joblib.load(sys.argv[1]), sys.argv[2])"
_KERAS = (
    "import sys, keras; keras.models.load_model(sys.argv[1]).export(sys.argv[2], format='onnx')"
)
_XGBOOST = "import sys, xgboost; xgboost.Booster(model_file=sys.argv[1]).save_model(sys.argv[2])"
_OBJECTS = (
    "import sys, numpy; "
    "numpy.save(sys.argv[1], numpy.load(sys.argv[1], allow_pickle=True).astype('U'))"
)


def advice(folder: str, problems: Mapping[str, str]) -> str:
    """Say what to paste so that the model in `folder` may enter: nothing of it is touched.

    A folder can be the only copy of a model, or an installed package, so the commands work
    on a copy beside it, in which links have become files.
    """
    copy = folder.rstrip("/") + "-safe"
    lines = [
        "Convert or remove them in a copy, and take the copy:",
        f"cp -rL {shlex.quote(folder)} {shlex.quote(copy)}",
    ]
    lines += [
        _command(str(PurePosixPath(copy, path)), reason)
        for path, reason in list(problems.items())[:SHOWN]
        if "link to" not in reason
    ]
    return "\n".join(lines)


def _command(path: str, reason: str) -> str:
    """Return what converts or removes one file."""
    pure = PurePosixPath(path)
    stem = str(pure.with_suffix(""))
    if pure.name not in _LEFTOVERS:
        match pure.suffix.lower():
            case ".bin" | ".pt" | ".pth" | ".ckpt":
                return _then_remove(_TORCH, path, f"{stem}.safetensors")
            case ".pkl" | ".pickle" | ".joblib":
                return _then_remove(_SKLEARN, path, f"{stem}.skops")
            case ".h5" | ".hdf5" | ".keras":
                return _then_remove(_KERAS, path, f"{stem}.onnx")
            case ".xgb" | ".deprecated":
                return _then_remove(_XGBOOST, path, f"{stem}.ubj")
            case ".npy" if "Python objects" in reason:
                return f'python -c "{_OBJECTS}" {shlex.quote(path)}'
    return f"rm {shlex.quote(path)}"


def _then_remove(code: str, old: str, new: str) -> str:
    quoted = shlex.quote(old)
    return f'python -c "{code}" {quoted} {shlex.quote(new)} && rm {quoted}'
