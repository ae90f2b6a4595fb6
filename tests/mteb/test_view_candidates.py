"""What is compared of a corpus: overrides that a recipe takes, changes of the encoder, and controls."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from moee_topics.encode import EncoderSettings, EncoderSource
from moee_topics.errors import RecipeError
from moee_topics.mteb.view_candidates import candidates, many_views, one_view, passes_of
from moee_topics.recipe import Recipe, parse_recipe

ROUTED = ("scores=logits", "scores=multi_hot", "top_k=5", "experts=idf", "layers=information", "layers=[1,2]")


@pytest.mark.parametrize("routing", [(), *((f"fusion.routing.{setting}",) for setting in ROUTED)])
def test_what_is_recommended_is_a_recipe_that_gives_those_vectors(themes: Recipe, routing: tuple[str, ...]) -> None:
    given = parse_recipe(themes.to_json(), routing)
    source = EncoderSource(many_views(given.encoder))
    found = [candidate for candidate in candidates(given, source) if not candidate.control.startswith("experts")]
    assert len(found) > 20
    for candidate in found:
        changed = parse_recipe(given.to_json(), candidate.overrides)
        assert changed.fusion.canonical() == candidate.fusion.canonical(), candidate.name
        read = set(EncoderSource(changed.encoder).reading.views)
        block = "router" if candidate.fusion.method == "routing_weights" else "hidden_states"
        assert {view for view in candidate.reading.views if view.block == block} <= read, candidate.name


def test_words_and_filters_of_the_recipe_are_taken_out_of_what_is_recommended(themes: Recipe) -> None:
    wordy = parse_recipe(themes.to_json(), ["fusion.lexical=1", "fusion.filters=[center]"])
    found = list(candidates(wordy, EncoderSource(many_views(wordy.encoder))))
    assert found[0].fusion == wordy.fusion
    for candidate in found[1:4]:
        fusion = parse_recipe(wordy.to_json(), candidate.overrides).fusion
        assert fusion.canonical() == candidate.fusion.canonical()


def test_a_recipe_that_names_views_has_those_compared_and_no_others() -> None:
    named = many_views(
        EncoderSettings("some/model", layers=(3, 4), pooling=("mean", "last_token"), routing="frequency")
    )
    assert (named.layers, named.pooling, named.routing) == ((3, 4), ("mean", "last_token"), "frequency")
    usual = many_views(EncoderSettings("some/model"))
    assert usual.pooling == ("last_token", "mean", "weighted_mean", "mean_without_prompt")
    assert "mean_without_prompt" not in many_views(EncoderSettings("pocket")).pooling


def test_what_a_change_of_the_encoder_gives_is_a_recipe_too(themes: Recipe) -> None:
    change = ("encoder.prompt=in one word: {text}", "encoder.layers=1")
    (_, one) = passes_of(themes, [change])
    assert one.candidates and all(candidate.name.endswith(" ".join(change)) for candidate in one.candidates)
    for candidate in one.candidates:
        changed = parse_recipe(themes.to_json(), candidate.overrides)
        assert changed.encoder.prompt == "in one word: {text}"
        assert changed.fusion.canonical() == candidate.fusion.canonical()
        views = set(candidate.reading.views) & set(EncoderSource(changed.encoder).reading.views)
        assert views, candidate.name


def test_no_key_is_twice_among_the_overrides_of_a_change(themes: Recipe) -> None:
    change = ("encoder.states=values", "encoder.layers=1", "encoder.prompt=cluster")
    (_, one) = passes_of(themes, [change])
    for candidate in one.candidates:
        keys = [override.partition("=")[0] for override in candidate.overrides]
        assert len(set(keys)) == len(keys) and {"encoder.states", "encoder.layers", "encoder.prompt"} <= set(keys)
        assert set(candidate.reading.views) <= set(
            EncoderSource(parse_recipe(themes.to_json(), candidate.overrides).encoder).reading.views
        )


@pytest.mark.parametrize("prompt", ["echo", "Say {text} again: {text}!"])
def test_of_an_echo_the_mean_is_compared_once(prompt: str) -> None:
    settings = EncoderSettings("some/model", prompt=prompt)
    assert many_views(settings).pooling == ("last_token", "mean", "weighted_mean")
    assert many_views(replace(settings, pooling="mean_without_prompt")).pooling == (
        *("mean_without_prompt", "last_token", "weighted_mean"),
    )
    both = EncoderSettings("some/model", prompts=(prompt, "cluster"))
    assert "mean_without_prompt" in many_views(both).pooling, "of the other prompt it is another vector"


def test_each_of_several_prompts_is_compared_alone_and_several_beside_one(themes: Recipe) -> None:
    prompts = ["cluster", 'in one word: "{text}"']
    (_, several) = passes_of(themes, [[f"encoder.prompts={json.dumps(prompts)}"]])
    assert several.source.settings.prompts == tuple(prompts)
    changed = parse_recipe(themes.to_json(), several.candidates[0].overrides)
    assert changed.encoder.prompts == tuple(prompts)
    first, *alone = passes_of(changed)
    assert first.source.settings.prompts == tuple(prompts)
    assert [one.source.settings.prompt for one in alone] == prompts
    for one, prompt in zip(alone, prompts, strict=True):
        assert parse_recipe(changed.to_json(), one.candidates[0].overrides).encoder.prompt == prompt


@pytest.mark.parametrize("change", [[], ["fusion.alpha=1"], ["encoder.prompt=cluster", "corpus.limit=3"]])
def test_only_changes_of_the_encoder_are_other_passes(themes: Recipe, change: list[str]) -> None:
    with pytest.raises(RecipeError, match="--also takes changes of the encoder"):
        passes_of(themes, [change])


def test_a_random_model_is_read_by_the_usual_views_and_has_a_key_of_its_own(themes: Recipe) -> None:
    first, control = passes_of(themes, random_model=True)
    assert {candidate.control for candidate in control.candidates} == {"random model"}
    assert control.source.expected["revision"] == "untrained" != first.source.expected["revision"]
    many = EncoderSettings("some/model", layers=(3, "last"), pooling=("mean", "last_token"), routing="none")
    assert one_view(many) == EncoderSettings("some/model", pooling="mean", routing="none")
