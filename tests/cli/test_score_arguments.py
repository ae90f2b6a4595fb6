"""What score and compare are called with: a recipe, changes, and the flags of the reference implementation."""

from __future__ import annotations

from pathlib import Path

import pytest

from moee_topics.cli.score_arguments import REFERENCE_FLAGS, read_arguments
from moee_topics.errors import RecipeError
from moee_topics.mteb import ScoreRecipe, parse_score_recipe
from moee_topics.schema import known_keys


def test_a_recipe_comes_first_and_changes_follow() -> None:
    assert read_arguments(["score-local", "score.alpha=1", "seed=2"]) == ("score-local", ["score.alpha=1", "seed=2"])
    assert read_arguments(["score.alpha=1"]) == (None, ["score.alpha=1"])
    assert read_arguments([]) == (None, [])


def test_a_file_with_an_equals_sign_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a=b.yaml"
    path.touch()
    assert read_arguments([str(path), "seed=1"]) == (str(path), ["seed=1"])


def test_every_flag_of_the_reference_means_a_key_that_exists() -> None:
    assert {flag.key for flag in REFERENCE_FLAGS.values() if flag.key} <= set(known_keys(ScoreRecipe))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--base_model", "some/model", "--use_4bit"], ("some/model", "nf4", "prompteol")),
        (["--base_model=some/model", "--embed_method", 'a "{text}", b'], ("some/model", "auto", 'a "{text}", b')),
        (["--use_4bit", "encoder.quantize=int8", "--base_model", "m/m"], ("m/m", "int8", "prompteol")),
    ],
)
def test_flags_become_keys_and_keys_win(words: list[str], expected: tuple[str, str, str]) -> None:
    encoder = parse_score_recipe({"score": {}}, read_arguments(words).overrides).encoder
    assert (encoder.model, encoder.quantize, encoder.prompt) == expected


def test_the_vectors_of_the_reference_have_our_names() -> None:
    def methods(*words: str) -> tuple[str, ...]:
        return parse_score_recipe({"score": {}}, read_arguments(words).overrides).score.methods

    assert methods("--emb_info", "HS") == ("HS",) and methods("--emb_info", "MoEE") == ("concat",)
    assert methods("--similarity_ensemble", "--emb_info", "HS") == ("sum",)


def test_numbers_and_lists_of_flags_are_numbers_and_lists() -> None:
    words = [
        "--task_types",
        "STS,Clustering",
        "--batch_size",
        "64",
        "--similarity_weights",
        "0.5,1",
        "--no_instruction",
    ]
    section = parse_score_recipe({"score": {}}, read_arguments(words).overrides).score
    assert (section.task_types, section.batch_size, section.alpha) == (("STS", "Clustering"), 64, (0.5, 1.0))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bse_model", "x"], "There is no option --bse_model. Did you mean --base_model?"),
        (["--ofline"], "Did you mean --offline?"),
        (["--nonsense"], "There is no option --nonsense. Everything else is a key"),
        (["--base_model"], "--base_model needs a value"),
        (["one", "two"], "'two' is not a change such as score.tasks=STS12, and one recipe comes first."),
        (["seed=1", "one"], "'one' is not a change"),
    ],
)
def test_what_is_not_understood_is_refused(words: list[str], told: str) -> None:
    with pytest.raises(RecipeError) as error:
        read_arguments(words)
    assert told in str(error.value)
