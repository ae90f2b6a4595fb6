"""What decides a topic model besides documents and vectors, checked against upstream's own signatures.

Nothing here loads BERTopic until a keyword argument has to be looked up.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, cast

from moee_topics.errors import InputError, MissingExtraError

Strategy = Literal["embeddings", "c-tf-idf", "distributions", "probabilities"]
STRATEGIES: tuple[Strategy, ...] = ("embeddings", "c-tf-idf", "distributions", "probabilities")

Representation = str | Mapping[str, Any]
"""A name such as "keybert", or one name with its keyword arguments: {"mmr": {"diversity": 0.3}}."""

REPRESENTATIONS = ("keybert", "mmr", "pos", "ctfidf", "llm")

UMAP_DEFAULTS: Mapping[str, Any] = {"n_neighbors": 15, "n_components": 5, "min_dist": 0.0, "metric": "cosine"}
HDBSCAN_DEFAULTS: Mapping[str, Any] = {
    "min_cluster_size": 15,
    "metric": "euclidean",
    "cluster_selection_method": "eom",
    "prediction_data": True,
}
VECTORIZER_DEFAULTS: Mapping[str, Any] = {"stop_words": "english"}
OWNED_BY_FIT = (
    "embedding_model",
    "umap_model",
    "hdbscan_model",
    "vectorizer_model",
    "ctfidf_model",
    "representation_model",
    "seed_topic_list",
    "zeroshot_topic_list",
    "zeroshot_min_similarity",
    "nr_topics",
)


@dataclass(frozen=True)
class OutlierReduction:
    """How documents without a topic are given one.

    Attributes:
        strategy: "embeddings" (nearest topic by vector), "c-tf-idf" (by words), "distributions" (by the words of
            moving windows) or "probabilities" (HDBSCAN's; needs bertopic={"calculate_probabilities": True}).
        target_share: the share of outliers to leave, 0 to 1; the surest documents are given a topic first.
        threshold: where there is no target: the least similarity or probability of a document that gets a topic.
    """

    strategy: Strategy = "embeddings"
    target_share: float | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        check_choice("outlier strategy", self.strategy, STRATEGIES)
        if self.target_share is not None and not 0.0 <= self.target_share <= 1.0:
            raise InputError(f"The target share of outliers is a number from 0 to 1, got {self.target_share!r}.")


@dataclass(frozen=True)
class TopicSettings:
    """Everything that decides a topic model besides documents, vectors and backend; plain data that saves as JSON.

    The defaults are the published recipe. Each mapping holds keyword arguments of the upstream class it is named after
    and is laid over the defaults.

    Attributes:
        seed: seeds UMAP, the document map and the representations.
        umap: of ``umap.UMAP``.
        hdbscan: of ``hdbscan.HDBSCAN``.
        vectorizer: of scikit-learn's ``CountVectorizer``; ``stop_words`` also takes "auto" (the words that more than
            a quarter of the documents use) or the name of a language that spaCy knows.
        ctfidf: of BERTopic's ``ClassTfidfTransformer``.
        bertopic: of ``BERTopic`` itself, such as ``top_n_words``.
        representation: how topics are put into words, the first one mainly and the others beside it.
        seed_topic_list: guided topics, each a list of words.
        zeroshot_topic_list: topics known by name beforehand.
        zeroshot_min_similarity: the least cosine of a document and the name of the topic it goes to.
        nr_topics: merges topics until so many are left, outliers counted as one, or "auto".
        outliers: gives outliers a topic after the fit.

    Raises:
        InputError: an argument that upstream does not know, or a name that does not exist.
    """

    seed: int = 42
    umap: Mapping[str, Any] = field(default_factory=dict)
    hdbscan: Mapping[str, Any] = field(default_factory=dict)
    vectorizer: Mapping[str, Any] = field(default_factory=dict)
    ctfidf: Mapping[str, Any] = field(default_factory=dict)
    bertopic: Mapping[str, Any] = field(default_factory=dict)
    representation: Representation | Sequence[Representation] = "keybert"
    seed_topic_list: Sequence[Sequence[str]] | None = None
    zeroshot_topic_list: Sequence[str] | None = None
    zeroshot_min_similarity: float = 0.7
    nr_topics: int | Literal["auto"] | None = None
    outliers: OutlierReduction | None = None

    def __post_init__(self) -> None:
        representations(self)
        _check_nr_topics(self.nr_topics)
        _check_lists(self)

    @property
    def needs_words(self) -> bool:
        """Whether words or topic names must be embedded, so that a backend is needed."""
        named = {name for name, _ in representations(self)}
        return bool(named & {"keybert", "mmr"} or self.seed_topic_list or self.zeroshot_topic_list)

    def to_json(self) -> dict[str, Any]:
        """Plain data that :meth:`from_json` reads; a tuple comes back as a list."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TopicSettings:
        """Reads what :meth:`to_json` gave.

        Raises:
            InputError: a key that is not a setting.
        """
        check_names("topic settings", data, [item.name for item in fields(cls)])
        outliers = data.get("outliers")
        return cls(**{**data, "outliers": OutlierReduction(**outliers) if outliers else None})


def representations(settings: TopicSettings) -> list[tuple[str, dict[str, Any]]]:
    """(name, keyword arguments) of every representation, in the order given.

    Raises:
        InputError: a name that does not exist, or one given twice.
    """
    given = settings.representation
    items = [given] if isinstance(given, str | Mapping) else list(given)
    pairs = [_representation(item) for item in items]
    names = [name for name, _ in pairs]
    if not names or len(set(names)) < len(names):
        raise InputError(f"representation takes different names, at least one; got {names}.")
    return pairs


def _representation(item: Representation) -> tuple[str, dict[str, Any]]:
    options: Mapping[str, Any] = {item: {}} if isinstance(item, str) else item
    for name in options:
        check_choice("representation", name, REPRESENTATIONS)
    if len(options) != 1:
        raise InputError(f"A representation is one name with its arguments, got {sorted(options)}; use a list.")
    ((name, arguments),) = options.items()
    return name, dict(arguments or {})


def _check_nr_topics(nr_topics: int | str | None) -> None:
    good = nr_topics is None or nr_topics == "auto" or (type(nr_topics) is int and nr_topics >= 2)
    if not good:
        raise InputError(
            f'nr_topics is "auto" or a whole number from 2 (the outliers count as one topic), got {nr_topics!r}.'
        )


def _check_lists(settings: TopicSettings) -> None:
    seeds = settings.seed_topic_list
    if seeds is not None and (not seeds or any(isinstance(words, str) or not words for words in seeds)):
        raise InputError("seed_topic_list is a list of topics, each a list of words, such as [[space, nasa], [god]].")
    names = settings.zeroshot_topic_list
    if names is not None and (isinstance(names, str) or not names):
        raise InputError("zeroshot_topic_list is a list of topic names, at least one.")


def check_choice(what: str, given: str, known: Sequence[str]) -> None:
    """Refuses a name that is not one of the known, and says which is nearest."""
    if given not in known:
        raise InputError(f"There is no {what} {given!r}{nearest(given, known)} Known: {', '.join(known)}.")


def check_names(what: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuses keys that are not known, and says which is nearest."""
    for name in given:
        if name not in known:
            raise InputError(f"{what} takes no argument {name!r}{nearest(name, known)}")


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of an error message that names the nearest known name, where one is near."""
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    return f"; the nearest known is {close[0]!r}." if close else "."


def check_arguments(function: Callable[..., Any], given: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Refuses keyword arguments that an upstream class or function does not take.

    Args:
        function: the class or function, asked for its own signature.
        given: the keyword arguments.
        but: arguments of its signature that this package sets itself.
    """
    known = [name for name in inspect.signature(function).parameters if name not in ("self", *but)]
    check_names(getattr(function, "__name__", str(function)), given, known)


def stop_words(vectorizer: Mapping[str, Any], documents: Sequence[str]) -> Any:
    """The stop words a vectorizer gets: upstream's own values as they are, "auto" and languages as sorted lists."""
    given = vectorizer.get("stop_words")
    if given == "auto":
        return frequent_words(documents)
    if isinstance(given, str) and given != "english":
        return _stop_words_of(given)
    return sorted(given) if isinstance(given, set | frozenset | tuple) else given


def frequent_words(documents: Sequence[str], share: float = 0.25) -> list[str]:
    """The words that more than a share of the documents use, in any language that is written with spaces."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True)
    used = counter.fit_transform(documents).sum(axis=0).A1
    words = counter.get_feature_names_out()
    return [str(word) for word, count in zip(words, used, strict=True) if count > share * len(documents)]


def _stop_words_of(language: str) -> list[str]:
    try:
        from spacy.util import get_lang_class
    except ImportError as error:
        raise MissingExtraError("spacy", "spacy") from error
    try:
        words = get_lang_class(language).Defaults.stop_words
    except ImportError as error:
        raise InputError(
            f'stop_words={language!r} is neither "english", "auto" nor a language code of spaCy such as "de". '
            "A list of words works too."
        ) from error
    return sorted(cast("set[str]", words))
