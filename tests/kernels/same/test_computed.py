"""What a notebook computes with: event loops, threads, child processes, torch, Trainer."""

from ways import Kernels, Same, Way, reference

#: A cold kernel, asked to end, waits 14 s for the resource tracker, which ignores it.
LEAVE = """
    from multiprocessing import forkserver, resource_tracker
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()
"""
CONCURRENT = [
    """
    import asyncio, json, os, sys, threading, time
    async def later(number):
        await asyncio.sleep(0.01)
        return number * 2
    print(await asyncio.gather(later(1), later(2)))
    """,
    """
    finished = asyncio.Event()
    async def background():
        await asyncio.sleep(0.01)
        finished.set()
    task = asyncio.create_task(background())
    """,
    "await finished.wait(); print(task.done())",
    "asyncio.run(later(3))",
    """
    process = await asyncio.create_subprocess_shell("echo async; exit 5", stdout=-1)
    print((await process.communicate())[0], process.returncode)
    """,
    """
    local = threading.local()
    seen = []
    def work(number):
        local.number = number
        seen.append((threading.current_thread().name, local.number))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(sorted(seen), hasattr(local, "number"))
    """,
    """
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2, thread_name_prefix="pool") as pool:
        print(list(pool.map(lambda number: number ** 2, range(4))))
    """,
    """
    def fail():
        raise ValueError("in a thread")
    thread = threading.Thread(target=fail, name="failing"); thread.start(); thread.join()
    """,
    "%%writefile work.py\ndef square(number):\n    return number ** 2",
    """
    import multiprocessing, work
    def on_fork(number):
        return number + len(sys.argv[0])
    found = {}
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            found[method] = pool.map(work.square, range(4))
            if method == "fork":
                found["of __main__"] = pool.map(on_fork, [0]) == [len(sys.argv[0])]
        queue = context.SimpleQueue()
        child = context.Process(target=queue.put, args=("from a child",), name="child")
        child.start()
        found[method, "queue"] = queue.get()
        child.join()
        found[method, "exit"] = child.exitcode
    print(found, multiprocessing.get_start_method(), multiprocessing.active_children())
    """,
    """
    child = os.fork()
    if child == 0:
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """,
    """
    from multiprocessing import shared_memory
    memory = shared_memory.SharedMemory(create=True, size=16)
    memory.buf[:5] = b"hello"
    child = multiprocessing.get_context("spawn").Process(target=os.path.exists, args=("/",))
    child.start(); child.join()
    print(bytes(memory.buf[:5]), child.exitcode); memory.close(); memory.unlink()
    """,
    """
    import sqlite3
    with sqlite3.connect("x.db") as database:
        database.execute("create table t (a)"); database.execute("insert into t values (1)")
    print(sqlite3.connect("x.db").execute("select * from t").fetchall())
    database.close()
    """,
    LEAVE,
]


def test_event_loops_threads_and_child_processes_work_the_same(same: Same) -> None:
    executed = same(CONCURRENT)

    assert executed.text(0) == "[2, 4]\n"
    assert executed.text(2) == "True\n"
    assert executed.error(3)[0] == "RuntimeError"
    assert executed.text(4) == "b'async\\n' 5\n"
    assert executed.text(6) == "[0, 1, 4, 9]\n"
    assert "ValueError: in a thread" in executed.text(7, "stderr")
    squares = [0, 1, 4, 9]
    assert executed.text(9) == (
        f"{{'fork': {squares}, 'of __main__': True, ('fork', 'queue'): 'from a child', "
        f"('fork', 'exit'): 0, 'spawn': {squares}, ('spawn', 'queue'): 'from a child', "
        f"('spawn', 'exit'): 0, 'forkserver': {squares}, "
        "('forkserver', 'queue'): 'from a child', ('forkserver', 'exit'): 0} fork []\n"
    )
    assert executed.text(10) == "7\n"
    assert executed.text(11) == "b'hello' 0\n"
    assert executed.text(12) == "[(1,)]\n"


TORCH = [
    """
    import json, logging, os, sys
    import numpy as np, pandas as pd, torch, transformers
    print(torch.__version__, transformers.__version__, torch.get_default_dtype(),
          torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled(),
          torch.cuda.is_available(), torch.get_default_device(), torch.initial_seed() > 0,
          torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())
    torch.arange(4) / 3
    """,
    """
    # parallel regions: of OpenMP, of OpenBLAS, of torch's own pool
    torch.manual_seed(1)
    left = torch.rand(512, 512)
    product = left @ left
    generator = np.random.default_rng(1)
    right = generator.random((512, 512))
    print(float(product.sum()), float((right @ right).sum()))
    print(float(torch.sort(torch.rand(200_000)).values[1000]))
    torch.set_num_threads(1); print(torch.get_num_threads()); torch.set_num_threads(2)
    print(float((left @ left).sum()))
    """,
    """
    %%writefile rows.py
    import torch
    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 8
        def __getitem__(self, index):
            return torch.full((2,), float(index)), torch.utils.data.get_worker_info().id
    """,
    """
    from rows import Rows
    for method, workers in (("fork", 2), ("forkserver", 1)):
        loader = torch.utils.data.DataLoader(
            Rows(), batch_size=4, num_workers=workers, multiprocessing_context=method
        )
        print(method, [(batch.sum().item(), worker.tolist()) for batch, worker in loader])
    """,
    """
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
    import transformers.trainer
    from transformers.utils import is_in_notebook
    print(is_in_notebook(), transformers.trainer.DEFAULT_PROGRESS_CALLBACK.__name__)
    transformers.set_seed(3)
    config = BertConfig(
        vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=8,
    )
    model = BertForSequenceClassification(config)
    rows = [{"input_ids": torch.randint(0, 20, (8,)), "labels": row % 2} for row in range(16)]
    arguments = TrainingArguments(
        "trained", max_steps=4, per_device_train_batch_size=4, logging_steps=1, report_to=[],
        save_strategy="no", dataloader_num_workers=2, seed=3,
    )
    trainer = Trainer(model, arguments, train_dataset=rows)
    result = trainer.train()
    losses = [round(entry["loss"], 5) for entry in trainer.state.log_history if "loss" in entry]
    print(result.global_step, losses)
    """,
    """
    pd.DataFrame({"a": range(5), "b": list("vwxyz")}).to_parquet("x.parquet")
    pd.read_parquet("x.parquet").groupby("b").sum().T
    """,
    """
    model.save_pretrained("saved", safe_serialization=True)
    again = BertForSequenceClassification.from_pretrained("saved")
    print(all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters())))
    torch.save({"x": torch.ones(2)}, "x.pt"); print(torch.load("x.pt", weights_only=True))
    """,
    """
    def shown(logger):
        streams = [getattr(handler, "stream", None) for handler in logger.handlers]
        return [logger.level, logger.propagate, logger.disabled,
                [type(handler).__name__ for handler in logger.handlers],
                [getattr(stream, "name", None) for stream in streams]]
    names = ("", "transformers", "torch", "tornado", "matplotlib", "datasets", "asyncio")
    loggers = {name: shown(logging.getLogger(name)) for name in names}
    import warnings
    print(json.dumps(loggers | {"warnings": sorted(map(str, warnings.filters))}))
    transformers.utils.logging.get_logger("transformers.here").warning("transformers says")
    logging.getLogger("mine").warning("mine says")
    logging.warning("the root says")
    logging.getLogger("mine").warning("mine says again")
    """,
    """
    import random
    random.seed(5); np.random.seed(5); torch.manual_seed(5)
    print(random.random(), np.random.rand(), torch.rand(1).item())
    print(np.random.default_rng(5).random(), torch.nn.Linear(2, 2).weight.tolist())
    """,
    LEAVE,
]


def test_torch_trainer_and_compilers_work_the_same(same: Same) -> None:
    executed = same(TORCH)

    assert [executed.error(cell) for cell in range(len(TORCH))] == [("", "")] * len(TORCH)
    assert executed.text(3) == (
        "fork [(12.0, [0, 0, 0, 0]), (44.0, [1, 1, 1, 1])]\n"
        "forkserver [(12.0, [0, 0, 0, 0]), (44.0, [0, 0, 0, 0])]\n"
    )
    assert executed.text(4).startswith("True NotebookProgressCallback\n")
    assert "mine says again" in executed.text(7, "stderr")


COMPILE = """
    import os
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.path.abspath("inductor")  # of this run alone
    import torch
    @torch.compile
    def compiled(x):
        return torch.sin(x) ** 2 + torch.cos(x) ** 2
    print(round(float(compiled(torch.ones(8)).sum()), 4), torch._dynamo.utils.counters["inductor"])
"""


def test_torch_compile_builds_and_runs_what_it_built(kernels: Kernels) -> None:
    cold, warm = reference(kernels, [COMPILE], None), kernels.execute([COMPILE], Way.FORKED)

    assert warm == cold
    assert warm.text(0).startswith("8.0 ")
    assert any((kernels.folder / "inductor").rglob("*.so"))


RANDOM = """
    import json, multiprocessing, random, secrets, tempfile, uuid
    import numpy as np, torch
    print(json.dumps({
        "random": [random.random(), random.Random().random(), random.SystemRandom().random()],
        "numpy": [np.random.rand(), np.random.default_rng().random()],
        "entropy": np.random.SeedSequence().entropy,
        "torch": [torch.rand(1).item(), torch.randperm(50).tolist()],
        "seed": torch.initial_seed(),
        "layer": torch.nn.Linear(2, 2).weight.tolist(),
        "dropout": torch.nn.functional.dropout(torch.ones(64)).tolist(),
        "uuids": [str(uuid.uuid1()), str(uuid.uuid4())],
        "secrets": [secrets.token_hex(), multiprocessing.current_process().authkey.hex()],
        "file": tempfile.mktemp(),
    }))
"""


def test_no_two_kernels_draw_the_same_numbers(kernels: Kernels) -> None:
    ways = (Way.FORKED, Way.SPARE, Way.FORKED, Way.SPARE)

    drawn = [kernels.execute([RANDOM], way).facts(0) for way in ways]

    for name in drawn[0]:
        assert len({str(facts[name]) for facts in drawn}) == len(ways), name
