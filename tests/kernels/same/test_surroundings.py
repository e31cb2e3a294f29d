"""What is around a kernel: language, time zone, startup files, packages, another environment."""

import sys
import venv
from dataclasses import replace
from pathlib import Path

import pytest
from ways import Kernels, Same, Way, differences, reference, started

from nbprod.core.version import VERSION

LANGUAGE = [
    """
    import datetime, json, locale, os, sys, time
    moment = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.timezone.utc)
    print(json.dumps({
        "names": [time.tzname, time.timezone, time.localtime(1e9).tm_hour],
        "moment": [str(moment.astimezone()), str(datetime.datetime.fromtimestamp(1e9))],
        "locale": [locale.setlocale(locale.LC_ALL), locale.getlocale(), locale.getencoding()],
        "users": locale.setlocale(locale.LC_ALL, ""),
        "text": [sys.stdout.encoding, sys.__stdout__.encoding, sys.__stdout__.errors,
            sys.getfilesystemencoding(), sys.flags.utf8_mode, list(os.fsencode("ä"))],
        "variables": {it: os.environ[it] for it in os.environ if it.startswith(("LC_", "LANG"))},
    }))
    """,
    "!date -d @1000000000; locale 2>/dev/null | head -2",
    """
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    print(moment.astimezone(), time.tzname)
    """,
    "import pandas as pd\npd.Timestamp.fromtimestamp(1e9), pd.Timestamp(0, tz='Europe/Berlin')",
]
LANGUAGES = {
    "a time zone": {"TZ": "America/New_York"},
    "no language": {"LANG": "", "LC_ALL": "C", "TZ": ":Europe/Berlin"},
    "UTF-8 mode": {"LC_ALL": "POSIX", "PYTHONUTF8": "1", "PYTHONIOENCODING": "latin-1:replace"},
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_language_and_time_zone_are_those_of_the_job(light: Same, language: str) -> None:
    executed = light(LANGUAGE, LANGUAGES[language])

    if language == "a time zone":
        assert executed.facts(0)["names"][0] == ["EST", "EDT"]
        assert executed.text(1).startswith("Sat Sep  8 21:46:40 EDT 2001")
    assert executed.text(2) == "2026-07-01 21:00:00+09:00 ('JST', 'JST')\n"


VARIABLES = [
    """
    import json, os, subprocess, sys
    print(json.dumps({
        "path": sys.path, "flags": str(sys.flags), "warnings": sys.warnoptions,
        "hash": hash("text"), "debug": __debug__, "variables": sorted(os.environ),
    }))
    """,
    "import other\nprint(other.__file__, other.answer)",
    "import tempfile\nprint(tempfile.gettempdir(), os.path.dirname(tempfile.mkstemp()[1]))",
    """
    import numpy, threadpoolctl
    print({library["num_threads"] for library in threadpoolctl.threadpool_info()})
    """,
    "assert False",
]


def test_variables_that_only_a_new_process_reads_are_read(light: Same, tmp_path: Path) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "other.py").write_text("answer = 42\n")
    (tmp_path / "temporary").mkdir()

    executed = light(
        VARIABLES,
        {
            "PYTHONPATH": str(tmp_path / "modules"),
            "PYTHONHASHSEED": "7",
            "PYTHONOPTIMIZE": "1",
            "PYTHONWARNINGS": "error::ImportWarning",
            "TMPDIR": str(tmp_path / "temporary"),
            "OMP_NUM_THREADS": "1",
        },
    )

    assert executed.text(1) == f"{tmp_path}/modules/other.py 42\n"
    assert executed.text(2) == f"{tmp_path}/temporary {tmp_path}/temporary\n"
    assert executed.text(3) == "{1}\n"
    assert executed.errors() == []  # assertions are off


def test_a_users_startup_files_run_and_no_spare_is_taken(
    kernels: Kernels, tmp_path: Path, bare: dict[str, str]
) -> None:
    profile = tmp_path / "home" / ".ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "00-mine.py").write_text("import os\nstarted_in = os.getcwd()\n")
    (profile / "ipython_config.py").write_text(
        "c.InteractiveShellApp.exec_lines = ['line = 1']\n"
        "c.InteractiveShell.ast_node_interactivity = 'all'\n"
    )
    (tmp_path / "first.py").write_text("first = __name__\n")
    files = {"HOME": str(tmp_path / "home"), "PYTHONSTARTUP": str(tmp_path / "first.py")}
    cells = ["print(started_in, line)", "first", "1\n2"]

    cold = reference(kernels, cells, bare | files)
    warm = kernels.execute(cells, Way.FORKED, bare | files)

    assert warm == cold
    assert warm.text(0) == f"{kernels.folder} 1\n"
    assert [out["data"]["text/plain"] for out in warm.cells[2]] == ["1", "2"]
    own = replace(kernels, environment={**kernels.environment, **bare, **files})
    with started(own, Way.FORKED, may_be_spare=True) as (manager, _):
        reason = manager.provisioner.process.not_spare_because
    assert reason == "PYTHONSTARTUP names a file to run first"


@pytest.mark.parametrize("is_preloaded", [True, False])
def test_a_users_package_that_was_edited_is_seen_as_it_is_now(
    kernels: Kernels,
    way: Way,
    tmp_path: Path,
    is_preloaded: bool,  # noqa: FBT001
) -> None:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from mine.deep import answer\n")
    (package / "deep.py").write_text("answer = 'old'\n")
    variables = {"PYTHONPATH": str(tmp_path), "NBPROD_PRELOAD": "mine" if is_preloaded else ""}
    cells = ["import mine\nprint(mine.answer, mine.deep.__file__)"]
    kernels.settle(way, variables)

    before = kernels.execute(cells, way, variables)
    kernels.settle(way, variables)
    (package / "deep.py").write_text("answer = 'new'\n")
    after = kernels.execute(cells, None, variables)

    assert before.text(0) == f"old {package}/deep.py\n"
    assert after.text(0) == f"new {package}/deep.py\n"


@pytest.fixture
def environment_of_its_own(tmp_path: Path) -> Path:
    """A virtual environment that has what this one has, nbprod included, and can have more."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    own = next(path for path in sys.path if path.endswith("site-packages"))
    packages = next(folder.glob("lib/python3*/site-packages"))
    (packages / "base.pth").write_text(f"{own}\nimport site; site.addsitedir({own!r})\n")
    described = next(Path(own).glob("nbprod-*.dist-info"))
    (packages / f"nbprod-{VERSION}.dist-info").symlink_to(described)
    return folder


def _install(folder: Path, name: str, text: str) -> None:
    """Do what pip does: a module, and its description."""
    packages = next(folder.glob("lib/python3*/site-packages"))
    (packages / f"{name}.py").write_text(text)
    described = packages / f"{name}-1.0.dist-info"
    described.mkdir(exist_ok=True)
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (described / "RECORD").write_text(f"{name}.py,,\n")


def test_a_package_that_was_installed_meanwhile_can_be_imported(
    kernels: Kernels, way: Way, bare: dict[str, str], environment_of_its_own: Path
) -> None:
    there = replace(kernels, python=str(environment_of_its_own / "bin" / "python"))
    cells = [
        "from importlib.metadata import version\n"
        "import fresh\nprint(fresh.answer, version('fresh'))"
    ]

    before = there.execute(cells, way, bare)
    there.settle(way, bare)
    _install(environment_of_its_own, "fresh", "answer = 42\n")
    after = there.execute(cells, None, bare)

    assert before.error(0) == ("ModuleNotFoundError", "No module named 'fresh'")
    assert after.text(0) == "42 1.0\n"


def test_each_environment_has_kernels_of_its_own(
    kernels: Kernels, way: Way, bare: dict[str, str], environment_of_its_own: Path
) -> None:
    _install(environment_of_its_own, "only_there", "answer = 42\n")
    there = replace(kernels, python=str(environment_of_its_own / "bin" / "python"))
    cells = [
        "import json, sys\nprint(json.dumps([sys.executable, sys.prefix, sys.path]))",
        "!which python; python -c 'import sys; print(sys.prefix)'",
        "import only_there\nprint(only_there.answer)",
    ]

    cold, warm = reference(there, cells, bare), there.execute(cells, way, bare)
    here = kernels.execute(cells, way, bare)

    assert [differences(cold, warm, number) for number in range(3)] == [{}, {}, {}]
    assert warm == cold
    assert warm.facts(0)[1] == str(environment_of_its_own)
    assert warm.text(2) == "42\n"
    assert here.facts(0)[1] == sys.prefix
    assert here.error(2)[0] == "ModuleNotFoundError"


def test_a_file_in_the_jobs_folder_comes_before_a_preloaded_package(
    kernels: Kernels, way: Way
) -> None:
    write = "%%writefile {0}/pandas.py\nanswer = 'of the folder'"
    cells = [write.format("."), "import pandas\nprint(pandas.answer, pandas.__file__)"]

    cold, warm = reference(kernels, cells, None), kernels.execute(cells, way)

    assert warm == cold
    assert warm.text(1) == f"of the folder {kernels.folder}/pandas.py\n"
