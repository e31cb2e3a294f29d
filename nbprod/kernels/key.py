"""Which zygote can stand in for a cold start: the one whose key is the same.

The key covers everything that shapes a process before its first line of work, so that a fork can
be as that cold process would be: the interpreter and its packages, the variables that libraries
read while they are imported, and what a child inherits and cannot change.
"""

import hashlib
import json
import os
import re
import resource
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from nbprod.core.version import VERSION

#: Variables, and beginnings of their names, that are read once: by the interpreter and the dynamic
#: loader at their start, by libraries at import. One too many costs a zygote, one too few a
#: difference that nobody can explain; so whole families are listed. Not here, because they are
#: read when used: CUDA_VISIBLE_DEVICES, TZ (`time.tzset`), TMPDIR, PATH, *_PROXY, NBPROD_*.
IMPORT_TIME = (
    # the interpreter, the loader, the allocator
    *("PYTHON*", "LD_*", "GLIBC_TUNABLES", "MALLOC_*", "JEMALLOC_*", "VIRTUAL_ENV", "CONDA_PREFIX"),
    # where a user's own configuration and caches are
    *("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
    # language and looks
    *("LANG", "LANGUAGE", "LC_*", "NO_COLOR", "FORCE_COLOR", "CLICOLOR*"),
    # how many threads, and which code of a mathematical library
    *("OMP_*", "GOMP_*", "KMP_*", "OPENBLAS_*", "GOTO_*", "MKL_*", "BLIS_*", "VECLIB_*"),
    *("NUMEXPR_*", "NUMBA_*", "NPY_*", "NUMPY_*", "SCIPY_*", "ATEN_*", "DNNL_*", "ONEDNN_*"),
    # the Jupyter stack
    *("IPYTHON*", "IPYKERNEL_*", "JUPYTER_*", "MPL*", "DEBUGPY_*", "PYDEVD_*", "TQDM_*"),
    # libraries of the field
    *("HF_*", "HUGGINGFACE_*", "HUGGING_FACE_*", "TRANSFORMERS_*", "PYTORCH_*", "TORCH*", "USE_*"),
    *("DATASETS_*", "DIFFUSERS_*", "ACCELERATE_*", "SAFETENSORS_*", "TRITON_*", "XFORMERS_*"),
    *("SKLEARN_*", "PANDAS_*", "POLARS_*", "ARROW_*", "PYARROW_*", "JOBLIB_*", "LOKY_*"),
    *("TF_*", "KERAS_*", "JAX_*", "XLA_*", "RAY_*", "DASK_*", "PYDANTIC_*", "SETUPTOOLS_*"),
    *("CUDA_HOME", "CUDA_PATH", "CUDA_CACHE_*", "CUDA_MODULE_LOADING", "ROCM_*", "HIP_*"),
)
#: ipykernel captures no file descriptors where this is set, whatever its value.
_PRESENCE = ("PYTEST_CURRENT_TEST",)
#: Set by whoever starts a kernel, for that one.
_NOT_ITS_OWN = ("JPY_PARENT_PID", "JPY_INTERRUPT_EVENT", "JPY_SESSION_NAME")

_EXACT = frozenset(name for name in IMPORT_TIME if not name.endswith("*"))
_BEGINNINGS = tuple(name.rstrip("*") for name in IMPORT_TIME if name.endswith("*"))
#: Of /proc/self/status: what this process may do, which a fork of a zygote may do as well.
_CREDENTIALS = re.compile(
    r"^(?:Uid|Gid|Groups|NoNewPrivs|Seccomp|CapInh|CapPrm|CapEff|CapBnd|CapAmb):.*$", re.MULTILINE
)


def zygote_key(
    role: str, *, python: str, preload: Sequence[str] | None, environment: Mapping[str, str]
) -> str:
    """Return 20 hex digits that name the zygote for such processes.

    `python` is the path of an interpreter, `preload` the modules asked for (None: the usual ones
    that are installed), `environment` the variables that the process is to have.
    """
    facts: list[Any] = [
        role,
        _interpreter(python),
        # What commands need is in no list of a user's.
        list(preload) if preload is not None and role == "kernel" else None,
        import_time(environment),
        sorted(name for name in _PRESENCE if name in environment),
        VERSION,
        own_changes(),
        inherited(),
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def import_time(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables among `environment` that have their effect at import."""
    found = {
        name: value
        for name, value in environment.items()
        if name in _EXACT or name.startswith(_BEGINNINGS)
    }
    return dict(sorted(found.items()))


def zygote_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables to start a zygote with, so that it can serve such processes."""
    return {name: value for name, value in environment.items() if name not in _NOT_ITS_OWN}


def packages_changes(folders: Sequence[str]) -> list[tuple[str, int]]:
    """Return when packages were last installed or removed: times of folders and `.pth` files."""
    found: list[tuple[str, int]] = []
    for folder in folders:
        try:
            found.append((folder, os.stat(folder).st_mtime_ns))  # noqa: PTH116 - quick, see below
            found += _files_changed(folder, ".pth")
        except OSError:
            continue
    return sorted(found)


def _files_changed(folder: str, suffix: str) -> list[tuple[str, int]]:
    # Before every start. pathlib makes an object of each of 400 names: 20 times as long.
    names = [name for name in os.listdir(folder) if name.endswith(suffix)]  # noqa: PTH208
    return [(name, os.stat(f"{folder}/{name}").st_mtime_ns) for name in names]  # noqa: PTH116


def own_packages() -> list[str]:
    """Return the folders of this interpreter into which packages are installed."""
    return sorted({path for path in sys.path if path.endswith(("site-packages", "dist-packages"))})


def own_changes() -> list[tuple[str, int]]:
    """Return when the files of this room last changed: it may be a checkout, worked on."""
    return sorted(_files_changed(os.path.dirname(__file__), ".py"))  # noqa: PTH120


def _interpreter(python: str) -> list[Any]:
    """Return what tells an interpreter with its packages from another one, without running it."""
    path = Path(python).resolve()
    # Its folder is not resolved: of a virtual environment it says which one.
    prefix = Path(python).absolute().parent.parent
    folders = set(_package_folders(prefix))
    if prefix == Path(sys.prefix):
        folders.update(own_packages())
    try:
        changed = path.stat().st_mtime_ns
        settings = (prefix / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        changed, settings = 0, ""
    return [str(path), changed, str(prefix), settings, packages_changes(sorted(folders))]


@lru_cache(maxsize=16)
def _package_folders(prefix: Path) -> tuple[str, ...]:
    return tuple(str(folder) for folder in prefix.glob("lib*/python3*/*-packages"))


def inherited() -> list[Any]:
    """Return what a forked process has from its zygote and cannot get rid of, or not fully."""
    own = Path("/proc/self")
    try:
        namespaces = sorted(str(path.readlink()) for path in (own / "ns").iterdir())
        status = (own / "status").read_text(encoding="utf-8")
        groups = (own / "cgroup").read_text(encoding="utf-8")
        score = (own / "oom_score_adj").read_text(encoding="utf-8")
        root = str((own / "root").readlink())
    except OSError:
        return []
    hard = [resource.getrlimit(number)[1] for number in range(16)]
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return [namespaces, _CREDENTIALS.findall(status), groups, score, root, hard, nice]
