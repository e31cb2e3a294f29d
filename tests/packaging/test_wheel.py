"""What is published holds what a user needs, and nothing else."""

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_has_every_module(names: set[str]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "nbprod").rglob("*.py")}

    assert sorted(modules - names) == []


def test_the_wheel_has_what_is_no_module(names: set[str]) -> None:
    others = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "nbprod").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"}
    }

    assert "nbprod/py.typed" in others
    assert sorted(others - names) == []


def test_the_wheel_has_the_built_in_templates(names: set[str]) -> None:
    templates = {f"nbprod/templates/{path.name}" for path in (ROOT / "templates").iterdir()}

    assert "nbprod/templates/finetune_text_classifier.ipynb" in templates
    assert sorted({name for name in templates if name.endswith((".ipynb", ".py"))} - names) == []


def test_the_wheel_has_nothing_but_the_package_and_its_kernelspec(names: set[str]) -> None:
    kernelspec = "nbprod-0.1.0.data/data/share/jupyter/kernels/python3-warm/"
    others = {name for name in names if not name.startswith(("nbprod/", "nbprod-0.1.0.dist-info/"))}

    assert {name for name in others if not name.startswith(kernelspec)} == set()
    assert f"{kernelspec}kernel.json" in others
    assert [
        name for name in names if "test" in Path(name).stem and "nbprod/testing" not in name
    ] == []
    assert [name for name in names if name.endswith((".pyc", ".db"))] == []


def test_the_wheel_carries_the_licences(names: set[str]) -> None:
    licences = {name for name in names if "/licenses/" in name}

    assert licences == {
        "nbprod-0.1.0.dist-info/licenses/LICENSE",
        "nbprod-0.1.0.dist-info/licenses/LICENSES.md",
    }


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("nbprod-0.1.0.dist-info/METADATA").decode()
    metadata = Parser().parsestr(text)

    assert metadata["Name"] == "nbprod"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    extras = ["all", "demo", "dev", "lab", "ml", "portal", "postgres"]
    assert sorted(metadata.get_all("Provides-Extra", [])) == extras
    assert "nbprod run" in metadata.get_payload(), "the README is the page of the package"


def test_the_sdist_can_be_tested(built: Path) -> None:
    (path,) = built.glob("nbprod-*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    needed = {"Makefile", "constraints.txt", "LICENSE", "tests/packaging/test_wheel.py"}
    assert sorted(needed - names) == []
