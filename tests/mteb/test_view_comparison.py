"""Views of one pass compared: one pass for all of them, controls that control, and overrides that a recipe takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import MoEEncoder
from moee_topics.encode.views import View
from moee_topics.errors import InputError
from moee_topics.mteb.view_comparison import ViewComparison, compare_views, shuffled_experts
from moee_topics.recipe import Recipe, parse_recipe


@pytest.fixture(scope="module")
def recipe(themes: Recipe) -> Recipe:
    return themes


@pytest.fixture(scope="module")
def comparison(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> ViewComparison:
    return compare_views(recipe, tmp_path_factory.mktemp("store"), sample=40)


def test_every_layer_pooling_and_form_of_the_routing_is_there_once(comparison: ViewComparison) -> None:
    names = [view.name for view in comparison.views]
    assert len(set(names)) == len(names) and names[0].startswith("the recipe (sum 0.5 z")
    for name in ("hidden_states@1/mean", "hidden_states@last/weighted_mean z", "router@all/frequency z"):
        assert name in names
    assert {"router@all/mean multi_hot 2 z", "router@all/mean idf z", "router@all/mean logits z"} < set(names)
    assert (comparison.documents, comparison.classes) == (40, 4) and len(comparison.entropy) == 2
    assert set(comparison.rank_correlations) == set(comparison.views[0].scores.measures)


def test_controls_are_marked_and_never_recommended(comparison: ViewComparison) -> None:
    controls = {view.name: view.control for view in comparison.views if view.control}
    assert controls["hidden_states@0/mean"] == "tokens alone"
    assert controls["router@all/mean z, experts shuffled"] == "experts shuffled"
    shuffled = next(view for view in comparison.views if view.control == "experts shuffled")
    assert abs(shuffled.scores.ami or 0) < 0.25
    assert comparison.best is not None and comparison.best.name not in controls


def test_costs_are_those_of_the_views_that_are_read(comparison: ViewComparison) -> None:
    costs = {view.name: (view.dimensions, view.bytes_per_document, view.layers) for view in comparison.views}
    assert costs["hidden_states@1/mean"] == (64, 128, 0.5)
    assert costs["router@all/frequency z"] == (16, 32, 1.0)
    assert costs["router@all/mean z"] == (16, 64, 1.0)


def test_all_views_come_from_one_pass_and_are_kept(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = MoEEncoder.encode_calls

    def counted(self: MoEEncoder, given: Iterable[Sequence[str]], entries: Sequence[View]) -> object:
        texts = list(given)
        calls.extend(map(len, texts))
        return real(self, texts, entries)

    monkeypatch.setattr(MoEEncoder, "encode_calls", counted)
    settings = recipe.encoder.__class__(
        **{**vars(recipe.encoder), "layers": (1, "last"), "pooling": ("mean", "last_token")}
    )
    few = recipe.model_copy(update={"encoder": settings})
    first = compare_views(few, tmp_path, sample=24)
    assert calls == [24]
    monkeypatch.setattr(Embedder, "_encode", None)
    assert compare_views(few, tmp_path, sample=24) == first


FEW = ("encoder.layers=[1, last]", "encoder.routing=mean")


def test_every_draw_is_compared_by_itself_and_their_mean_is_told(recipe: Recipe, tmp_path: Path) -> None:
    few = parse_recipe(recipe.to_json(), [*FEW, "encoder.pooling=[mean, last_token]"])
    both = compare_views(few, tmp_path, sample=24, draws=2)
    assert (both.documents, both.draws) == (48, 2)
    whole = compare_views(few, tmp_path, sample=48)
    assert [view.name for view in both.views] == [view.name for view in whole.views] and both.tokens == whole.tokens
    assert any(view.scores.ami != other.scores.ami for view, other in zip(both.views, whole.views, strict=True))
    with pytest.raises(InputError, match="for each of 3 draws, got 48 in all"):
        compare_views(few, tmp_path, sample=16, draws=3)


def test_a_change_of_the_encoder_and_a_random_model_are_passes_beside_the_first(recipe: Recipe, tmp_path: Path) -> None:
    few = parse_recipe(recipe.to_json(), [*FEW, "encoder.pooling=[mean, last_token]"])
    alone = compare_views(few, tmp_path, sample=24)
    also = [["encoder.prompt=cluster"], ["encoder.states=attention_outputs", "encoder.layers=1-2"]]
    found = compare_views(few, tmp_path, sample=24, also=also, random_model=True)
    assert found.views[: len(alone.views)] == alone.views and found.tokens > 4 * alone.tokens
    views = {view.name: view for view in found.views[len(alone.views) :]}
    assert views["hidden_states@last/mean z, encoder.prompt=cluster"].overrides[0] == "encoder.prompt=cluster"
    values = views["attention_outputs@1-2/mean, encoder.states=attention_outputs encoder.layers=1-2"]
    assert values.dimensions == 64 and "router" not in "".join(name for name in views if "attention" in name)
    random = [view for view in found.views if view.control == "random model"]
    assert [view.name for view in random] == [
        "hidden_states@last/mean z, random model",
        "router@all/mean logits z, random model",
    ]
    assert all(abs(view.scores.ami or 0) < 0.9 for view in random)


def test_without_labels_there_are_measures_and_no_recommendation(recipe: Recipe, tmp_path: Path) -> None:
    corpus = replace(recipe.corpus, label="none")
    settings = recipe.encoder.__class__(
        **{**vars(recipe.encoder), "layers": (1, "last"), "pooling": ("mean", "last_token")}
    )
    found = compare_views(recipe.model_copy(update={"corpus": corpus, "encoder": settings}), tmp_path, sample=30)
    assert found.classes is None and not found.rank_correlations
    assert found.best is None and all(view.scores.measures for view in found.views)


def test_too_few_documents_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs 20 different documents or more"):
        compare_views(recipe, tmp_path, sample=5)


def test_what_the_recipe_s_fusion_cannot_learn_is_told_before_anything_is_encoded(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MoEEncoder, "from_settings", lambda *_, **__: pytest.fail("the weights were loaded"))
    with pytest.raises(InputError, match="has 3 weights, and the model has 2 MoE layers"):
        compare_views(parse_recipe(recipe.to_json(), ["fusion.routing.layers=[1,2,3]"]), tmp_path, sample=30)
    (tmp_path / "numbers.csv").write_text("text\n" + "".join(f"word{row} text{row}\n" for row in range(40)))
    lonely = parse_recipe(recipe.to_json(), [f"corpus.source={tmp_path / 'numbers.csv'}", "fusion.lexical=1"])
    with pytest.raises(InputError, match=r"no word stands in two or more.*fusion\.lexical=0"):
        compare_views(lonely, tmp_path, sample=30)


def test_shuffled_experts_keep_the_weights_of_a_layer_and_lose_whose_they_are() -> None:
    logits = np.random.default_rng(0).normal(size=(30, 2, 8)).astype(np.float32)
    plain = Embeddings(np.ones((30, 1), np.float32), logits)
    mixed = shuffled_experts(plain, 0)
    np.testing.assert_array_equal(np.sort(mixed.routing_weights), np.sort(plain.routing_weights))
    assert (mixed.routing_weights != plain.routing_weights).mean() > 0.7
