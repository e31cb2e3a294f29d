from pathlib import Path

import pytest

import nbprod
from nbprod.core.errors import SettingsError, WorkspaceNotFoundError
from nbprod.workspace.settings import read_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "nbprod.toml"
    path.write_text(text)
    return path


def test_a_name_is_all_that_is_needed(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, '[workspace]\nname = "team"\n'))

    assert settings.workspace.store == "sqlite:///.nbprod/store.db"
    assert settings.workspace.artifacts == ".nbprod/artifacts"
    assert settings.runs.lease.total_seconds() == 30
    assert settings.kernels.preload is None
    assert settings.models == {}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (
            '[workspace]\nname = "team\n',
            2,
            "It is not TOML: Illegal character '\\n' (at line 2, column 13).",
        ),
        (
            '[workspace]\nname = "team"\n\n# where\nstores = "x"\n',
            5,
            "There is no setting 'workspace.stores'; did you mean 'store'?",
        ),
        (
            '[workspace]\nname = "team"\n[runs]\nlease_seconds = 0.1\n',
            4,
            "runs.lease_seconds: Input should be greater than or equal to 0.5.",
        ),
        (
            '[workspace]\nname = "team"\n[runs]\noutputs = {max_bytes = "lots"}\n',
            4,
            "runs.outputs: Value error, outputs.max_bytes is a size such as 1MB, or none, "
            "not 'lots'.",
        ),
        (
            '[workspace]\nname = "team"\n[models.m]\ngate = []\n',
            4,
            "There is no setting 'models.m.gate'; did you mean 'gates'?",
        ),
        (
            '[workspace]\nname = "team"\n[kernels]\nspare_memory = "much"\n',
            4,
            "kernels.spare_memory: Value error, 'much' is no size such as 1GB or 512MiB.",
        ),
        (
            '[workspace]\nname = "team"\n[kernels]\nidle = "soon"\n',
            4,
            "kernels.idle: Value error, 'soon' is no duration such as 10min or 1h30m.",
        ),
        ("[runs]\n", None, "workspace: Field required."),
        (
            '[workspace]\nname = "team"\n[zzz]\n',
            3,
            "There is no setting 'zzz'; known here: kernels, mlflow, models, runs, workspace.",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int | None, problem: str
) -> None:
    path = written(tmp_path, text)
    at = f", line {line}" if line else ""

    with pytest.raises(SettingsError) as raised:
        read_settings(path)

    assert str(raised.value) == (
        f"{path}{at} cannot be used.\n{problem}\nCorrect the file, then check it: nbprod doctor"
    )


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nbprod.toml"
    path.write_bytes(b'[workspace]\nname = "\xff"\n')

    with pytest.raises(SettingsError) as raised:
        read_settings(path)

    assert str(raised.value) == (
        f"{path} cannot be used.\nIt is not UTF-8: byte 20 cannot be read.\n"
        "Correct the file, then check it: nbprod doctor"
    )


def test_open_looks_upwards(tmp_path: Path) -> None:
    written(tmp_path, '[workspace]\nname = "team"\n')
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)

    assert nbprod.open(deep).root == tmp_path.resolve()


def test_open_outside_a_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceNotFoundError) as raised:
        nbprod.open(tmp_path)

    assert str(raised.value) == (
        f"There is no nbprod workspace in {tmp_path}.\n"
        "Neither this folder nor any folder above it holds an nbprod.toml.\n"
        "Go to your workspace, or make one here: nbprod init ."
    )
