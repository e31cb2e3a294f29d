"""Small labelled texts of three subjects that words tell apart."""

import random

import pandas as pd

SUBJECTS = {
    "animal": "dog cat horse bird fish fur tail paw",
    "food": "bread soup cheese apple salt spice dinner meal",
    "tool": "hammer saw nail drill screw wrench blade handle",
}
FILLERS = ["a", "the", "of", "with", "large", "small", "old", "that", "some", "used", "for"]
WORDS = [*FILLERS, *" ".join(SUBJECTS.values()).split()]


def make_examples(rows: int, *, seed: int = 0) -> pd.DataFrame:
    """Return texts that share fillers and differ in the words of their subject."""
    generator = random.Random(seed)
    made = []
    for number in range(rows):
        subject = list(SUBJECTS)[number % len(SUBJECTS)]
        words = generator.choices(SUBJECTS[subject].split(), k=3)
        words += generator.choices(FILLERS, k=generator.randint(4, 14))
        generator.shuffle(words)
        made.append({"example_id": f"e{number}", "text": " ".join(words), "label": subject})
    return pd.DataFrame(made)
