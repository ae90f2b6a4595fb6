"""Arguments of upstream: each that is accepted reaches its class, each that is not names what to use instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bertopic import BERTopic
from bertopic.vectorizers import ClassTfidfTransformer
from hdbscan import HDBSCAN
from sklearn.feature_extraction.text import CountVectorizer
from umap import UMAP

from moee_topics.errors import InputError, RecipeError
from moee_topics.recipe import parse_recipe
from moee_topics.schema import section_types
from moee_topics.topics import FitSettings, fit_topics
from moee_topics.topics.fit import build_bertopic
from moee_topics.topics.settings import check_upstream
from moee_topics.topics.upstream import INSTEAD, UpstreamSections
from moee_topics.topics.vectorizer import build_vectorizer

CLASSES: dict[str, Callable[..., Any]] = {
    "umap": UMAP,
    "hdbscan": HDBSCAN,
    "vectorizer": CountVectorizer,
    "ctfidf": ClassTfidfTransformer,
    "bertopic": BERTopic,
}
VALUES: dict[str, dict[str, Any]] = {
    "umap": {
        "n_neighbors": 7,
        "n_components": 3,
        "metric": "correlation",
        "n_epochs": 11,
        "learning_rate": 0.7,
        "init": "random",
        "min_dist": 0.3,
        "spread": 1.5,
        "low_memory": False,
        "set_op_mix_ratio": 0.5,
        "local_connectivity": 2,
        "repulsion_strength": 0.5,
        "negative_sample_rate": 3,
        "angular_rp_forest": True,
        "force_approximation_algorithm": True,
        "densmap": True,
    },
    "hdbscan": {
        "min_cluster_size": 6,
        "min_samples": 3,
        "cluster_selection_epsilon": 0.1,
        "cluster_selection_persistence": 0.01,
        "cluster_selection_epsilon_max": 100.0,
        "cluster_selection_method": "leaf",
        "max_cluster_size": 60,
        "allow_single_cluster": True,
        "metric": "manhattan",
        "algorithm": "boruvka_balltree",
        "leaf_size": 20,
        "approx_min_span_tree": False,
        "core_dist_n_jobs": 1,
        "match_reference_implementation": True,
    },
    "vectorizer": {
        "ngram_range": [1, 2],
        "min_df": 2,
        "max_df": 0.9,
        "max_features": 50,
        "stop_words": ["the"],
        "token_pattern": r"\w+",
        "lowercase": False,
        "strip_accents": "unicode",
        "analyzer": "char_wb",
        "vocabulary": ["rocket", "tulip", "goalie"],
        "binary": True,
    },
    "ctfidf": {
        "bm25_weighting": True,
        "reduce_frequent_words": True,
        "seed_words": ["rocket"],
    },
    "bertopic": {"language": "english", "top_n_words": 4, "calculate_probabilities": True},
}
TOGETHER = [
    ("umap", {"metric": "minkowski", "metric_kwds": {"p": 3.0}}),
    *(
        ("umap", {"densmap": True, **more})
        for more in ({"dens_lambda": 1.0}, {"dens_frac": 0.5}, {"dens_var_shift": 0.2})
    ),
    ("hdbscan", {"algorithm": "prims_kdtree", "alpha": 0.5}),
    ("ctfidf", {"seed_words": ["rocket"], "seed_multiplier": 3.0}),
]
EVERY = [
    *((section, {name: value}) for section, values in VALUES.items() for name, value in values.items()),
    *TOGETHER,
    *(("umap", {"init": init}) for init in ("spectral", "pca", "tswspectral")),
    *(("umap", {"metric": metric}) for metric in ("euclidean", "l1", "l2", "chebyshev", "canberra", "braycurtis")),
    *(("hdbscan", {"metric": metric}) for metric in ("l1", "l2", "chebyshev", "canberra", "braycurtis")),
    *(("hdbscan", {"algorithm": name}) for name in ("prims_kdtree", "prims_balltree", "boruvka_kdtree")),
    ("vectorizer", {"analyzer": "char", "ngram_range": [2, 3]}),
    ("vectorizer", {"min_df": 0.2, "max_df": 4}),
]


def accepted(section: str) -> set[str]:
    return set(section_types(section_types(UpstreamSections)[section]))


@pytest.mark.parametrize("section", CLASSES)
def test_every_argument_of_upstream_is_accepted_or_refused_with_a_reason(section: str) -> None:
    upstream = set(inspect.signature(CLASSES[section]).parameters) - {"kwargs"}
    assert accepted(section) | set(INSTEAD[section]) >= upstream
    assert accepted(section) <= upstream and not accepted(section) & set(INSTEAD[section])


@pytest.mark.parametrize("section", CLASSES)
def test_every_accepted_argument_is_tried_here(section: str) -> None:
    tried = {name for place, arguments in EVERY if place == section for name in arguments}
    assert tried == accepted(section)


@pytest.mark.parametrize(("section", "arguments"), EVERY)
def test_every_accepted_argument_reaches_its_class(section: str, arguments: dict[str, Any]) -> None:
    model = build_bertopic(
        FitSettings(**{"representation": "ctfidf", section: arguments}), [f"text {i}" for i in range(99)]
    )
    part = model if section == "bertopic" else getattr(model, f"{section}_model")
    for name, value in arguments.items():
        assert getattr(part, name) == (tuple(value) if name == "ngram_range" else value)


@pytest.mark.slow
@pytest.mark.parametrize(("section", "arguments"), EVERY)
def test_every_accepted_argument_fits(section: str, arguments: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    words = ("rocket orbit moon", "tulip rose garden", "goalie puck arena", "onion pan butter")
    texts = [f"{words[i % 4]} {words[i % 4].split()[i % 3]} today number{i}" for i in range(160)]
    centres = rng.normal(size=(4, 16))
    vectors = np.array([centres[i % 4] for i in range(160)]) + rng.normal(size=(160, 16)) / 8
    sections: dict[str, dict[str, Any]] = {"umap": {}, section: arguments}
    sections["umap"] = {"n_epochs": 30, **sections["umap"]}  # of 500, which were nine tenths of a fit
    settings = FitSettings(representation="ctfidf", **sections)  # type: ignore[arg-type]
    assert len(fit_topics(texts, vectors.astype(np.float32), **vars(settings)).result.topics)


def test_a_wrong_argument_is_an_input_error_for_those_who_write_python() -> None:
    with pytest.raises(InputError, match=r"umap\.n_neighbors is 'auto', expected a whole number, at least 2"):
        check_upstream(FitSettings(umap={"n_neighbors": "auto"}))
    with pytest.raises(InputError, match=r"bertopic\.nr_topics: topics\.nr_topics does that"):
        check_upstream(FitSettings(bertopic={"nr_topics": 3}))


HOW = {"algorithm", "leaf_size", "approx_min_span_tree", "core_dist_n_jobs"}
"""Arguments of HDBSCAN that say how it searches: its answer is the same, or nearly so."""
OTHERWISE: dict[str, dict[str, Any]] = {
    "cluster_selection_epsilon": {"cluster_selection_epsilon": 2.0},
    "cluster_selection_epsilon_max": {"cluster_selection_epsilon_max": 0.2},
    "max_cluster_size": {"max_cluster_size": 30},
    "alpha": {"algorithm": "prims_kdtree", "alpha": 0.5},
}


@pytest.mark.parametrize("name", sorted(accepted("hdbscan") - HOW))
def test_every_accepted_argument_of_hdbscan_changes_its_clusters(name: str) -> None:
    rng = np.random.default_rng(0)
    centres = [(0, 0, 50, 0.35), (2, 0, 30, 0.2), (1, 1.5, 20, 0.5), (9, 9, 40, 1.2), (9, 12, 25, 0.3)]
    nested = np.concatenate([rng.normal(size=(n, 2)) * width + (x, y) for x, y, n, width in centres])
    single = rng.normal(size=(60, 2))

    def clusters(arguments: dict[str, Any]) -> list[Any]:
        models = [HDBSCAN(**{"min_cluster_size": 5, "min_samples": 2, **arguments}).fit(x) for x in (nested, single)]
        return [(model.labels_.tolist(), model.probabilities_.tolist()) for model in models]

    changed = OTHERWISE.get(name, {name: VALUES["hdbscan"].get(name)})
    assert clusters({key: changed[key] for key in changed if key != name}) != clusters(changed)


def test_the_p_of_hdbscan_does_nothing_and_is_refused() -> None:
    """Should this fail with a newer hdbscan, its metric minkowski can be taken in again."""
    points = np.random.default_rng(0).normal(size=(90, 2))
    models = [HDBSCAN(min_cluster_size=5, metric="minkowski", p=p).fit(points) for p in (1.0, 9.0)]
    assert np.array_equal(models[0].probabilities_, models[1].probabilities_)
    with pytest.raises(RecipeError, match=r"hdbscan\.p: HDBSCAN does not look at it; metric=l1"):
        parse_recipe({"corpus": {"source": "x"}, "hdbscan": {"p": 3.0}})


@pytest.mark.parametrize("name", sorted(accepted("vectorizer")))
def test_every_accepted_argument_of_the_vectorizer_changes_the_counts(name: str) -> None:
    texts = ["The rocket and the moon, the Rocket café", "the tulip and a rose café", "the goalie, a puck, the moon"]

    def counts(arguments: dict[str, Any]) -> Any:
        vectorizer = build_vectorizer(FitSettings(vectorizer=arguments), texts)
        table = vectorizer.fit_transform(texts).toarray().tolist()
        return vectorizer.vocabulary_, table

    otherwise = {"max_df": 1, "token_pattern": r"\b\w{5,}\b", "max_features": 3, "stop_words": ["rocket"]}
    base = {"stop_words": None} if name == "analyzer" else {}  # which are for words alone
    assert counts({**base, name: otherwise.get(name, VALUES["vectorizer"][name])}) != counts(base)


@pytest.mark.parametrize("name", sorted(accepted("ctfidf")))
def test_every_accepted_argument_of_ctfidf_changes_the_weights(name: str) -> None:
    texts = ["rocket moon rocket orbit", "tulip moon garden", "goalie puck moon puck puck"]

    def weights(arguments: dict[str, Any]) -> Any:
        settings = FitSettings(representation="ctfidf", ctfidf=arguments)
        model = build_bertopic(settings, texts)
        return model._c_tf_idf(pd.DataFrame({"Document": texts, "Topic": [0, 1, 2]}))[0].toarray().tolist()

    changed = next(arguments for section, arguments in EVERY if section == "ctfidf" and name in arguments)
    assert weights({key: changed[key] for key in changed if key != name}) != weights(changed)


@pytest.mark.parametrize("name", sorted(accepted("bertopic")))
def test_every_accepted_argument_of_bertopic_changes_the_result(name: str) -> None:
    rng = np.random.default_rng(0)
    words = ("rocket orbit café moon", "tulip rose gärten bulb", "goalie puck arena skates", "onion pan butter salt")
    texts = [f"{words[i % 4]} {words[i % 4].split()[i % 3]} über word{i % 7}" for i in range(80)]
    centres = rng.normal(size=(4, 8))
    vectors = np.array([centres[i % 4] for i in range(80)]) + rng.normal(size=(80, 8)) / 2

    def outcome(arguments: dict[str, Any]) -> Any:
        settings = {"umap": {"n_epochs": 30}, "hdbscan": {"min_cluster_size": 6}, "representation": "ctfidf"}
        result = fit_topics(texts, vectors, positions=vectors[:, :2], bertopic=arguments, **settings).result
        return [topic.words for topic in result.topic_info], result.probabilities.tolist()

    assert outcome({name: VALUES["bertopic"][name]}) != outcome({})


QUIET = {"low_memory", "angular_rp_forest"}
"""Arguments of UMAP that say how it searches among more than 4,096 documents."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(accepted("umap") - QUIET))
def test_every_accepted_argument_of_umap_moves_documents(name: str) -> None:
    from moee_topics.topics.lean_umap import keep_compiled

    keep_compiled("umap")
    vectors = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)

    def positions(arguments: dict[str, Any]) -> Any:
        return UMAP(**{"n_neighbors": 5, "n_epochs": 20, "random_state": 1, **arguments}).fit_transform(vectors)

    changed = next(arguments for section, arguments in reversed(EVERY) if section == "umap" and name in arguments)
    plain = {key: value for key, value in changed.items() if key != name}
    if name == "metric":
        changed, plain = {"metric": "correlation"}, {}
    assert not np.array_equal(positions(plain), positions(changed))
