"""Views of one pass compared: one pass for all of them, controls that control, and overrides that a recipe takes."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bag_of_words import themed_corpus

from moee_topics.embed import Embedder
from moee_topics.embeddings import Embeddings
from moee_topics.encode import EncoderSettings, EncoderSource, MoEEncoder
from moee_topics.errors import InputError
from moee_topics.mteb.view_comparison import ViewComparison, candidates, compare_views, many_views, shuffled_experts
from moee_topics.recipe import Recipe, parse_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Recipe:
    path = tmp_path_factory.mktemp("views") / "themes.csv"
    with path.open("w") as file:
        csv.writer(file).writerows([("text", "label"), *zip(*themed_corpus(12, 0), strict=True)])
    encoder = {"model": str(tiny_olmoe), "prompt": "none", "dtype": "float32", "max_tokens": 64, "pooling": "mean"}
    return parse_recipe({"corpus": {"source": str(path)}, "encoder": encoder})


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


ROUTED = ("scores=logits", "scores=multi_hot", "top_k=5", "experts=idf", "layers=information", "layers=[1,2]")


@pytest.mark.parametrize("routing", [(), *((f"fusion.routing.{setting}",) for setting in ROUTED)])
def test_what_is_recommended_is_a_recipe_that_gives_those_vectors(recipe: Recipe, routing: tuple[str, ...]) -> None:
    given = parse_recipe(recipe.to_json(), routing)
    source = EncoderSource(many_views(given.encoder))
    found = [candidate for candidate in candidates(given, source) if not candidate.control.startswith("experts")]
    assert len(found) > 20
    for candidate in found:
        changed = parse_recipe(given.to_json(), candidate.overrides)
        assert changed.fusion.canonical() == candidate.fusion.canonical(), candidate.name
        read = set(EncoderSource(changed.encoder).reading.views)
        block = "router" if candidate.fusion.method == "routing_weights" else "hidden_states"
        assert {view for view in candidate.reading.views if view.block == block} <= read, candidate.name


def test_words_and_filters_of_the_recipe_are_taken_out_of_what_is_recommended(recipe: Recipe) -> None:
    wordy = parse_recipe(recipe.to_json(), ["fusion.lexical=1", "fusion.filters=[center]"])
    found = list(candidates(wordy, EncoderSource(many_views(wordy.encoder))))
    assert found[0].fusion == wordy.fusion
    for candidate in found[1:4]:
        fusion = parse_recipe(wordy.to_json(), candidate.overrides).fusion
        assert fusion.canonical() == candidate.fusion.canonical()


def test_costs_are_those_of_the_views_that_are_read(comparison: ViewComparison) -> None:
    costs = {view.name: (view.dimensions, view.bytes_per_document, view.layers) for view in comparison.views}
    assert costs["hidden_states@1/mean"] == (64, 128, 0.5)
    assert costs["router@all/frequency z"] == (16, 32, 1.0)
    assert costs["router@all/mean z"] == (16, 64, 1.0)


def test_all_views_come_from_one_pass_and_are_kept(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = MoEEncoder.encode_entries

    def counted(self: MoEEncoder, texts: list[str], entries: object) -> object:
        calls.append(len(texts))
        return real(self, texts, entries)  # type: ignore[arg-type]

    monkeypatch.setattr(MoEEncoder, "encode_entries", counted)
    settings = recipe.encoder.__class__(
        **{**vars(recipe.encoder), "layers": (1, "last"), "pooling": ("mean", "last_token")}
    )
    few = recipe.model_copy(update={"encoder": settings})
    first = compare_views(few, tmp_path, sample=24)
    assert calls == [24]
    monkeypatch.setattr(Embedder, "_pass", None)
    assert compare_views(few, tmp_path, sample=24) == first


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
    with pytest.raises(InputError, match=r"no two share one.*fusion\.lexical=0"):
        compare_views(lonely, tmp_path, sample=30)


def test_a_recipe_that_names_views_has_those_compared_and_no_others() -> None:
    named = many_views(
        EncoderSettings("some/model", layers=(3, 4), pooling=("mean", "last_token"), routing="frequency")
    )
    assert (named.layers, named.pooling, named.routing) == ((3, 4), ("mean", "last_token"), "frequency")
    usual = many_views(EncoderSettings("some/model"))
    assert usual.pooling == ("last_token", "mean", "weighted_mean", "mean_without_prompt")
    assert "mean_without_prompt" not in many_views(EncoderSettings("pocket")).pooling


def test_shuffled_experts_keep_the_weights_of_a_layer_and_lose_whose_they_are() -> None:
    logits = np.random.default_rng(0).normal(size=(30, 2, 8)).astype(np.float32)
    plain = Embeddings(np.ones((30, 1), np.float32), logits)
    mixed = shuffled_experts(plain, 0)
    np.testing.assert_array_equal(np.sort(mixed.routing_weights), np.sort(plain.routing_weights))
    assert (mixed.routing_weights != plain.routing_weights).mean() > 0.7
