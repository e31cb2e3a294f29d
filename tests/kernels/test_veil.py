"""What was imported ahead is not there until a notebook imports it, and then as it would be."""

from pathlib import Path

import pytest
from zygote_forks import ForkedKernel, Forks, until

#: Packages that do at import what libraries do: read variables, set them, find modules.
PACKAGES = {
    "huggingface_hub/__init__.py": "import os\nHOME = os.environ.get('HF_HOME', 'usual')\n",
    "huggingface_hub/deep.py": "from huggingface_hub import HOME\n",
    "transformers/__init__.py": "import huggingface_hub.deep\n"
    "import os; os.environ['OF_TRANSFORMERS'] = 'set'\nHOME = huggingface_hub.deep.HOME\n",
    "finder/__init__.py": "import sys\nclass Finder:\n"
    "    def find_spec(self, name, path=None, target=None): return None\n"
    "sys.meta_path.append(Finder())\n",
    "plain/__init__.py": "from plain import part\nSTATE = []\n",
    "plain/part.py": "",
}
PRELOAD = ("transformers", "finder", "plain", "numpy")


@pytest.fixture(scope="module")
def _forks(shared_runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Forks:
    folder = tmp_path_factory.mktemp("veil")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBPROD_RUNTIME_DIR", str(shared_runtime))
        forks = Forks(folder, preload=PRELOAD, spares=1)
    for name, code in PACKAGES.items():
        path = folder / "modules" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    return forks


@pytest.fixture(params=["forked", "spare"])
def kernel(
    _forks: Forks, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> ForkedKernel:
    """A kernel with these packages imported ahead, on demand and from a spare."""
    monkeypatch.setenv("NBPROD_RUNTIME_DIR", _forks.environment["NBPROD_RUNTIME_DIR"])
    monkeypatch.setenv("NBPROD_WARM", "on")
    return started(_forks, request.param)


def started(forks: Forks, kind: str) -> ForkedKernel:
    forks.may_be_spare = kind == "spare"
    if kind == "spare":
        until(lambda: forks.state()["spares"]["count"])
    kernel = forks.kernel()
    assert kernel.process.is_spare == (kind == "spare")
    return kernel


def test_nothing_is_there_before_it_is_imported(kernel: ForkedKernel) -> None:
    there = (
        "import os, sys; print(sorted(n for n in sys.modules if n.split('.')[0] in "
        "('transformers', 'huggingface_hub', 'finder', 'plain', 'numpy')), "
        "os.environ.get('OF_TRANSFORMERS'), type(sys.meta_path[-1]).__name__)"
    )

    before = kernel.says(there)
    kernel.says("import transformers")
    after = kernel.says(there)
    kernel.says("import finder")
    last = kernel.says(there)

    assert before == "[] None type"
    modules = "['huggingface_hub', 'huggingface_hub.deep', 'transformers']"
    assert after == f"{modules} set type"
    assert last == f"{modules[:1]}'finder', {modules[1:]} set Finder"
    assert kernel.end() == 0


def test_what_is_imported_is_what_was_imported_ahead(kernel: ForkedKernel) -> None:
    found = kernel.says("""
import importlib, importlib.util, inspect, pickle, sys
spec = importlib.util.find_spec("plain")
print(spec.name, spec.origin.rsplit("/", 2)[1:], spec.loader.is_package("plain"))
print("plain" in sys.modules)
import plain.part, numpy
print(plain.__spec__.loader is plain.__loader__, plain.__spec__.name, inspect.getsource(plain)[:5])
print(importlib.reload(plain) is plain, sys.modules["plain.part"] is plain.part)
print(pickle.loads(pickle.dumps(numpy.arange(3))), numpy.linalg.norm([3, 4]))
print(importlib.util.find_spec("absent"), importlib.import_module("huggingface_hub.deep").HOME)
""")

    assert found == (
        "plain ['plain', '__init__.py'] True\nFalse\nTrue plain from \nTrue True\n"
        "[0 1 2] 5.0\nNone usual"
    )
    assert kernel.end() == 0


def test_a_variable_that_is_set_before_an_import_has_its_effect(kernel: ForkedKernel) -> None:
    found = kernel.says("""
import os
os.environ["HF_HOME"] = "/elsewhere"
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
import transformers, numpy, ctypes
lines = [line.split()[-1] for line in open("/proc/self/maps")]
path = next(line for line in lines if "numpy.libs/libscipy_openblas" in line)
print(transformers.HOME, ctypes.CDLL(path).scipy_openblas_get_num_threads64_())
os.environ["HF_HOME"] = "/too/late"
import huggingface_hub
print(huggingface_hub.HOME)
""")

    assert found == "/elsewhere 1\n/elsewhere"
    assert kernel.end() == 0


def test_a_module_of_the_notebooks_own_folder_or_path_comes_first(
    kernel: ForkedKernel, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "huggingface_hub.py").write_text("HOME = 'from its path'\n")

    found = kernel.says(f"""
import os, sys
os.chdir({str(tmp_path)!r})
open("numpy.py", "w").write("STATE = 'of its folder'")
sys.path.insert(0, "lib")
import numpy, huggingface_hub
print(numpy.STATE, huggingface_hub.HOME)
""")

    assert found == "of its folder from its path"
    assert kernel.end() == 0


def test_threads_that_import_at_once_get_the_same_module(kernel: ForkedKernel) -> None:
    found = kernel.says("""
from concurrent.futures import ThreadPoolExecutor
import importlib
names = ["plain", "transformers", "numpy", "huggingface_hub.deep"] * 20
with ThreadPoolExecutor(8) as pool:
    modules = list(pool.map(importlib.import_module, names))
print([len({id(module) for module in modules[start::4]}) for start in range(4)])
""")

    assert found == "[1, 1, 1, 1]"
    assert kernel.end() == 0
