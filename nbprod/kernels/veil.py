"""Hides from a notebook what was imported ahead, until the notebook imports it itself.

Then it gets what an import would have given it: another module of that name that comes first on
`sys.path` by now, in its folder for one; a library that reads a variable at import as the notebook
has set it, a cell earlier; and until then no sign of it in `sys.modules`.
"""

import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from nbprod.kernels.key import import_time
from nbprod.kernels.notebook_look import INLINE
from nbprod.kernels.preload import Preloaded

#: Variables that a library reads while it is imported, and the library. It and what imports it are
#: imported anew where such a variable was set meanwhile, as far as they are pure Python: compiled
#: modules cannot be imported twice.
READERS = {
    "HF_": "huggingface_hub",
    "HUGGINGFACE_": "huggingface_hub",
    "HUGGING_FACE_": "huggingface_hub",
    "XDG_CACHE_HOME": "huggingface_hub",
    "TRANSFORMERS_": "transformers",
    "USE_": "transformers",
    "DATASETS_": "datasets",
    "ACCELERATE_": "accelerate",
    "TQDM_": "tqdm",
}
_OF_OPENMP = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Libraries that read at their start how many threads to have: part of their files' names, the
#: functions that set it later, and the variables, of which OpenMP's counts for all.
_THREADS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "openblas",
        ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads"),
        ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"),
    ),
    ("gomp", ("omp_set_num_threads",), ("OMP_NUM_THREADS",)),
)


class Veil:
    """Hides packages, and gives back one with all that it imports when it is asked for."""

    def __init__(self, preloaded: Preloaded) -> None:
        self._preloaded = preloaded
        self._hidden = _hideable(preloaded.launcher)
        self._variables: dict[str, str] = {}
        self._original = PathFinder.find_spec

    def packages(self) -> set[str]:
        """Return the packages that are hidden."""
        return set(self._hidden)

    def draw(self) -> None:
        """Hide them."""
        for modules in self._hidden.values():
            for name in modules:
                sys.modules.pop(name, None)
        for finders in self._preloaded.finders.values():
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in finders]
        late = [entry for entries in self._preloaded.filters.values() for entry in entries]
        _filter_warnings([entry for entry in warnings.filters if entry not in late])

        def find_spec(
            name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
        ) -> ModuleSpec | None:
            return self._find(name, path, target)

        # In place of a finder of our own: a notebook sees the list of finders.
        PathFinder.find_spec = find_spec  # type: ignore[method-assign,assignment]

    def note_variables(self) -> None:
        """Take the variables of now for those that the hidden packages were imported with."""
        self._variables = _variables()

    def _find(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        if name not in self._hidden:
            return self._original(name, path, target)
        self._drop_outdated()
        spec = self._original(name, path, target)
        module = self._hidden.get(name, {}).get(name)
        known = getattr(module, "__spec__", None)
        if module is None or known is None or (spec is not None and spec.origin != known.origin):
            self._hidden.pop(name, None)
            return spec
        found = ModuleSpec(
            name,
            _Revealed(self, module),  # type: ignore[arg-type]  # a loader by what it can do
            origin=known.origin,
            is_package=known.submodule_search_locations is not None,
        )
        found.submodule_search_locations = known.submodule_search_locations
        found.has_location = known.has_location
        found.cached = known.cached
        return found

    def reveal(self, package: str) -> None:
        """Put a package, and all that it imports, where an import would have put it."""
        changed = self._changed()
        for name in self._needed(package):
            modules = self._hidden.pop(name, None)
            if modules is None:
                continue
            sys.modules.update(modules)
            for variable, value in self._preloaded.late.get(name, {}).items():
                os.environ.setdefault(variable, value)
            sys.meta_path.extend(self._preloaded.finders.get(name, ()))
            if filters := self._preloaded.filters.get(name, ()):
                _filter_warnings([*filters, *(it for it in warnings.filters if it not in filters)])
            _tell(name, modules.get(name), changed)
        if not self._hidden:
            PathFinder.find_spec = self._original  # type: ignore[method-assign]

    def _needed(self, package: str) -> list[str]:
        """Return the package and what it imports, and what that does, and so on."""
        found = {package: None}
        waiting = [package]
        while waiting:
            for name in self._preloaded.imports.get(waiting.pop(), ()):
                if name in self._hidden and name not in found:
                    found[name] = None
                    waiting.append(name)
        return list(found)

    def _changed(self) -> set[str]:
        """Return the import-time variables that were set or deleted since this process began."""
        now = _variables()
        names = now.keys() | self._variables.keys()
        return {name for name in names if now.get(name) != self._variables.get(name)}

    def _drop_outdated(self) -> None:
        """Forget what would be another thing if it were imported with the variables of now."""
        changed = self._changed()
        readers = {
            reader
            for start, reader in READERS.items()
            if any(name.startswith(start) for name in changed)
        }
        if not readers:
            return
        outdated = [
            package
            for package, modules in self._hidden.items()
            if readers.intersection(self._needed(package)) and _is_pure(modules.values())
        ]
        for package in outdated:
            del self._hidden[package]


class _Revealed:
    """Loads a module that was there all along."""

    def __init__(self, veil: Veil, module: ModuleType) -> None:
        self._veil = veil
        self._module = module

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to the import system, which throws it away."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the real one in its place."""
        self._veil.reveal(module.__name__)
        sys.modules[module.__name__] = self._module

    def __getattr__(self, name: str) -> Any:
        # Whoever asks for the specification only, without importing, may ask its loader things.
        return getattr(self._module.__loader__, name)


def _hideable(launcher: Iterable[str]) -> dict[str, dict[str, ModuleType]]:
    """Return the packages that a kernel does not need itself, each with its modules."""
    own = {name.partition(".")[0] for name in launcher} | set(sys.stdlib_module_names)
    found: dict[str, dict[str, ModuleType]] = {}
    for name, module in sys.modules.items():
        top = name.partition(".")[0]
        if top in own or top.startswith("__"):
            continue
        found.setdefault(top, {})[name] = module
    # Not what C code has put there, to find it again by its name: that was never imported.
    return {
        top: modules
        for top, modules in found.items()
        if getattr(modules.get(top), "__spec__", None) is not None
    }


def _is_pure(modules: Iterable[ModuleType]) -> bool:
    endings = tuple(EXTENSION_SUFFIXES)
    return not any(str(getattr(module, "__file__", "")).endswith(endings) for module in modules)


def _variables() -> dict[str, str]:
    found = import_time(os.environ)
    # ipykernel sets it, if nobody has; and it was so when matplotlib was imported.
    found["MPLBACKEND"] = found.get("MPLBACKEND") or INLINE
    return found


def _tell(package: str, module: ModuleType | None, changed: set[str]) -> None:
    """Tell a library that is there already what it would have read from a variable."""
    found: Any = module
    if package == "matplotlib" and "MPLBACKEND" in changed:
        found.rcParams["backend"] = os.environ.get("MPLBACKEND") or INLINE
    for library, setters, variables in _THREADS:
        if count := _count(changed.intersection(variables)):
            _limit_threads(package, library, setters, count)
    if package == "torch" and (count := _count(changed.intersection(_OF_OPENMP))):
        found.set_num_threads(count)


def _filter_warnings(filters: Iterable[Any]) -> None:
    warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever typeshed says
    warnings._filters_mutated()  # type: ignore[attr-defined]


def _count(changed: set[str]) -> int:
    values = [os.environ.get(name, "") for name in sorted(changed)]
    return next((int(value) for value in values if value.isdecimal()), 0)


def _limit_threads(package: str, library: str, setters: Sequence[str], count: int) -> None:
    """Have the copy of a library that came with the package use so many threads."""
    import ctypes

    folder = {"sklearn": "scikit_learn"}.get(package, package)
    with open("/proc/self/maps", encoding="utf-8") as maps:  # noqa: PTH123 - read line by line
        paths = {line.split()[-1] for line in maps if library in line}
    for path in paths:
        if f"/{folder}.libs/" not in path and f"/{folder}/" not in path:
            continue
        loaded = ctypes.CDLL(path)
        for setter in setters:
            if hasattr(loaded, setter):
                getattr(loaded, setter)(count)
