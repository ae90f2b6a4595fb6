from __future__ import annotations

import pytest

from moee_topics.errors import RecipeError
from moee_topics.recipe import parse_recipe
from moee_topics.report import ReportSettings


def test_a_recipe_s_section_is_these_settings() -> None:
    recipe = parse_recipe({"corpus": {"source": "docstrings"}}, ["report.html=false", "report.map_documents=7"])
    assert recipe.report == ReportSettings(html=False, map_documents=7)


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_a_map_of_no_documents_is_refused_by_key(value: str) -> None:
    with pytest.raises(RecipeError, match=r"report\.map_documents"):
        parse_recipe({"corpus": {"source": "docstrings"}}, [f"report.map_documents={value}"])
