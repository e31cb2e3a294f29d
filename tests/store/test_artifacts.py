import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from nbprod.core.digest import digest_file
from nbprod.core.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ArtifactsUnreachableError,
    ReadOnlyError,
)
from nbprod.core.models import ModelFile
from nbprod.store.artifacts import INCOMING, Artifacts
from nbprod.testing import ArtifactsContract

HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture
def folder(tmp_path: Path) -> Artifacts:
    return Artifacts(".nbprod/artifacts", root=tmp_path)


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    path = tmp_path / "hello.txt"
    path.write_bytes(b"hello")
    return path


def stored(artifacts: Artifacts) -> list[str]:
    root = Path(artifacts.url.removeprefix("file://"))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


class TestFolder(ArtifactsContract):
    @pytest.fixture
    def artifacts(self, folder: Artifacts) -> Artifacts:
        return folder


class TestMemory(ArtifactsContract):
    @pytest.fixture
    def artifacts(self, tmp_path: Path) -> Iterator[Artifacts]:
        url = f"memory://{tmp_path.name}/artifacts"
        yield Artifacts(url, root=tmp_path)
        fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def test_the_place_is_absolute_wherever_a_process_works(folder: Artifacts, tmp_path: Path) -> None:
    again = Artifacts(folder.url, root=Path("/elsewhere"))

    assert folder.url == f"file://{tmp_path}/.nbprod/artifacts"
    assert again.url == folder.url


def test_a_folder_with_odd_characters_is_one_place(tmp_path: Path, hello: Path) -> None:
    odd = Artifacts("a folder, 100 % #1", root=tmp_path)
    again = Artifacts(odd.url, root=Path("/elsewhere"))

    odd.put_file(hello)

    assert again.has(HELLO)
    assert (tmp_path / "a folder, 100 % #1" / "2c" / HELLO).read_bytes() == b"hello"


def test_a_stored_file_is_read_only_and_alone(folder: Artifacts, hello: Path) -> None:
    folder.put_file(hello)
    folder.put_file(hello)

    assert stored(folder) == [f"2c/{HELLO}"]
    path = Path(folder.url.removeprefix("file://")) / "2c" / HELLO
    assert path.stat().st_mode & 0o777 == 0o444
    hello.write_bytes(b"other")  # the source is the caller's: it was copied, not linked
    folder.verify(HELLO)


def test_what_is_stored_is_on_the_disk_before_it_is_named(
    folder: Artifacts, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noting(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any, **named: Any) -> Any:
            if name == "fsync":
                steps.append(f"fsync {Path(f'/proc/self/fd/{given[0]}').readlink().name[:8]}")
            else:
                steps.append(name)
            return original(*given, **named)

        return noted

    monkeypatch.setattr(secrets, "token_hex", lambda size: "incoming")
    monkeypatch.setattr(os, "fsync", noting("fsync", os.fsync))
    monkeypatch.setattr(Path, "rename", noting("rename", Path.rename))

    folder.put_file(hello)

    # the first rename finds no folder "2c"; its own name is made to last before the second
    assert steps == ["fsync incoming", "rename", "fsync artifact", "rename", "fsync 2c"]


def test_a_file_is_read_once(
    folder: Artifacts, hello: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = Path.open

    def noted(self: Path, mode: str = "r", *rest: Any) -> Any:
        opened.append(f"{self.name} {mode}")
        return original(self, mode, *rest)

    monkeypatch.setattr(Path, "open", noted)

    folder.put_file(hello)

    assert [name for name in opened if name.startswith("hello.txt")] == ["hello.txt rb"]


def test_a_truncated_artifact_is_replaced(folder: Artifacts, hello: Path) -> None:
    folder.put_file(hello)
    path = Path(folder.url.removeprefix("file://")) / "2c" / HELLO
    path.chmod(0o644)
    path.write_bytes(b"hel")

    folder.put_file(hello)

    folder.verify(HELLO)


def test_an_edited_artifact_is_named(folder: Artifacts, hello: Path, tmp_path: Path) -> None:
    folder.put_file(hello)
    path = Path(folder.url.removeprefix("file://")) / "2c" / HELLO
    path.chmod(0o644)
    path.write_bytes(b"HELLO")
    found = hashlib.sha256(b"HELLO").hexdigest()

    with pytest.raises(ArtifactDamagedError) as raised:
        folder.verify(HELLO)
    with pytest.raises(ArtifactDamagedError):
        folder.fetch(HELLO, tmp_path / "fetched")

    assert str(raised.value) == (
        f"Artifact {path} is damaged.\n"
        f"Its content has the digest {found[:12]}, not {HELLO[:12]}: it was edited.\n"
        f"Restore it from a backup, or delete it and make it again: rm -f {path}"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [".nbprod", "hello.txt"]


def test_a_missing_artifact_is_named(folder: Artifacts, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissingError) as raised:
        folder.verify(HELLO)

    assert str(raised.value) == (
        f"Artifact {HELLO[:12]} is missing.\n"
        f"{tmp_path}/.nbprod/artifacts holds no file with that digest.\n"
        "Restore it from a backup, or run again what made it: nbprod runs list"
    )


@pytest.mark.parametrize("odd", ["../../etc/passwd", HELLO.upper(), HELLO[:-1], ""])
def test_only_a_digest_names_an_artifact(folder: Artifacts, odd: str) -> None:
    with pytest.raises(ValueError, match="is no sha256: 64 lower-case hex digits"):
        folder.open(odd)


def test_a_fetched_file_shares_its_disk_blocks(
    folder: Artifacts, hello: Path, tmp_path: Path
) -> None:
    folder.put_file(hello)
    path = Path(folder.url.removeprefix("file://")) / "2c" / HELLO

    folder.fetch(HELLO, tmp_path / "model" / "weights")
    folder.fetch(HELLO, tmp_path / "model" / "weights")

    assert (tmp_path / "model" / "weights").samefile(path)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["weights"]


def test_a_fetched_file_is_copied_where_links_do_not_reach(folder: Artifacts, hello: Path) -> None:
    folder.put_file(hello)
    to = Path("/dev/shm") / f"nbprod-{os.getpid()}"  # another filesystem

    try:
        folder.fetch(HELLO, to)
        content, mode = to.read_bytes(), to.stat().st_mode & 0o777
    finally:
        to.unlink(missing_ok=True)

    assert (content, mode) == (b"hello", 0o444)


def test_what_a_crash_left_is_swept_after_a_day(
    folder: Artifacts, hello: Path, tmp_path: Path
) -> None:
    incoming = tmp_path / ".nbprod" / "artifacts" / INCOMING
    incoming.mkdir(parents=True)
    (incoming / "old").touch()
    (incoming / "young").touch()
    yesterday = time.time() - 2 * 86_400
    os.utime(incoming / "old", (yesterday, yesterday))

    folder.put_file(hello)

    assert [path.name for path in incoming.iterdir()] == ["young"]


def test_sixteen_threads_store_the_same_and_other_files(folder: Artifacts, tmp_path: Path) -> None:
    sources = [tmp_path / f"source-{number % 4}" for number in range(16)]
    for number, source in enumerate(sources[:4]):
        source.write_bytes(bytes([number]) * (3 << 20))
    start, found = threading.Barrier(16), []

    def put(source: Path) -> None:
        start.wait()
        found.append(Artifacts(folder.url, root=tmp_path).put_file(source))

    threads = [threading.Thread(target=put, args=(source,)) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    digests = {digest_file(source) for source in sources}
    assert set(found) == {(digest, 3 << 20) for digest in digests}
    assert len(found) == 16
    assert stored(folder) == sorted(f"{digest[:2]}/{digest}" for digest in digests)
    for digest in digests:
        folder.verify(digest)


def test_a_folder_is_stored_by_its_relative_paths(folder: Artifacts, tmp_path: Path) -> None:
    model = tmp_path / "model"
    (model / "tokenizer").mkdir(parents=True)
    (model / "weights").write_bytes(b"hello")
    (model / "tokenizer" / "vocab.txt").write_bytes(b"hello")

    assert folder.put_folder(model) == {
        path: ModelFile(path=path, sha256=HELLO, size_bytes=5)
        for path in ("tokenizer/vocab.txt", "weights")
    }


@pytest.mark.parametrize(
    ("url", "why", "do"),
    [
        (
            "s3://bucket/x",
            "Install s3fs to access S3",
            "Install what speaks to it: pip install s3fs",
        ),
        (
            "nowhere://x",
            "Protocol not known: nowhere",
            "Check `artifacts` in nbprod.toml and your access to it: nbprod doctor",
        ),
    ],
)
def test_a_place_that_fsspec_cannot_reach(tmp_path: Path, url: str, why: str, do: str) -> None:
    with pytest.raises(ArtifactsUnreachableError) as raised:
        Artifacts(url, root=tmp_path)

    assert str(raised.value) == (
        f"The artifacts at {url} cannot be reached.\nfsspec says: {why}.\n{do}"
    )


def test_a_place_that_stops_answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts = Artifacts("memory://kept", root=tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"x")

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("403: Forbidden\nand a page of XML")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.open", refuse)

    for use in (artifacts.put_file, lambda _: artifacts.open("0" * 64)):
        with pytest.raises(ArtifactsUnreachableError) as raised:
            use(file)
        assert str(raised.value) == (
            "The artifacts at memory://kept cannot be reached.\n"
            "fsspec says: 403: Forbidden.\n"
            "Check `artifacts` in nbprod.toml and your access to it: nbprod doctor"
        )


def test_a_folder_is_checked_without_making_it(tmp_path: Path) -> None:
    Artifacts("new/kept", root=tmp_path).check()
    (tmp_path / "file").touch()

    with pytest.raises(ReadOnlyError) as raised:
        Artifacts("file/kept", root=tmp_path).check()

    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert str(raised.value) == (
        f"{tmp_path}/file/kept cannot be written.\n"
        "Its folder or its filesystem is read-only for this user.\n"
        f"See who may write there: ls -ld {tmp_path}/file"
    )
