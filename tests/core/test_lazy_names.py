import subprocess
import sys

import nbprod

HEAVY = ("torch", "pandas", "papermill", "pydantic", "sqlalchemy", "nbformat", "numpy")


def test_every_public_name_is_there_and_sorted() -> None:
    assert nbprod.__all__ == sorted(nbprod.__all__)
    assert all(getattr(nbprod, name) is not None for name in nbprod.__all__)
    assert dir(nbprod) == nbprod.__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(nbprod, "teleport")


def test_importing_nbprod_and_its_errors_loads_nothing_heavy() -> None:
    code = (
        "import sys, nbprod, nbprod.core.errors, nbprod.core.events, nbprod.core.runner\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
