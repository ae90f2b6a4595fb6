"""What can be said of a topic model: the recipe's section ``topics``, and with upstream's arguments a whole fit.

Nothing here loads BERTopic until a keyword argument has to be looked up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, TypeAdapter, ValidationError

from moee_topics.defaults import SEED
from moee_topics.errors import InputError, RecipeError
from moee_topics.messages import did_you_mean, shortened
from moee_topics.schema import build
from moee_topics.topics.upstream import ClusterMethod, Reducer, RepresentationSections, UpstreamSections
from moee_topics.topics.upstream_faults import HasUpstream, faults_of_cluster, faults_together

Strategy = Literal["embeddings", "c-tf-idf", "distributions", "probabilities"]
Tokenizer = Literal["jieba", "sudachi", "pythainlp"]
Arguments = Mapping[str, Any]

Representation = str | Mapping[str, Any]
"""A name such as "keybert", or one name with its keyword arguments: {"mmr": {"diversity": 0.3}}."""

REPRESENTATIONS = ("keybert", "mmr", "pos", "ctfidf", "llm")
LLM_PROVIDERS = ("litellm", "openai", "text_generation")

UMAP_DEFAULTS: Arguments = {"n_neighbors": 15, "n_components": 5, "min_dist": 0.0, "metric": "cosine"}
TOP_N_WORDS = 10  # of BERTopic and of each representation
WORDS_TO_CHOOSE_FROM = 30  # bertopic 0.17.4 hands a representation so many words at least

HDBSCAN_DEFAULTS: Arguments = {
    "min_cluster_size": 15,
    "metric": "euclidean",
    "cluster_selection_method": "eom",
    "prediction_data": True,  # bertopic.calculate_probabilities asks for it afterwards
}


@dataclass(frozen=True)
class OutlierReduction:
    """How documents without a topic are given one.

    Attributes:
        strategy: "embeddings" (nearest topic by vector), "c-tf-idf" (by words), "distributions" (by the words of
            moving windows) or "probabilities" (HDBSCAN's; needs bertopic={"calculate_probabilities": True}).
        target_share: the share of outliers to leave; the surest documents are given a topic first.
        threshold: where there is no target: the least similarity or probability of a document that gets a topic.
    """

    strategy: Strategy = "embeddings"
    target_share: Annotated[float, Field(ge=0, le=1)] | None = None
    threshold: float = 0.0

    def __post_init__(self) -> None:
        check_choice("outlier strategy", self.strategy, get_args(Strategy))
        if self.target_share is not None and not 0.0 <= self.target_share <= 1.0:
            raise InputError(f"The target share of outliers is a number from 0 to 1, got {self.target_share!r}.")


@dataclass(frozen=True)
class TopicSettings:
    """Words of topics, what is done with topics after the clustering, and what is worked out from them.

    Attributes:
        stop_words: words that describe no topic: a list, "english", the code of a language that spaCy knows ("de"), or
            "auto" (the words that more than a quarter of the documents use).
        tokenizer: cuts the words of languages without spaces: "jieba" (Chinese), "sudachi" (Japanese) or "pythainlp"
            (Thai), each an extra of this package.
        representation: how topics are put into words: "ctfidf", "keybert", "mmr", "pos" or "llm", by its name, with
            arguments ({mmr: {diversity: 0.3}}), or several of these, the first one mainly and the others beside it.
        nr_topics: merges topics until so many are left, outliers counted as one, or "auto".
        outliers: gives outliers a topic after the fit.
        seed_topic_list: guided topics, each a list of words.
        zeroshot_topic_list: topics known by name beforehand.
        zeroshot_min_similarity: the least cosine of a document and the name of the topic it goes to.
        hierarchy: works out how topics join into larger ones.
        over_time: works out how often topics come up over time, where the corpus has times.
        time_bins: in so many stretches of time.
        per_class: works out how often topics come up in each class, where the corpus has labels.
        experts: works out which experts fire for which topic, where the model has routers.

    Raises:
        InputError: a name that does not exist, or a list of another shape.
    """

    stop_words: str | Sequence[str] | None = "english"
    tokenizer: Tokenizer | None = None
    representation: Representation | Sequence[Representation] = "keybert"
    nr_topics: Annotated[int, Field(ge=2)] | Literal["auto"] | None = None
    outliers: OutlierReduction | None = None
    seed_topic_list: Sequence[Sequence[str]] | None = None
    zeroshot_topic_list: Sequence[str] | None = None
    zeroshot_min_similarity: Annotated[float, Field(ge=0, le=1)] = 0.7
    hierarchy: bool = True
    over_time: bool = True
    time_bins: Annotated[int, Field(ge=2)] = 20
    per_class: bool = True
    experts: bool = True

    def __post_init__(self) -> None:
        faults, count = [], self.nr_topics
        try:
            representations(self)
            if self.tokenizer is not None:
                check_choice("tokenizer", self.tokenizer, get_args(Tokenizer))
        except InputError as error:
            faults.append(str(error))
        if count is not None and count != "auto" and not (type(count) is int and count >= 2):
            faults.append(
                f'nr_topics is "auto" or a whole number from 2 (the outliers count as one topic), got {count!r}.'
            )
        seeds, names = self.seed_topic_list, self.zeroshot_topic_list
        if seeds is not None and (not seeds or any(isinstance(words, str) or not words for words in seeds)):
            faults.append("seed_topic_list is a list of topics, each a list of words, such as [[space, nasa], [god]].")
        if names is not None and (isinstance(names, str) or not names):
            faults.append("zeroshot_topic_list is a list of topic names, at least one.")
        if faults:
            raise InputError(" ".join(faults))

    @property
    def needs_words(self) -> bool:
        """Whether words or topic names must be embedded, so that a backend is needed."""
        names = {name for name, _ in representations(self)}
        return bool(names & {"keybert", "mmr"} or self.seed_topic_list or self.zeroshot_topic_list)


@dataclass(frozen=True)
class ClusterSettings:
    """How documents are clustered, and what their vectors are brought to before.

    Attributes:
        method: the package "hdbscan", HDBSCAN of scikit-learn, of fast-hdbscan (extra ``fast``) or of cuML (on a GPU),
            "kmeans", or "evoc" (extra ``fast``), each with the arguments of the section hdbscan that it knows.
        reducer: "umap", "pca" (as many components as UMAP would give), or "none", as "evoc" reduces by itself.
        clusters: how many; for "kmeans", which cannot find that out.
    """

    method: ClusterMethod = "hdbscan"
    reducer: Reducer = "umap"
    clusters: Annotated[int, Field(ge=2)] | None = None


@dataclass(frozen=True)
class LargeSettings:
    """From which size on a corpus is large: its vectors are reduced, and its topics found in a sample.

    Attributes:
        documents: a corpus of more than so many is large; 0 for never.
        sample: so many of its documents go through UMAP and HDBSCAN; each other one gets the topic that its nearest of
            them vote for.
    """

    documents: Annotated[int, Field(ge=0)] = 100_000
    sample: Annotated[int, Field(ge=4)] = 50_000

    def holds(self, documents: int) -> bool:
        """Whether so many documents are a large corpus."""
        return 0 < self.documents < documents

    def samples(self, documents: int) -> bool:
        """Whether the topics of so many documents are found in a sample."""
        return self.holds(documents) and self.sample < documents


@dataclass(frozen=True)
class FitSettings(TopicSettings):
    """Everything that decides a topic model besides documents, vectors and backend; plain data that saves as JSON.

    The defaults are the published recipe. Each mapping holds keyword arguments of the upstream class it is named after
    (:mod:`moee_topics.topics.upstream`) and is laid over the defaults.

    Attributes:
        umap: such as ``n_neighbors``.
        hdbscan: such as ``min_cluster_size``.
        vectorizer: such as ``ngram_range``; its ``stop_words`` go before those of the topics.
        ctfidf: such as ``reduce_frequent_words``.
        bertopic: such as ``top_n_words``.
        seed: seeds UMAP, the document map and the representations.
        cluster: how documents are clustered.
        large: from which size on topics are found in a sample.
    """

    umap: Arguments = field(default_factory=dict)
    hdbscan: Arguments = field(default_factory=dict)
    vectorizer: Arguments = field(default_factory=dict)
    ctfidf: Arguments = field(default_factory=dict)
    bertopic: Arguments = field(default_factory=dict)
    seed: int = SEED
    cluster: ClusterSettings = ClusterSettings()
    large: LargeSettings = LargeSettings()

    def to_json(self) -> dict[str, Any]:
        """Plain data that :meth:`from_json` reads; a tuple comes back as a list."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FitSettings:
        """Reads what :meth:`to_json` gave.

        Raises:
            InputError: a key that is not a setting, or a value of another type.
        """
        check_names("a topic model", data, [item.name for item in fields(cls)])
        try:
            return TypeAdapter(cls).validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise InputError(f"The setting {place} of a topic model is not right: {fault['msg']}.") from error


@dataclass(frozen=True)
class StabilitySettings:
    """How many more fits say how stable the topics are; none by default.

    Attributes:
        seeds: fits of all documents with other seeds.
        bootstraps: fits of bootstrap samples of the documents.
    """

    seeds: Annotated[int, Field(ge=0)] = 0
    bootstraps: Annotated[int, Field(ge=0)] = 0

    @property
    def fits(self) -> int:
        """How many in all."""
        return self.seeds + self.bootstraps


def representations(settings: TopicSettings) -> list[tuple[str, dict[str, Any]]]:
    """(name, keyword arguments) of every representation, in their order.

    Raises:
        InputError: a name that does not exist, or one that stands twice; an argument that does not exist, or is not of
            its type or range.
    """
    choice = settings.representation
    pairs: list[tuple[str, dict[str, Any]]] = []
    for item in choice if isinstance(choice, list | tuple) else [choice]:
        options = {item: {}} if isinstance(item, str) else item
        if not isinstance(options, Mapping) or len(options) != 1:
            raise InputError(
                f"representation is {shortened(item)}, expected a name ({', '.join(REPRESENTATIONS)}), one name with "
                "its arguments, such as {mmr: {diversity: 0.3}}, or a list of them."
            )
        for name, arguments in options.items():
            check_choice("representation", name, REPRESENTATIONS)
            pairs.append((name, {} if arguments is None else arguments))
    names = [name for name, _ in pairs]
    if not names or len(set(names)) < len(names):
        raise InputError(f"representation takes different names, at least one; got {names}.")
    # Now and not when the models are built: that is after hours of encoding.
    sections = dict(pairs)
    if isinstance(sections.get("llm"), Mapping):
        provider = sections["llm"].get("provider", LLM_PROVIDERS[0])
        check_choice("provider of language models", str(provider), LLM_PROVIDERS)
        sections[provider] = sections.pop("llm")
    elif "llm" in sections:
        sections[LLM_PROVIDERS[0]] = sections.pop("llm")
    try:
        build(RepresentationSections, sections, name="representation")
    except RecipeError as error:
        raise InputError(str(error)) from error
    return [(name, dict(arguments)) for name, arguments in pairs]


def check_upstream(settings: FitSettings) -> None:
    """Checks the keyword arguments of upstream's classes, as a recipe does when it is read.

    Raises:
        InputError: an argument that does not exist, is not of its type or range, or that this package sets itself.
    """
    arguments = {name: dict(getattr(settings, name)) for name in UpstreamSections.model_fields}
    try:
        sections = build(UpstreamSections, arguments, name="topic settings")
        check_together(settings, sections, settings.cluster)
    except (RecipeError, ValueError) as error:
        raise InputError(str(error)) from error


def check_large(settings: FitSettings, documents: int) -> None:
    """Refuses what a fit on a sample cannot do, where so many documents mean one.

    Raises:
        InputError: the sample is too small for two topics, or something is asked for that needs all documents.
    """
    if not settings.large.samples(documents):
        return
    smallest = settings.hdbscan.get("min_cluster_size", HDBSCAN_DEFAULTS["min_cluster_size"])
    whole = "or fit all documents at once: large.documents=0"
    if settings.large.sample < 2 * smallest:
        raise InputError(
            f"large.sample={settings.large.sample} has no room for two topics of hdbscan.min_cluster_size={smallest}, "
            f"and {documents:,} documents are fitted on a sample. Set large.sample={20 * smallest} or more, {whole}."
        )
    if (clusters := settings.cluster.clusters or 0) > settings.large.sample:
        raise InputError(
            f"cluster.clusters={clusters} is more than the documents of large.sample={settings.large.sample}, on which "
            f"{documents:,} documents are fitted. Set large.sample={10 * clusters} or more, {whole}."
        )
    if settings.zeroshot_topic_list:
        raise InputError(
            f"topics.zeroshot_topic_list takes its documents out of the clustering, and {documents:,} documents are "
            f"fitted on a sample. Leave it out, {whole}."
        )
    if settings.bertopic.get("calculate_probabilities"):
        raise InputError(
            f"bertopic.calculate_probabilities needs HDBSCAN's tree of all documents, and {documents:,} are fitted on "
            f"a sample. Leave it out, {whole}."
        )


def check_together(settings: TopicSettings, sections: HasUpstream, cluster: ClusterSettings) -> None:
    """Refuses settings that are right one by one and wrong together.

    Raises:
        ValueError: upstream would take one of them and not look at it, or would refuse it after hours of encoding.
    """
    strategy = settings.outliers.strategy if settings.outliers else None
    faults = faults_together(sections, strategy, settings.tokenizer)
    faults += faults_of_cluster(sections, cluster.method, cluster.reducer, cluster.clusters)
    faults += _faults_of_description(settings, sections)
    if faults:
        raise ValueError("; ".join(faults) + ".")


def _faults_of_description(settings: TopicSettings, sections: HasUpstream) -> list[str]:
    """Stop words of no language, and arguments of representations that do nothing beside others."""
    faults = []
    # Those of the vectorizer go before those of the topics.
    stop_words, top_n_words = sections.vectorizer.get("stop_words"), sections.bertopic.get("top_n_words")
    choice = settings.stop_words if stop_words is None else stop_words
    if isinstance(choice, str) and not re.fullmatch(r"english|auto|[a-z]{2,3}([-_]\w+)?", choice):
        faults.append(
            f'stop_words={choice} is neither "english", "auto" nor the code of a language such as "de"; a list of '
            "words works too"
        )
    pairs = representations(settings)
    for name, arguments in pairs:
        faults += _faults_of_llm(arguments) if name == "llm" else _faults_of_words(name, arguments, top_n_words)
    of_words = [arguments for name, arguments in pairs if name != "llm"]
    if top_n_words is not None and of_words and all("top_n_words" in arguments for arguments in of_words):
        faults.append("bertopic.top_n_words does nothing where each representation has top_n_words of its own")
    return faults


def _faults_of_words(name: str, arguments: Arguments, top_n_words: int | None) -> list[str]:
    words, faults = arguments.get("top_n_words", top_n_words or TOP_N_WORDS), []
    if name == "keybert":
        if "random_state" in arguments:  # bertopic 0.17.4 draws the documents by 42, whatever it is
            faults.append("keybert.random_state does nothing in BERTopic")
        if words > (candidates := arguments.get("nr_candidate_words", 100)):
            faults.append(f"keybert.nr_candidate_words is {candidates}, too few to choose {words} words from")
        if arguments.get("nr_repr_docs", 5) > arguments.get("nr_samples", 500):
            faults.append("keybert.nr_repr_docs is above keybert.nr_samples, of which they are chosen")
    choices = max(top_n_words or TOP_N_WORDS, WORDS_TO_CHOOSE_FROM)
    if name == "mmr" and words >= choices:  # bertopic 0.17.4 fails above that, with "argmax of an empty sequence"
        faults.append(
            f"mmr has {choices} words to choose from, so that {words} would be all of them; "
            f"set mmr.top_n_words below {choices}, or representation=ctfidf"
        )
    return faults


def _faults_of_llm(arguments: Arguments) -> list[str]:
    provider, faults = arguments.get("provider", LLM_PROVIDERS[0]), []
    if provider == "text_generation" and "model" not in arguments:
        faults.append("llm.model is missing: text_generation has no default")
    if provider == "litellm" and arguments.get("exponential_backoff"):
        # bertopic 0.17.4 names no error to retry after, so that the first one ends in a TypeError.
        faults.append("llm.exponential_backoff does not retry with litellm; generator_kwargs={num_retries: 5} does")
    if (arguments.get("doc_length") is None) != (arguments.get("tokenizer") is None):
        faults.append("llm.doc_length and llm.tokenizer go together: so many of what the tokenizer cuts")
    prompt = arguments.get("prompt") or ("" if provider == "text_generation" else "[DOCUMENTS]")
    idle = [name for name in ("nr_docs", "diversity", "doc_length", "tokenizer") if arguments.get(name) is not None]
    if idle and "[DOCUMENTS]" not in prompt:
        faults.append(f"llm.{', llm.'.join(idle)} is for an llm.prompt that holds [DOCUMENTS]")
    if said_twice := sorted({"model", "prompt", "messages"} & set(arguments.get("generator_kwargs") or ())):
        faults.append(f"llm.generator_kwargs.{said_twice[0]} is said by llm.model and llm.prompt")
    return faults


def check_names(what: str, names: Iterable[str], allowed: Sequence[str]) -> None:
    """Refuses names of arguments that do not exist, and says which is nearest."""
    for name in names:
        if name not in allowed:
            raise InputError(f"{what} takes no argument {name!r}.{did_you_mean(str(name), allowed)}")


def check_choice(what: str, name: str, choices: Sequence[str]) -> None:
    """Refuses a name that is not among the choices, and says which is nearest."""
    if name not in choices:
        raise InputError(f"There is no {what} {name!r}.{did_you_mean(str(name), choices)} Known: {', '.join(choices)}.")
