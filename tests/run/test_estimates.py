"""An estimate says what a run then needs: documents, tokens, bytes of the store."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from moee_topics import run as pipeline
from moee_topics.encode import weights_are_here
from moee_topics.errors import InputError, ModelError
from moee_topics.recipe import Recipe, parse_recipe
from moee_topics.run.estimates import FIT_BYTES_OF_A_DOCUMENT, Estimate, estimate, sample_documents
from moee_topics.run.workspace import Workspace

WORDS = ["rocket", "goalie", "onion", "tulip", "orbit", "puck", "garlic", "soil"]


@pytest.fixture
def recipe(tmp_path: Path, tiny_olmoe: Path) -> Recipe:
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(3, 40))) for _ in range(120)]
    (tmp_path / "posts.txt").write_text("\n".join(texts + texts[:20]))
    encoder = {"model": str(tiny_olmoe), "prompt": "none", "pooling": "mean", "max_tokens": 64, "dtype": "float32"}
    return parse_recipe({"corpus": {"source": str(tmp_path / "posts.txt")}, "encoder": encoder})


def test_an_estimate_of_a_small_corpus_is_what_the_run_finds(recipe: Recipe, tmp_path: Path) -> None:
    found = estimate(recipe, tmp_path / "store", trial=False)
    encoded = pipeline.embed(recipe, tmp_path / "store")
    assert (found.documents, found.unique, found.stored) == (140, encoded.survey.unique, 0)
    assert found.tokens == pytest.approx(encoded.counts.tokens, rel=0.1)
    assert found.documents_cut == pytest.approx(encoded.counts.documents_cut / found.unique, abs=0.1)
    size = sum(path.stat().st_size for path in encoded.folder.glob("shard-*"))
    assert found.store_bytes == pytest.approx(size, rel=0.2)
    assert estimate(recipe, tmp_path / "store", trial=False).stored == found.unique
    assert sum(found.view_bytes.values()) == found.store_bytes
    assert [line for line in found.to_text().splitlines() if line.endswith("hidden_states@last/mean")]


def test_a_trial_gives_speed_and_time(recipe: Recipe, tmp_path: Path) -> None:
    found = estimate(recipe, tmp_path / "store")
    assert found.trial is not None and found.encode_seconds is not None
    assert found.encode_seconds == pytest.approx(found.tokens / found.trial.tokens_per_second)
    assert "time to encode" in found.to_text() and not (tmp_path / "store").exists()


def test_without_a_trial_the_time_is_called_unknown(recipe: Recipe, tmp_path: Path) -> None:
    found = estimate(recipe, tmp_path, trial=False)
    assert found.trial is None and "unknown" in found.to_text()


def test_weights_take_less_room_in_fewer_bits(recipe: Recipe, tmp_path: Path) -> None:
    def weights(quantize: str) -> int:
        encoder = replace(recipe.encoder, quantize=quantize)
        found: Estimate = estimate(recipe.model_copy(update={"encoder": encoder}), tmp_path, trial=False)
        return found.weights_bytes

    assert weights("none") > weights("int8") > weights("nf4") > 0


def test_of_a_large_corpus_the_sample_goes_through_umap(recipe: Recipe, tmp_path: Path) -> None:
    data = recipe.to_json() | {"reduce": {"dimensions": 8}}
    sampled, full = (
        estimate(parse_recipe({**data, "large": large}), tmp_path, trial=False).fit_memory_bytes
        for large in ({"documents": 100, "sample": 40}, {"documents": 0})
    )
    assert full == 2 * 4 * 140 * 8 and sampled == 2 * 4 * 40 * 8 + 140 * FIT_BYTES_OF_A_DOCUMENT


def test_the_sample_is_spread_over_the_corpus(recipe: Recipe) -> None:
    work = Workspace(recipe, Path(), Path())
    places = [document.id for document in sample_documents(work.corpus, work.survey, 7)]
    assert places == [f"line {1 + 20 * i}" for i in range(7)]
    assert len(sample_documents(work.corpus, work.survey, 1000)) == 140


def test_weights_of_the_hub_count_as_here_only_when_they_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert weights_are_here("pocket")
    assert not weights_are_here("someone/never-downloaded")


def test_a_model_without_configuration_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    encoder = replace(recipe.encoder, model=str(tmp_path))
    with pytest.raises(ModelError):
        estimate(recipe.model_copy(update={"encoder": encoder}), tmp_path, trial=False)


def test_machines_take_less_time_and_say_on_what_that_rests(recipe: Recipe, tmp_path: Path) -> None:
    needs = estimate(recipe, tmp_path, machines=4, price_per_hour=3.0)
    several, trial = needs.machines, needs.trial
    assert several is not None and trial is not None and trial.documents == needs.documents, "not only 64"
    assert several.cost == pytest.approx(3 * several.machine_hours) and several.hours < several.machine_hours
    assert 4 * several.hours * 3600 >= needs.encode_seconds  # type: ignore[operator]
    said = needs.to_text()
    assert "machine hours" in said and said.count("  assumed ") == 4
    assert f"{trial.tokens_per_second:,.0f} tokens per second, measured on" in said and recipe.encoder.model in said


def test_machines_of_nothing_are_refused_and_without_a_trial_nothing_is_said_of_them(
    recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--machines 16"):
        estimate(recipe, tmp_path, price_per_hour=1.0)
    for machines, price in ((0, None), (-3, 1.0), (2, -1.0), (2, float("nan")), (2, float("inf"))):
        with pytest.raises(InputError, match="Expected 1 or more"):
            estimate(recipe, tmp_path, machines=machines, price_per_hour=price)
    assert estimate(recipe, tmp_path, trial=False, machines=4).machines is None
