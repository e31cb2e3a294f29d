"""Make a BERT of two layers: real transformers code, without a real model's weight."""

from collections.abc import Sequence
from pathlib import Path


def save_tiny_bert(folder: Path, *, words: Sequence[str]) -> Path:
    """Write config, untrained weights and a whole-word tokenizer; return the folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,  # so small a model hardly starts from the usual 0.02
    )
    BertModel(config).save_pretrained(folder)
    return folder
