"""Open a saved classifier, whatever its kind, and ask it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nbprod.core.errors import MissingExtraError, UnreadableCardError
from nbprod.ml.baseline import TfidfBaseline
from nbprod.ml.models import find_model, read_card

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Predictor(Protocol):
    """A classifier that can be asked. Columns of its answers are in the order of `labels`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the classes."""
        ...

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return one row a text, one column a class; rows sum to 1."""
        ...


class TransformerPredictor:
    """A fine-tuned transformer on the best device at hand, in 32-bit floats.

    Comparing models wants the numbers that serving would give; 16 bits change the last digits.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        *,
        labels: tuple[str, ...],
        max_length: int | None,
        batch_size: int = 64,
    ) -> None:
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model
        torch.nn.Module.to(model, self.device)  # transformers' own `to` and `eval` have no types
        torch.nn.Module.train(model, mode=False)
        self.tokenizer = tokenizer
        self.labels = labels
        self.max_length = max_length
        self.batch_size = batch_size

    @classmethod
    def load(cls, folder: Path) -> "TransformerPredictor":
        """Open a folder that `training.save_classifier` wrote; nothing is downloaded."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        card = read_card(folder)
        return cls(
            AutoModelForSequenceClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            ),
            AutoTokenizer.from_pretrained(folder, local_files_only=True),
            labels=card.labels,
            max_length=card.max_length,
        )

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return one row a text; texts of like length share a batch, as padding costs time."""
        import torch

        encoded = self.tokenizer(
            list(texts), truncation=self.max_length is not None, max_length=self.max_length
        )["input_ids"]
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row]))
        result = np.zeros((len(texts), len(self.labels)))
        with torch.inference_mode():
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                batch = self.tokenizer.pad(
                    {"input_ids": [encoded[row] for row in rows]}, return_tensors="pt"
                ).to(self.device)
                logits = self.model(**batch).logits.float()
                result[rows] = torch.softmax(logits, dim=-1).cpu().numpy()
        return result


def open_predictor(reference: str) -> tuple[Predictor, Path]:
    """Return the classifier that `reference` names, and its folder.

    Raises:
        ModelNotFoundError: nothing is there.
        UnreadableCardError: what is there was not saved by nbprod, or its kind is not known.
    """
    folder = find_model(reference)
    if isinstance(folder, str):
        reason = "It is a hub id, and only classifiers that were trained here can be compared."
        raise UnreadableCardError(folder, reason)
    try:
        match read_card(folder).kind:
            case "tfidf":
                return TfidfBaseline.load(folder), folder
            case "transformers":
                return TransformerPredictor.load(folder), folder
            case other:
                raise UnreadableCardError(str(folder), f"Its kind {other!r} is not known.")
    except ImportError as error:
        raise MissingExtraError(error.name or "transformers") from error
