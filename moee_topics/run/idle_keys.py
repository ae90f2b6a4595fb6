"""Keys of a recipe that do nothing beside others, or for this kind of corpus, and what each of them needs.

They are noted and not refused: a shipped recipe sets ``corpus.per_package``, and ``corpus.source=posts.csv`` beside it
is the most usual thing to do. What is never meant is refused by the schema (:mod:`moee_topics.topics.upstream`) or by
the corpus itself (columns where there are none).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any

from moee_topics.corpus import CorpusSettings, Survey, has_columns, source_kind
from moee_topics.recipe import Recipe

DATABASES = ("sqlite", "duckdb")
DELIMITED = (".csv", ".tsv")
TEXT_FILES = (*DELIMITED, ".jsonl", ".ndjson", ".txt", "folder")
Holds = Callable[[Recipe, Survey | None], bool]


@dataclass(frozen=True)
class Need:
    """What some keys need to do anything.

    Attributes:
        keys: with their section.
        what: they need, for a message.
        holds: whether a recipe has it; the survey of its corpus is None where it was not read yet.
    """

    keys: tuple[str, ...]
    what: str
    holds: Holds


def _source(*kinds: str) -> Holds:
    return lambda recipe, _: source_kind(recipe.corpus.source) in (*kinds, "")  # one that is not there may be any


# Bytes in a column, which older writers of Parquet leave, are decoded too.
NEEDS = (
    Need(("corpus.id",), "a table", lambda recipe, _: has_columns(recipe.corpus.source)),
    Need(("corpus.delimiter", "corpus.quoting"), "csv and tsv files", _source(*DELIMITED)),
    Need(
        ("corpus.encoding", "corpus.decoding_errors"),
        "files of text",
        _source(*TEXT_FILES, ".parquet", "hub", *DATABASES),
    ),
    Need(("corpus.missing",), "labels, ids or times", lambda recipe, _: source_kind(recipe.corpus.source) != ".txt"),
    Need(("corpus.pattern",), "a folder", _source("folder")),
    Need(("corpus.subset", "corpus.remove", "corpus.data_home"), "20newsgroups", _source("20newsgroups")),
    Need(("corpus.packages", "corpus.per_package"), "docstrings", _source("docstrings")),
    Need(("corpus.query",), "a database", _source(*DATABASES)),
    Need(("corpus.split",), "a data set of the hub or saved to disk", _source("hub", "dataset")),
    Need(("corpus.config",), "a data set of the hub", _source("hub")),
    Need(("encoder.combine_prompts",), "encoder.prompts", lambda recipe, _: recipe.encoder.prompts is not None),
    Need(("fusion.alpha",), "a method that weighs", lambda recipe, _: recipe.fusion.uses_alpha),
    Need(
        ("fusion.standardize",),
        "a block that the method reads",
        lambda recipe, _: recipe.fusion.standardize == "none" or recipe.fusion.canonical().standardize != "none",
    ),
    Need(
        ("fusion.routing.scores", "fusion.routing.experts", "fusion.routing.layers"),
        "a method that reads routing weights",
        lambda recipe, _: recipe.fusion.needs_routers,
    ),
    Need(
        ("fusion.routing.top_k",),
        "routing weights with scores=top_k or multi_hot",
        lambda recipe, _: recipe.fusion.needs_routers and recipe.fusion.routing.scores in ("top_k", "multi_hot"),
    ),
    Need(
        ("topics.stop_words",),
        "words of no stop_words of the vectorizer",
        lambda recipe, _: (
            recipe.vectorizer.get("stop_words") is None and recipe.vectorizer.get("analyzer", "word") == "word"
        ),
    ),
    Need(
        ("topics.zeroshot_min_similarity",),
        "topics.zeroshot_topic_list",
        lambda recipe, _: recipe.topics.zeroshot_topic_list is not None,
    ),
    Need(
        ("topics.outliers.threshold",),
        "topics.outliers without target_share",
        lambda recipe, _: recipe.topics.outliers is None or recipe.topics.outliers.target_share is None,
    ),
    Need(
        ("topics.time_bins",),
        "topics.over_time and a corpus with times",
        lambda recipe, survey: recipe.topics.over_time and (survey is None or survey.timestamps is not None),
    ),
    Need(
        ("labels.model", "labels.documents", "labels.characters"),
        "labels.provider",
        lambda recipe, _: recipe.labels.provider != "none",
    ),
    Need(("labels.device",), "labels.provider=local", lambda recipe, _: recipe.labels.provider == "local"),
    Need(
        ("labels.base_url", "labels.seconds", "labels.attempts"),
        "labels.provider=openai",
        lambda recipe, _: recipe.labels.provider == "openai",
    ),
    Need(("report.map_documents",), "report.html", lambda recipe, _: recipe.report.html),
)


def idle_keys(recipe: Recipe, survey: Survey | None = None) -> dict[str, str]:
    """The keys that are not at their default and do nothing, each with what it needs.

    Turning off what is not there, such as ``topics.over_time=false`` for documents without times, is not among them.
    """
    return {
        key: need.what for need in NEEDS for key in need.keys if _is_set(recipe, key) and not need.holds(recipe, survey)
    }


def idle_note(keys: Iterable[tuple[str, str]]) -> str:
    """Keys that do nothing, for a person; empty if there are none."""
    named = ", ".join(f"{key} (it needs {what})" for key, what in keys)
    return f"Without effect here: {named}." if named else ""


def idle_overrides(settings: CorpusSettings, overrides: Iterable[str]) -> dict[str, str]:
    """Those of some ``corpus.KEY=VALUE`` that do nothing for a source, each with what it needs."""
    typed = {override.partition("=")[0].strip() for override in overrides}
    return {key: what for key, what in idle_keys(Recipe(corpus=settings)).items() if key in typed}


def idle_in_prediction(settings: CorpusSettings, overrides: Sequence[str]) -> dict[str, str]:
    """The same where topics are predicted, which neither labels nor times have a part in."""
    of_a_fit = {f"corpus.{key}": "a fit" for key in ("label", "timestamp", "time_format")}
    typed = {override.partition("=")[0].strip() for override in overrides}
    return {key: what for key, what in of_a_fit.items() if key in typed} | idle_overrides(settings, overrides)


def _is_set(recipe: Recipe, key: str) -> bool:
    value: Any = recipe
    for name in key.split("."):
        if value is None:  # topics.outliers, which is not asked for
            return False
        section, value = value, getattr(value, name)
    default = next(item for item in fields(section) if item.name == name)
    return default.default is not MISSING and value != default.default
