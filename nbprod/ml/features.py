"""The words of a text as sparse features: one definition for the baseline and the checks."""

from typing import TYPE_CHECKING

from nbprod.core.errors import MissingExtraError

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


def word_features(
    *, longest_phrase: int = 1, stop_words: str | None = None, at_least_in: int = 1
) -> "TfidfVectorizer":
    """Return an unfitted TF-IDF of words and, with `longest_phrase` above 1, phrases.

    Counts are damped (1 + log), as one repeated word should not outweigh all others.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtraError("scikit-learn") from error
    return TfidfVectorizer(
        ngram_range=(1, longest_phrase),
        stop_words=stop_words,
        min_df=at_least_in,
        sublinear_tf=True,
        strip_accents="unicode",
    )
