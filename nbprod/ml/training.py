"""What the fine-tuning notebook hands to transformers' Trainer.

The notebook calls Trainer itself, in the open; here is what it would otherwise repeat: loading
with a new head, freezing, two learning rates, numbers of 16 bits where they are fast, progress.

The recipe was measured, not guessed: on small data an encoder wants about 3e-4 while the fresh
pooler and head want 5e-3; with one rate for both, accuracy falls by a tenth.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nbprod.core.errors import MissingExtraError, ModelNotFoundError
from nbprod.core.json import JSON
from nbprod.ml.models import Card, find_model, write_card
from nbprod.notebook.kernel import progress

try:
    import torch
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise MissingExtraError(error.name or "torch") from error

if TYPE_CHECKING:
    from transformers import EvalPrediction, PreTrainedModel, PreTrainedTokenizerBase


def load_with_new_head(
    reference: str, labels: Sequence[str]
) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Return the pretrained model with a fresh head for `labels`, and its tokenizer.

    Only a hub id may use the network; a folder or a package's weights never do.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    place = find_model(reference)
    is_local = isinstance(place, Path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=is_local)
        model = AutoModelForSequenceClassification.from_pretrained(
            place,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={label: index for index, label in enumerate(labels)},
            ignore_mismatched_sizes=True,  # a classifier of other classes: its head is replaced
            use_safetensors=True,
            local_files_only=is_local,
            dtype=torch.float32,  # 16-bit master weights would lose small updates
        )
    except OSError as error:  # what transformers raises for all that is missing or unreachable
        reason = str(error).strip().partition("\n")[0]
        raise ModelNotFoundError(
            reference,
            reason if reason.endswith(".") else f"{reason}.",
            "Name a folder with weights: nbprod run finetune_text_classifier -p model=FOLDER",
        ) from error
    return model, tokenizer


def freeze(model: "PreTrainedModel", *, embeddings: bool, layers: int) -> float:
    """Exclude the embeddings and the lowest encoder layers from training.

    Returns:
        The share of parameters that still learn.
    """
    base = model.base_model
    if embeddings:
        model.get_input_embeddings().requires_grad_(False)
        if hasattr(base, "embeddings"):  # positions and norm beside the words
            base.embeddings.requires_grad_(False)
    for layer in list(_encoder_layers(model))[:layers]:
        layer.requires_grad_(False)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, learns in sizes if learns) / sum(size for size, _ in sizes)


def _encoder_layers(model: "PreTrainedModel") -> Iterable["torch.nn.Module"]:
    """Return the stack of equal layers, whatever an architecture calls it."""
    count = model.config.num_hidden_layers
    stacks = (
        module
        for module in model.base_model.modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count
    )
    return next(stacks, ())


def parameter_groups(
    model: "PreTrainedModel", *, encoder_rate: float, head_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Return the optimizer's groups: encoder and head apart, biases and norms without decay.

    The pooler counts as head: it was trained for another purpose, or not at all.
    """
    prefix = f"{model.base_model_prefix}."
    groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_head = not name.startswith(prefix) or ".pooler." in name
            groups.setdefault((is_head, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": head_rate if is_head else encoder_rate,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (is_head, decays), parameters in groups.items()
    ]


def is_bf16_fast() -> bool:
    """Say whether this device computes in bfloat16 faster than in 32 bits.

    CUDA from compute capability 8.0; CPUs with AVX-512 BF16 or AMX. Others emulate it slowly.
    """
    if torch.cuda.is_available():
        return torch.cuda.get_device_capability() >= (8, 0)
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class TokenisedTexts(torch.utils.data.Dataset[dict[str, Any]]):
    """Texts as token ids, made once; the collator pads each batch to its own longest text."""

    def __init__(
        self,
        examples: pd.DataFrame,
        tokenizer: "PreTrainedTokenizerBase",
        *,
        labels: Sequence[str],
        max_length: int,
    ) -> None:
        numbers = {label: index for index, label in enumerate(labels)}
        encoded = tokenizer(examples["text"].tolist(), truncation=True, max_length=max_length)
        self.token_ids: list[list[int]] = encoded["input_ids"]
        self.labels = [numbers[label] for label in examples["label"]]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {"input_ids": self.token_ids[row], "labels": self.labels[row]}


def token_counts(texts: pd.Series, tokenizer: "PreTrainedTokenizerBase") -> pd.Series:
    """Return how many tokens each text has before anything is cut."""
    encoded = tokenizer(texts.tolist(), truncation=False, verbose=False)["input_ids"]
    return pd.Series([len(tokens) for tokens in encoded], index=texts.index)


def scores(prediction: "EvalPrediction") -> dict[str, float]:
    """Return accuracy and macro-F1: Trainer's `compute_metrics`."""
    from sklearn.metrics import accuracy_score, f1_score

    predicted = np.asarray(prediction.predictions).argmax(axis=-1)
    return {
        "accuracy": float(accuracy_score(prediction.label_ids, predicted)),
        "macro_f1": float(
            f1_score(prediction.label_ids, predicted, average="macro", zero_division=0)
        ),
    }


class ReportProgress(TrainerCallback):
    """Tell whoever watches the run how far training is."""

    def __init__(self, *, tell: Callable[..., None] = progress) -> None:
        self.tell = tell
        self.started = 0.0
        self.latest: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: object,
    ) -> None:
        """Remember the newest numbers: they are told with the next step."""
        wanted = {"loss", "eval_loss", "eval_accuracy", "eval_macro_f1"}
        self.latest |= {name: value for name, value in (logs or {}).items() if name in wanted}

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Tell the step; `progress` itself drops what comes too fast."""
        self.tell(
            step=state.global_step,
            steps=state.max_steps,
            epoch=round(float(state.epoch or 0), 3),
            seconds=round(time.monotonic() - self.started, 1),
            **{name: round(float(value), 4) for name, value in self.latest.items()},
        )


class CheckAtTheEnd(TrainerCallback):
    """Score and keep the last state too, where the steps are no multiple of the checks."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> TrainerControl:
        """Ask Trainer for a check and a checkpoint at the last step."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True
        return control


def learning_curve(history: Sequence[Mapping[str, float]]) -> pd.DataFrame:
    """Return Trainer's log as a table: step, loss, validation loss, accuracy and macro-F1."""
    names = {
        "loss": "loss",
        "eval_loss": "validation_loss",
        "eval_accuracy": "accuracy",
        "eval_macro_f1": "macro_f1",
    }
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        row = rows.setdefault(int(entry["step"]), {})
        row |= {names[name]: float(value) for name, value in entry.items() if name in names}
    table = pd.DataFrame(
        [{"step": step, **row} for step, row in sorted(rows.items()) if row],
        columns=["step", *names.values()],
    )
    return table.astype({"step": int})


def best_check(curve: pd.DataFrame) -> pd.Series:
    """Return the row of the check that Trainer kept: the first with the highest macro-F1."""
    checks = curve.dropna(subset=["macro_f1"])
    best: pd.Series = checks.iloc[int(checks["macro_f1"].to_numpy().argmax())]
    return best


def save_classifier(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    labels: Sequence[str],
    max_length: int,
    facts: Mapping[str, JSON],
    training_ids: Iterable[str],
) -> Path:
    """Write weights as safetensors, the tokenizer, the card and the training record.

    No optimizer state, no training_args.bin: nothing in the folder can execute code, and all
    of it follows from the data, the settings and the libraries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.name_or_path = ""  # the path of the weights it began with: differs by machine
    model.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)  # safetensors makes them readable to their owner only
    tokenizer.save_pretrained(folder)
    card = Card(kind="transformers", labels=tuple(labels), max_length=max_length, facts=facts)
    write_card(folder, card, training_ids=training_ids)
    return folder
