"""Arguments that do nothing beside each other are refused, from Python and in a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from moee_topics.errors import InputError, RecipeError
from moee_topics.recipe import parse_recipe
from moee_topics.topics import FitSettings, check_upstream


@pytest.mark.parametrize(
    ("section", "arguments", "message"),
    [
        *(("umap", {name: 0.5}, rf"umap\.{name} is for umap\.densmap") for name in ("dens_lambda", "dens_var_shift")),
        ("umap", {"dens_frac": 0.5, "densmap": False}, r"umap\.dens_frac is for umap\.densmap=true"),
        ("hdbscan", {"alpha": 0.5}, r"hdbscan\.alpha is for hdbscan\.algorithm=prims_kdtree"),
        ("hdbscan", {"alpha": 0.5, "algorithm": "boruvka_kdtree"}, r"hdbscan\.alpha is for"),
        ("hdbscan", {"core_dist_n_jobs": 1, "algorithm": "prims_balltree"}, "n_jobs is for Boruvka's algorithm"),
        ("hdbscan", {"approx_min_span_tree": False, "algorithm": "prims_kdtree"}, "tree is for Boruvka's algorithm"),
        ("hdbscan", {"max_cluster_size": 9, "cluster_selection_method": "leaf"}, "does nothing with .*leaf"),
        ("hdbscan", {"cluster_selection_epsilon_max": 9.0, "cluster_selection_method": "leaf"}, "does nothing with"),
        ("ctfidf", {"seed_multiplier": 3.0}, r"ctfidf\.seed_multiplier is for ctfidf\.seed_words"),
        ("vectorizer", {"token_pattern": "x", "analyzer": "char"}, r"token_pattern is for vectorizer\.analyzer=word"),
        ("vectorizer", {"stop_words": ["x"], "analyzer": "char_wb"}, r"stop_words is for vectorizer\.analyzer=word"),
        *(("vectorizer", {name: 2, "vocabulary": ["a", "b"]}, f"{name} does nothing") for name in ("min_df", "max_df")),
        *(("vectorizer", {"max_df": none}, r"vectorizer\.max_df is 0") for none in (0, 0.0)),
        ("vectorizer", {"stop_words": "klingon"}, "stop_words=klingon is neither .* nor the code of a language"),
    ],
)
def test_an_argument_that_does_nothing_beside_another_is_refused(
    section: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_upstream(FitSettings(**{section: arguments}))
    with pytest.raises(RecipeError, match=message):
        parse_recipe({"corpus": {"source": "x.csv"}, section: arguments})


def test_a_tokenizer_beside_a_pattern_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"topics\.tokenizer does nothing with vectorizer\.token_pattern"):
        parse_recipe(
            {"corpus": {"source": "x"}, "topics": {"tokenizer": "jieba"}, "vectorizer": {"token_pattern": "x"}}
        )
