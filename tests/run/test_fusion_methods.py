"""One recipe with several fusions off the same store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import recipe_of

from moee_topics.errors import RecipeError
from moee_topics.fuse import METHODS
from moee_topics.run import parse_methods, run_methods
from moee_topics.run_folder import RunFolder


def test_methods_are_named_by_comma_or_all(tmp_path: Path) -> None:
    assert parse_methods("all") == list(METHODS)
    assert parse_methods("concat, hidden_states,concat") == ["concat", "hidden_states"]
    assert parse_methods("HS,Sum") == ["hidden_states", "weighted_sum"]


@pytest.mark.parametrize("text", ["", "concat", "concat,concat", "concat,nothing", "ALL"])
def test_one_method_or_one_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="takes 'all' or two or more of hidden_states"):
        parse_methods(text)


def test_every_method_has_its_run_and_none_encodes_what_is_stored(
    finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path, no_model: None
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, "scores=[outliers]", "topics.experts=false", "topics.hierarchy=false")
    folders = {method: tmp_path / method for method in ("hidden_states", "concat")}
    run_methods(recipe, folders, finished / "store")
    for method, folder in folders.items():
        assert RunFolder(folder).manifest["fusion"]["method"] == method
