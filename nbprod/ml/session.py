"""Start a notebook's session: seeds, quiet libraries, one look for all plots."""

import gc
import os
import random
import warnings

import numpy as np

from nbprod.core.errors import MissingExtraError
from nbprod.ml.style import apply_style


def start(*, seed: int) -> None:
    """Make the notebook repeatable and its outputs readable.

    Seeds Python, NumPy and torch; silences what libraries say to their developers; sets the
    style of plots. Call it first in every template.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns after every fork
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    random.seed(seed)
    np.random.seed(seed)  # the global generator: libraries draw from it
    try:
        import torch
        import transformers
    except ImportError as error:
        raise MissingExtraError(error.name or "torch") from error
    torch.manual_seed(seed)
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # Trainer gathers scalars from several GPUs and torch warns of it at every evaluation.
    warnings.filterwarnings("ignore", message="Was asked to gather along dimension 0")
    apply_style()
    # Trainer collects garbage when it begins, and would look at every object of every import: 0.3 s
    # each time. Those are here to stay.
    gc.collect()
    gc.freeze()
