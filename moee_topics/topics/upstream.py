"""The arguments of UMAP, HDBSCAN, CountVectorizer, c-TF-IDF and BERTopic that a recipe may hold, with their ranges.

Each of them reaches its class and changes what it does. What this package sets itself, or what would have no effect
because BERTopic is handed our own parts, is not here but in :data:`INSTEAD`, with what to use in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from moee_topics.schema import Section, section_types

Whole = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
VectorMetric = Literal[
    "cosine", "euclidean", "correlation", "manhattan", "l1", "l2", "chebyshev", "canberra", "braycurtis", "minkowski"
]
# Not "minkowski": hdbscan 0.8.44 gives Euclidean clusters for it, whatever p is.
TreeMetric = Literal["euclidean", "manhattan", "l1", "l2", "chebyshev", "canberra", "braycurtis"]
ClusterMethod = Literal["hdbscan", "sklearn_hdbscan", "kmeans", "fast_hdbscan", "evoc", "cuml_hdbscan"]
Reducer = Literal["umap", "pca", "none"]
STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


def compiled(pattern: str) -> str:
    """A token pattern as it is.

    Raises:
        ValueError: it does not compile, or has more than one group, of which scikit-learn would not know which to take.
    """
    try:
        groups = re.compile(pattern).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    if groups > 1:
        raise ValueError(
            f"{pattern!r} has {groups} groups, and one is the most. Write (?:…) for those that only group."
        )
    return pattern


def ascending(pair: list[int]) -> list[int]:
    """A range of word counts as it is.

    Raises:
        ValueError: it does not go upwards.
    """
    if pair[0] > pair[1]:
        raise ValueError(f"{pair} is to go from fewer words to more, such as [1, 2]")
    return pair


def different(words: list[str]) -> list[str]:
    """A vocabulary as it is.

    Raises:
        ValueError: a word stands twice.
    """
    if len(set(words)) < len(words):
        raise ValueError("a vocabulary holds every word once")
    return words


@with_config(STRICT)
class UmapArguments(TypedDict, total=False):
    """Of ``umap.UMAP``."""

    n_neighbors: Annotated[int, Field(ge=2)]
    n_components: Whole
    metric: VectorMetric
    metric_kwds: dict[Literal["p"], Positive]
    n_epochs: Whole | None
    learning_rate: Positive
    init: Literal["spectral", "random", "pca", "tswspectral"]
    min_dist: NotNegative
    spread: Positive
    low_memory: bool
    set_op_mix_ratio: Share
    local_connectivity: Annotated[float, Field(ge=1)]
    repulsion_strength: NotNegative
    negative_sample_rate: Whole
    angular_rp_forest: bool
    force_approximation_algorithm: bool
    densmap: bool
    dens_lambda: NotNegative
    dens_frac: Share
    dens_var_shift: NotNegative


@with_config(STRICT)
class HdbscanArguments(TypedDict, total=False):
    """Of ``hdbscan.HDBSCAN``."""

    min_cluster_size: Annotated[int, Field(ge=2)]
    min_samples: Whole | None
    cluster_selection_epsilon: NotNegative
    cluster_selection_persistence: NotNegative
    cluster_selection_epsilon_max: Positive
    cluster_selection_method: Literal["eom", "leaf"]
    max_cluster_size: Annotated[int, Field(ge=0)]
    allow_single_cluster: bool
    metric: TreeMetric
    alpha: Positive
    # "generic" is not among them: hdbscan 0.8.44 takes the float32 that UMAP gives only for trees.
    algorithm: Literal["best", "prims_kdtree", "prims_balltree", "boruvka_kdtree", "boruvka_balltree"]
    leaf_size: Whole
    approx_min_span_tree: bool
    core_dist_n_jobs: Whole | Literal[-1]
    match_reference_implementation: bool


@with_config(STRICT)
class VectorizerArguments(TypedDict, total=False):
    """Of scikit-learn's ``CountVectorizer``; ``min_df`` and ``max_df`` count topics."""

    ngram_range: Annotated[list[Whole], Field(min_length=2, max_length=2), AfterValidator(ascending)]
    min_df: Whole | Share
    max_df: Whole | Annotated[float, Field(gt=0, le=1)]  # 0 would leave no word
    max_features: Whole | None
    stop_words: str | list[str] | None
    token_pattern: Annotated[str, AfterValidator(compiled)]
    lowercase: bool
    strip_accents: Literal["ascii", "unicode"] | None
    analyzer: Literal["word", "char", "char_wb"]
    vocabulary: Annotated[list[str], Field(min_length=1), AfterValidator(different)]
    binary: bool


@with_config(STRICT)
class CtfidfArguments(TypedDict, total=False):
    """Of BERTopic's ``ClassTfidfTransformer``."""

    bm25_weighting: bool
    reduce_frequent_words: bool
    seed_words: list[str]
    seed_multiplier: Positive


@with_config(STRICT)
class BertopicArguments(TypedDict, total=False):
    """Of ``BERTopic`` itself."""

    language: Literal["multilingual", "english"]
    top_n_words: Whole
    calculate_probabilities: bool


_SEED = "seed sets it for all parts"
_UNSUPERVISED = "labels are not used to place documents"
_TEXT = "the documents are text already; corpus.encoding says how their files are read"
_TOPICS = {name: f"topics.{name} does that" for name in
           ("nr_topics", "seed_topic_list", "zeroshot_topic_list", "zeroshot_min_similarity")}  # fmt: skip
_PARTS = {f"{name}_model": f"the section {name} sets it up" for name in ("umap", "hdbscan", "vectorizer", "ctfidf")}

INSTEAD: Mapping[str, Mapping[str, str]] = {
    "umap": {
        "random_state": _SEED,
        "transform_seed": _SEED,
        "n_jobs": "with a seed UMAP uses one thread",
        "verbose": "progress is told anyway",
        "tqdm_kwds": "progress is told anyway",
        "unique": "copies of a text are placed as one",
        "a": "min_dist and spread set it",
        "b": "min_dist and spread set it",
        "output_metric": "topics are clusters in the plane of UMAP's default",
        "output_metric_kwds": "topics are clusters in the plane of UMAP's default",
        "output_dens": "it is not kept",
        "transform_queue_size": "new documents are placed by their neighbours, not by UMAP",
        "transform_mode": "clusters need positions",
        "disconnection_distance": "documents without a position cannot be clustered",
        "precomputed_knn": "a recipe holds no arrays",
        **dict.fromkeys(("target_n_neighbors", "target_metric", "target_metric_kwds", "target_weight"), _UNSUPERVISED),
    },
    "hdbscan": {
        "memory": "nothing is cached between fits",
        "gen_min_span_tree": "it is not kept",
        "prediction_data": "it is always kept",
        "branch_detection_data": "branches are not looked for",
        "min_topic_size": "min_cluster_size does that",
        "p": "HDBSCAN does not look at it; metric=l1, l2 or chebyshev is p of 1, 2 or infinity",
        "n_jobs": "core_dist_n_jobs does that",
    },
    "vectorizer": {
        **dict.fromkeys(("input", "encoding", "decode_error"), _TEXT),
        "tokenizer": "topics.tokenizer names one",
        "preprocessor": "a recipe holds no code; token_pattern says what a word is",
        "dtype": "words are counted with whole numbers",
        "n_gram_range": "ngram_range does that",
    },
    "ctfidf": {
        **dict.fromkeys(("norm", "use_idf", "smooth_idf", "sublinear_tf"), "c-TF-IDF does not use it"),
    },
    "bertopic": {
        **_TOPICS,
        **_PARTS,
        "min_topic_size": "hdbscan.min_cluster_size does that",
        "n_gram_range": "vectorizer.ngram_range does that",
        "low_memory": "umap.low_memory does that",
        "embedding_model": "the section encoder sets it up",
        "representation_model": "topics.representation does that",
        "verbose": "progress is told anyway",
    },
}
"""Arguments of upstream that are refused, by section, with the key that does the same or the reason."""


_TREE = {"min_cluster_size", "min_samples", "cluster_selection_method", "allow_single_cluster"}
_TREE |= {"cluster_selection_epsilon", "max_cluster_size"}
HDBSCAN_ARGUMENTS_OF: Mapping[ClusterMethod, set[str]] = {
    "hdbscan": set(HdbscanArguments.__annotations__),
    "sklearn_hdbscan": _TREE | {"metric", "alpha", "leaf_size"},
    "kmeans": set(),
    "fast_hdbscan": _TREE | {"cluster_selection_persistence"},
    "evoc": {"min_cluster_size", "min_samples"},
    "cuml_hdbscan": _TREE,
}
"""The arguments of the section hdbscan that reach each way to cluster."""


class UpstreamSections(Section):
    """The sections of a recipe that hold arguments of upstream's classes."""

    umap: UmapArguments = Field(default_factory=UmapArguments)
    hdbscan: HdbscanArguments = Field(default_factory=HdbscanArguments)
    vectorizer: VectorizerArguments = Field(default_factory=VectorizerArguments)
    ctfidf: CtfidfArguments = Field(default_factory=CtfidfArguments)
    bertopic: BertopicArguments = Field(default_factory=BertopicArguments)

    @classmethod
    def instead_of(cls, key: str) -> str:
        """What to use in the place of an argument that is not taken."""
        section, _, name = key.partition(".")
        return INSTEAD.get(section, {}).get(name, "")


@with_config(STRICT)
class KeybertArguments(TypedDict, total=False):
    """Of BERTopic's ``KeyBERTInspired``."""

    top_n_words: Whole
    nr_repr_docs: Whole
    nr_samples: Whole
    nr_candidate_words: Whole
    random_state: int


@with_config(STRICT)
class MmrArguments(TypedDict, total=False):
    """Of BERTopic's ``MaximalMarginalRelevance``."""

    diversity: Share
    top_n_words: Whole


@with_config(STRICT)
class PosArguments(TypedDict, total=False):
    """Of BERTopic's ``PartOfSpeech``; a pattern is a list of spaCy's tokens, such as [{POS: ADJ}, {POS: NOUN}]."""

    model: str
    top_n_words: Whole
    pos_patterns: Annotated[list[list[dict[str, Any]]], Field(min_length=1)]


@with_config(STRICT)
class NoArguments(TypedDict, total=False):
    """Of c-TF-IDF as it is."""


class _LlmArguments(TypedDict, total=False):
    provider: Literal["litellm", "openai", "text_generation"]
    model: str
    prompt: str | None
    nr_docs: Whole
    diversity: Share | None


@with_config(STRICT)
class LitellmArguments(_LlmArguments, total=False):
    """Of BERTopic's ``LiteLLM``."""

    generator_kwargs: dict[str, Any]
    delay_in_seconds: NotNegative | None
    exponential_backoff: bool


@with_config(STRICT)
class OpenaiArguments(LitellmArguments, total=False):
    """Of BERTopic's ``OpenAI``, and the address of a server that speaks its protocol."""

    base_url: str | None
    system_prompt: str | None
    doc_length: Whole | None
    tokenizer: Literal["char", "whitespace", "vectorizer"] | None


@with_config(STRICT)
class TextGenerationArguments(_LlmArguments, total=False):
    """Of BERTopic's ``TextGeneration``."""

    pipeline_kwargs: dict[str, Any]
    random_state: int
    doc_length: Whole | None
    tokenizer: Literal["char", "whitespace", "vectorizer"] | None


class RepresentationSections(Section):
    """Arguments of the ways to put topics into words, by name; those of language models by their provider."""

    keybert: KeybertArguments = Field(default_factory=KeybertArguments)
    mmr: MmrArguments = Field(default_factory=MmrArguments)
    pos: PosArguments = Field(default_factory=PosArguments)
    ctfidf: NoArguments = Field(default_factory=NoArguments)
    litellm: LitellmArguments = Field(default_factory=LitellmArguments)
    openai: OpenaiArguments = Field(default_factory=OpenaiArguments)
    text_generation: TextGenerationArguments = Field(default_factory=TextGenerationArguments)

    @classmethod
    def instead_of(cls, key: str) -> str:
        """What may stand in the place of an argument that is not taken."""
        section, _, _ = key.partition(".")
        names = list(section_types(section_types(cls).get(section)))
        return f"{section} takes {', '.join(names)}" if names else f"{section} takes no arguments"
