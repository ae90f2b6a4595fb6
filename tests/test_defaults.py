"""What several rooms take for granted is what each of them says when it is asked."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hdbscan import HDBSCAN

from moee_topics.defaults import COLOURS, GREY, OUTLIERS, SEED, SEEDS, STORE_NAME
from moee_topics.errors import InputError, RecipeError
from moee_topics.mteb import parse_score_recipe
from moee_topics.recipe import parse_recipe
from moee_topics.report.template import template_text
from moee_topics.run_folder import named_folder
from moee_topics.topics import FitSettings

CORPUS = {"corpus": {"source": "docstrings"}}
SCORED = {"score": {"tasks": ["STS12"]}}


def test_runs_scores_and_fits_draw_from_one_seed() -> None:
    assert {parse_recipe(CORPUS).seed, parse_score_recipe(SCORED).seed, FitSettings().seed} == {SEED}


def test_a_seed_that_numpy_would_refuse_is_refused_with_the_recipe() -> None:
    np.random.RandomState(parse_recipe({**CORPUS, "seed": SEEDS - 1}).seed)
    with pytest.raises(RecipeError):
        parse_recipe({**CORPUS, "seed": SEEDS})
    with pytest.raises(ValueError, match="Seed must be"):
        np.random.RandomState(SEEDS)


def test_no_run_takes_the_name_of_the_store_beside_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=STORE_NAME):
        named_folder(tmp_path, STORE_NAME)


def test_the_style_of_the_report_has_the_colours_of_everything_else() -> None:
    style = template_text("report.css").partition("}")[0]
    assert tuple(re.findall(r"--c\d: (#\w+);", style)) == COLOURS and f"--quiet-point: {GREY};" in style


def test_outliers_have_the_label_of_the_noise_of_hdbscan() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, 0.1, (20, 2)), rng.normal(9, 0.1, (20, 2)), [[99.0, -99.0]]])
    assert HDBSCAN(min_cluster_size=8).fit(points).labels_[-1] == OUTLIERS
