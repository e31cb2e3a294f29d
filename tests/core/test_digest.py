import hashlib
from pathlib import Path

import pytest

from nbprod.core.digest import digest_file, digest_folder, digest_json, digest_manifest, files_in


def test_a_file_is_digested_as_sha256sum_does(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 100_000)

    assert digest_file(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_equal_json_has_one_digest_whatever_its_order() -> None:
    assert digest_json({"b": [1, "é"], "a": None}) == digest_json({"a": None, "b": [1, "é"]})


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_has_no_nan_and_no_infinity(number: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        digest_json(number)


def test_a_folders_digest_is_of_names_and_contents_not_times_or_modes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "x").write_text("x")
        (tmp_path / name / "y").write_text("y")
    (tmp_path / "two" / "y").chmod(0o600)

    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "two")
    (tmp_path / "two" / "y").rename(tmp_path / "two" / "z")
    assert digest_folder(tmp_path / "one") != digest_folder(tmp_path / "two")


def test_the_digest_of_a_folder_is_that_of_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("b")
    (tmp_path / "a").write_text("a")

    manifest = {name: digest_file(path) for name, path in files_in(tmp_path)}

    assert list(manifest) == ["a", "b"]
    assert digest_folder(tmp_path) == digest_manifest(manifest)
