import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import model_files as make
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbprod.core.errors import ModelFolderError, ModelFormatError
from nbprod.registry.formats import advice, check_contents, files_of
from nbprod.registry.formats.pickles import is_pickle


def check(folder: Path, *, trusted: tuple[str, ...] = ()) -> None:
    files, refused = files_of(folder)
    openers = {name: (lambda path=path: path.open("rb")) for name, path in files.items()}
    check_contents(
        str(folder),
        openers,
        do=lambda problems: advice(str(folder), problems),
        refused=refused,
        trusted=trusted,
    )


def refusals(folder: Path, *, trusted: tuple[str, ...] = ()) -> dict[str, str]:
    try:
        check(folder, trusted=trusted)
    except ModelFormatError as error:
        return dict(error.refusals)
    return {}


HARMLESS: dict[str, bytes | str] = {
    "model.safetensors": make.safetensors(),
    "model.onnx": make.onnx(),
    "large.onnx": make.onnx("large.onnx_data"),
    "large.onnx_data": b"\x80\x00\x01any numbers",
    "trees.ubj": make.xgboost_ubj(),
    "trees.xgb": make.xgboost_ubj(),
    "trees.json": '{"learner": {}, "version": [3, 2, 0]}',
    "boost.txt": "tree\nversion=v4\n",
    "boost.lgb": "tree\nversion=v4\n",
    "rows.npy": make.npy(np.arange(5, dtype=np.uint64)),
    "structured.npy": make.npy(np.zeros(2, dtype=[("größe", "<f8"), ("n", "<i4")])),
    "words.npy": make.npy(["a", "bb"]),
    "tfidf.npz": make.npz(indices=np.arange(3), data=np.ones(3), vocabulary=np.array(["a"])),
    "pipeline.skops": make.skops(),
    "spiece.model": make.sentencepiece(),
    "tokenizer.model": "IQ== 0\nIg== 1\n",
    "weights.gguf": make.gguf(),
    "config.json": '{"auto": [1, 2.5, null]}',
    "tokenizer.json": '{"model": {"vocab": {"ä": 0}}}',
    "examples.jsonl": '{"text": "a"}\n{"text": "b"}\n',
    "vocab.txt": "cat\ndog\nRabbit\n.",
    "merges.txt": "#version: 0.2\na b\n",
    "README.md": "# A model\n",
    "LICENSE": "Apache-2.0\n",
    "chat_template.jinja": "{{ messages }}",
    "deep/er/config.json": "{}",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_file_that_cannot_run_code_may_enter(name: str, tmp_path: Path) -> None:
    files = {name: HARMLESS[name]}
    if name.startswith("large"):
        files = {"large.onnx": HARMLESS["large.onnx"], "large.onnx_data": HARMLESS[name]}
    folder = make.write(tmp_path / "m", files)

    assert refusals(folder) == {}


PICKLE = pickle.dumps(make.Explosive())
TEXT_PICKLE = pickle.dumps(make.Explosive(), protocol=0)
RUNS_CODE = "it is a pickle, which runs code when it is loaded"
HARMFUL: dict[str, tuple[bytes | str, str]] = {
    "model.pkl": (PICKLE, RUNS_CODE),
    "config.json": (PICKLE, RUNS_CODE),
    "weights.safetensors": (pickle.dumps(list(range(99)), protocol=2), RUNS_CODE),
    "notes.txt": (TEXT_PICKLE, "it is a text pickle, which runs code when it is loaded"),
    "pytorch_model.bin": (
        make.torch_zip(),
        "it is a zip that holds a pickle (archive/data.pkl)",
    ),
    "renamed.npz": (make.torch_zip(), "it is a zip that holds a pickle (archive/data.pkl)"),
    "renamed.skops": (make.torch_zip(), "it is a zip that holds a pickle (archive/data.pkl)"),
    "raw.bin": (b"\0\1\2\3", ".bin files are loaded as pickles, which run code"),
    "model.joblib": (b"\0\1\2\3", ".joblib files are loaded as pickles, which run code"),
    "lambda.h5": (b"\x89HDF\r\n\x1a\n", "Keras files can hold Lambda layers, which run code"),
    "modeling_mine.py": ("import os", "it is a program"),
    "lib.so": (b"\x7fELF", "it is a program"),
    "objects.npy": (
        make.npy(np.array([{"a": 1}], dtype=object)),
        "its array holds Python objects, which are stored as a pickle",
    ),
    "objects.npz": (
        make.npz(a=np.arange(2), b=np.array([None], dtype=object)),
        "its array holds Python objects, which are stored as a pickle (b.npy)",
    ),
    "unknown.dat": (b"\0\1", "its format is not known to be unable to run code"),
    "no_suffix": ("text", "its format is not known to be unable to run code"),
    "SHA256SUMS": ("", "its name is one that nbprod export writes"),
    "cut.safetensors": (
        make.safetensors()[:-3],
        "it has 123 bytes where its header promises 126: it is not whole",
    ),
    "grown.safetensors": (
        make.safetensors() + b"PK",
        "it has 128 bytes where its header promises 126: it is not whole",
    ),
    "empty.safetensors": (
        b"",
        "it is too short for safetensors: the upload or copy was cut off",
    ),
    "page.safetensors": (
        "<!DOCTYPE html><html>Not found</html>",
        "it is not safetensors, or was cut off: its header does not fit in the file",
    ),
    "cut.npy": (
        make.npy(np.arange(9.0))[:-1],
        "it has 199 bytes where its header promises 200: it is not whole",
    ),
    "cut.onnx": (make.onnx()[:-1], "it is not an ONNX model, or was cut off"),
    "outside.onnx": (
        make.onnx("../../../etc/passwd"),
        "it reads its weights from '../../../etc/passwd', outside its folder",
    ),
    "cut.ubj": (
        make.xgboost_ubj()[:-1],
        "it is not an XGBoost model in UBJSON, or was cut off",
    ),
    "other.ubj": (
        b"{" + make.ubj_name("a") + b"Z" + b"}",
        "it is UBJSON, but no XGBoost model",
    ),
    "old.xgb": (b"binf\0\0", "it is not an XGBoost model in UBJSON, or was cut off"),
    "wrong.lgb": ("forest", "it is not a LightGBM model"),
    "wrong.model": (b"\xff\xfe\0", "it is not a sentencepiece or tiktoken vocabulary"),
    "wrong.gguf": (b"GGML", "it is not GGUF"),
    "broken.json": ('{"a": 1,\n  "b": }', "it is not valid JSON (line 2), or was cut off"),
    "deep.json": ("[" * 100_000, "it is JSON nested too deeply to be read"),
    "broken.jsonl": ('{"a": 1}\n{"a"', "line 2 is not valid JSON"),
    "latin1.txt": ("größe".encode("latin1"), "it is named like text, but is not UTF-8"),
    "binary.md": (b"a\0b", "it is named like text, but holds binary data"),
    "not.skops": (make.npz(a=np.arange(2)), "it is not a skops file"),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_a_file_that_could_run_code_or_is_not_what_it_is_called_is_refused(
    name: str, tmp_path: Path
) -> None:
    content, reason = HARMFUL[name]
    folder = make.write(tmp_path / "m", {"config.json": "{}", name: content})

    assert refusals(folder) == {name: reason}


@pytest.mark.parametrize(
    ("node", "named"),
    [
        (make.node("posix", "system", "TypeNode"), "posix.system"),
        (make.node("posixpath", "join", "FunctionNode"), "posixpath.join"),
        (make.node("builtins", "eval", "TypeNode"), "builtins.eval"),
        (make.node("numpy", "load", "FunctionNode"), "numpy.load"),
        (make.node("numpy", "memmap", "ConstructorFromReduceNode"), "numpy.memmap"),
        (make.node("numpy", "memmap", "ObjectNode"), "numpy.memmap"),
        (make.node("sklearn.base", "clone", "ObjectNode"), "sklearn.base.clone"),
        (make.node("sklearn.svm", "SVC", "ConstructorFromReduceNode"), "sklearn.svm.SVC"),
        (make.node("operator", "methodcaller", "OperatorFuncNode"), "operator.methodcaller"),
        (make.node("mine.steps", "Cleaner", "ObjectNode"), "mine.steps.Cleaner"),
    ],
)  # fmt: skip
def test_a_skops_file_may_build_only_what_is_trusted_or_declared(
    node: dict[str, object], named: str, tmp_path: Path
) -> None:
    folder = make.write(tmp_path / "m", {"pipeline.skops": make.skops(node)})

    assert refusals(folder) == {
        "pipeline.skops": f"it builds {named}, which nobody declared as trusted"
    }
    assert refusals(folder, trusted=(named,)) == {}


def test_a_skops_file_with_numpy_types_and_ufuncs_needs_no_declaration(tmp_path: Path) -> None:
    nodes = [
        make.node("numpy", "log1p", "FunctionNode"),
        make.node("numpy", "float64", "TypeNode"),
        make.node("numpy.random.mtrand", "RandomState", "RandomStateNode"),
        make.node("scipy.sparse._csr", "csr_matrix", "SparseMatrixNode"),
        make.node("collections", "defaultdict", "DefaultDictNode"),
    ]
    folder = make.write(tmp_path / "m", {"pipeline.skops": make.skops(*nodes)})

    assert refusals(folder) == {}


def test_links_are_followed_only_inside_the_folder(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    folder = make.write(tmp_path / "m", {"blobs/a.json": "{}"})
    (folder / "inside.json").symlink_to("blobs/a.json")
    (folder / "outside.json").symlink_to(secret)
    (folder / "dangling.json").symlink_to("nowhere.json")
    (folder / "whole").symlink_to("blobs")
    os.mkfifo(folder / "pipe.json")
    (folder / "two\nlines.json").write_text("{}")

    files, refused = files_of(folder)

    assert list(files) == ["blobs/a.json", "inside.json"]
    assert refused == {
        "'two\\nlines.json'": "its name holds control characters, backslashes "
        "or bytes that are not UTF-8",
        "dangling.json": "it is a link to nowhere.json, outside the model",
        "outside.json": f"it is a link to {secret}, outside the model",
        "pipe.json": "it is a device, pipe or socket",
        "whole": "it is a link to blobs, outside the model",
    }


def test_a_refusal_names_every_file_and_ends_in_commands_that_convert_it(tmp_path: Path) -> None:
    folder = make.write(
        tmp_path / "m",
        {
            "config.json": "{}",
            "pytorch_model.bin": make.torch_zip(),
            "training_args.bin": PICKLE,
            "model.pkl": PICKLE,
        },
    )

    with pytest.raises(ModelFormatError) as caught:
        check(folder)

    assert str(caught.value) == (
        f"{folder} cannot be taken in as a model.\n"
        "Only formats that cannot execute code may enter the registry:\n"
        "  model.pkl: it is a pickle, which runs code when it is loaded\n"
        "  pytorch_model.bin: it is a zip that holds a pickle (archive/data.pkl)\n"
        "  training_args.bin: it is a pickle, which runs code when it is loaded\n"
        "Convert or remove them in a copy, and take the copy:\n"
        f"cp -rL {folder} {folder}-safe\n"
        'python -c "import sys, joblib, skops.io; '
        'skops.io.dump(joblib.load(sys.argv[1]), sys.argv[2])" '
        f"{folder}-safe/model.pkl {folder}-safe/model.skops && rm {folder}-safe/model.pkl\n"
        'python -c "import sys, torch; from safetensors.torch import save_file; '
        "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
        "save_file({k: v.clone().contiguous() for k, v in w.items()}, sys.argv[2], "
        f"{{'format': 'pt'}})\" {folder}-safe/pytorch_model.bin "
        f"{folder}-safe/pytorch_model.safetensors && rm {folder}-safe/pytorch_model.bin\n"
        f"rm {folder}-safe/training_args.bin"
    )


def test_the_advice_can_be_pasted_and_makes_a_folder_that_may_enter(tmp_path: Path) -> None:
    import torch

    folder = make.write(
        tmp_path / "it's a model",
        {
            "config.json": "{}",
            "modeling.py": "",
            "objects.npy": make.npy(np.array(["a", None], dtype=object)),
        },
    )
    (tmp_path / "elsewhere.txt").write_text("a")
    (folder / "vocab.txt").symlink_to("../elsewhere.txt")
    shared = torch.ones(3)
    torch.save({"a": shared, "b": shared, "c": torch.ones(2, 3).T}, folder / "pytorch_model.bin")
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(ModelFormatError) as caught:
        check(folder)
    _, commands = str(caught.value).split("take the copy:\n")

    done = subprocess.run(
        ["bash", "-e"],
        input=commands,
        text=True,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
    )

    safe = tmp_path / "it's a model-safe"
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in safe.iterdir()) == [
        "config.json",
        "objects.npy",
        "pytorch_model.safetensors",
        "vocab.txt",
    ]
    assert refusals(safe) == {}
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda folder: None, "It does not exist."),
        (lambda folder: folder.write_text("x"), "It is a file."),
        (lambda folder: folder.mkdir(), "It is empty."),
    ],
)
def test_what_is_no_model_folder_is_said_plainly(
    prepare: Callable[[Path], object], reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    prepare(folder)

    with pytest.raises(ModelFolderError) as caught:
        files_of(folder)

    assert str(caught.value) == (
        f"{folder} is not a model folder.\n{reason}\nLook at what is there: ls -la {folder}"
    )


@given(st.integers(min_value=640, max_value=2_000_000))
def test_the_length_of_a_safetensors_header_is_never_taken_for_a_pickle(length: int) -> None:
    head = struct.pack("<Q", length) + b'{"__metadata__":{"format":"pt"},"bert.embeddings.weight"'

    assert not is_pickle(head)


@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    protocol=st.integers(2, 5),
)
def test_every_binary_pickle_is_recognised(value: object, protocol: int) -> None:
    assert is_pickle(pickle.dumps(value, protocol=protocol)[:64])


def test_real_files_of_the_libraries_at_hand_may_enter(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path / "m"
    config = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    kinds = {str(kind).removeprefix("torch."): kind for kind in (torch.bool, torch.int64,
             torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn)}  # fmt: skip
    save_file(
        {name: torch.zeros(3, 2, dtype=kind) for name, kind in kinds.items()},
        folder / "kinds.safetensors",
    )
    save_file({"scalar": torch.tensor(1.0), "none": torch.zeros(0, 3)}, folder / "s.safetensors")

    assert refusals(folder) == {}
    assert json.loads((folder / "config.json").read_text())["hidden_size"] == 8
