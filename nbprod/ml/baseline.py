"""The simple model that a fine-tune has to beat: TF-IDF words and logistic regression.

It is stored as numbers and text (safetensors and JSON), never pickled, so that it can be
promoted like any model. Loading puts the same numbers back into scikit-learn's own classes:
predictions are those of the fitted pipeline to the last bit.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nbprod.core.json import JSON
from nbprod.ml.features import word_features
from nbprod.ml.models import Card, read_card, write_card

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

WEIGHTS_FILE = "model.safetensors"
VOCABULARY_FILE = "vocabulary.json"


class TfidfBaseline:
    """Words in, probabilities of classes out."""

    def __init__(self, features: "TfidfVectorizer", classifier: "LogisticRegression") -> None:
        self.features = features
        self.classifier = classifier

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        longest_phrase: int = 1,
        strength: float = 10.0,
        seed: int = 0,
    ) -> "TfidfBaseline":
        """Learn from labelled texts.

        Args:
            texts: the training texts.
            labels: their classes.
            longest_phrase: 1 for words, 2 for pairs of words as well.
            strength: inverse of the regularisation (scikit-learn's C).
            seed: of the solver.
        """
        from sklearn.linear_model import LogisticRegression

        features = word_features(longest_phrase=longest_phrase)
        classifier = LogisticRegression(C=strength, max_iter=1000, random_state=seed)
        classifier.fit(features.fit_transform(texts), np.asarray(labels, dtype=object))
        return cls(features, classifier)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the classes in the order of the probabilities' columns."""
        return tuple(str(label) for label in self.classifier.classes_)

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """Return one row a text, one column a class."""
        result: np.ndarray = self.classifier.predict_proba(self.features.transform(texts))
        return result

    def strongest_words(self, count: int = 8) -> dict[str, list[str]]:
        """Return the words that speak loudest for each class."""
        words = self.features.get_feature_names_out()
        weights = self.classifier.coef_
        if len(weights) == 1:  # two classes share one row of weights
            weights = np.vstack([-weights, weights])
        return {
            label: [str(words[index]) for index in np.argsort(-row)[:count]]
            for label, row in zip(self.labels, weights, strict=True)
        }

    def save(self, folder: Path, *, facts: Mapping[str, JSON], training_ids: Iterable[str]) -> None:
        """Write weights, vocabulary and card into `folder`."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {
                "idf": self.features.idf_,
                "weights": np.ascontiguousarray(self.classifier.coef_),
                "intercept": self.classifier.intercept_,
            },
            folder / WEIGHTS_FILE,
        )
        vocabulary: JSON = {
            "longest_phrase": int(self.features.ngram_range[1]),
            "words": [str(word) for word in self.features.get_feature_names_out()],
        }
        text = json.dumps(vocabulary, ensure_ascii=False)
        (folder / VOCABULARY_FILE).write_text(text + "\n", encoding="utf-8")
        card = Card(kind="tfidf", labels=self.labels, max_length=None, facts=facts)
        write_card(folder, card, training_ids=training_ids)

    @classmethod
    def load(cls, folder: Path) -> "TfidfBaseline":
        """Rebuild the model from what `save` wrote."""
        from safetensors.numpy import load_file
        from sklearn.linear_model import LogisticRegression

        numbers = load_file(folder / WEIGHTS_FILE)
        stored = json.loads((folder / VOCABULARY_FILE).read_text(encoding="utf-8"))
        features = word_features(longest_phrase=stored["longest_phrase"])
        features.set_params(vocabulary={word: index for index, word in enumerate(stored["words"])})
        features.idf_ = numbers["idf"]
        classifier = LogisticRegression()
        classifier.classes_ = np.array(read_card(folder).labels, dtype=object)
        classifier.coef_ = numbers["weights"]
        classifier.intercept_ = numbers["intercept"]
        classifier.n_features_in_ = numbers["weights"].shape[1]
        return cls(features, classifier)
