"""Recipes from answers: valid whatever is answered, and fitted to what the corpus holds."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import get_args

import psutil
import pytest
from tiny_runs import Heard, write_corpus

from moee_topics.corpus import CorpusSettings
from moee_topics.errors import InputError
from moee_topics.plain_data import read_yaml
from moee_topics.recipe import Recipe, parse_recipe
from moee_topics.run import Answers, Language, Length, draft, length_of


def drafted(answers: Answers) -> Recipe:
    return parse_recipe(read_yaml(draft(answers, "mine.yaml")[0], "mine.yaml"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> CorpusSettings:
    return CorpusSettings(str(write_corpus(tmp_path_factory.mktemp("draft") / "posts.jsonl")))


def test_every_answer_makes_a_recipe_that_holds_it(corpus: CorpusSettings) -> None:
    for language, length, model in product(get_args(Language), get_args(Length), ("pocket", "some/mixture: of #1")):
        recipe = drafted(Answers(corpus, language, length, model))
        assert (recipe.corpus, recipe.encoder.model) == (corpus, model)
        assert (recipe.topics.stop_words == "english") == (language == "english")
        assert (recipe.topics.tokenizer is None) == (language in ("english", "other"))
        assert recipe.encoder.quantize == "auto"
    assert drafted(Answers(corpus, length="short")).encoder.max_tokens < drafted(Answers(corpus)).encoder.max_tokens


def test_a_large_model_gets_four_bits_where_memory_asks_for_them(
    corpus: CorpusSettings, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, memory = Answers(corpus, model=str(tiny_olmoe)), psutil.virtual_memory()
    assert drafted(answers).encoder.quantize == "auto"
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(total=1000))
    assert drafted(answers).encoder.quantize == "nf4"


def test_short_documents_are_asked_for_their_cluster(corpus: CorpusSettings) -> None:
    prompts = [drafted(Answers(corpus, length=length)).encoder.prompt for length in get_args(Length)]
    assert prompts == ["cluster", "none", "none"]


def test_scores_of_classes_are_asked_for_where_there_are_any(corpus: CorpusSettings) -> None:
    assert "ami" in drafted(Answers(corpus)).scores
    without = drafted(Answers(CorpusSettings(corpus.source, text="text", label="none")))
    assert "ami" not in without.scores and without.corpus.label == "none"


def test_a_name_with_quotes_and_colons_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / 'a: "b" #c\'s.csv'
    path.write_text('"the: #text",group\n"<p>some words</p>",a\n"more words here",b\n')
    settings = CorpusSettings(str(path), text="the: #text", label="group")
    recipe = drafted(Answers(settings))
    assert (recipe.corpus.source, recipe.corpus.text) == (settings.source, settings.text)
    assert recipe.corpus.clean == "html", "one of its documents holds markup"


def test_clusters_grow_with_the_corpus(tmp_path: Path) -> None:
    sizes = []
    for count in (20, 4000):
        path = tmp_path / f"{count}.txt"
        path.write_text("\n".join(f"document number {number}" for number in range(count)))
        sizes.append(drafted(Answers(CorpusSettings(str(path)))).hdbscan["min_cluster_size"])
    assert sizes == [5, 17]


def test_what_is_odd_about_the_corpus_is_told_and_an_empty_one_refused(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text("text,n\na text,1\n,2\n")
    heard = Heard()
    _, survey = draft(Answers(CorpusSettings(str(tmp_path / "posts.csv"))), "mine.yaml", heard)
    assert survey.documents == 1 and any("Empty documents left out: 1." in note for note in heard.notes)
    (tmp_path / "posts.csv").write_text("text,n\n,2\n")
    with pytest.raises(InputError, match="no documents"):
        draft(Answers(CorpusSettings(str(tmp_path / "posts.csv"))), "mine.yaml")


def test_lengths_have_names_and_letters_of_languages_without_spaces_count_more() -> None:
    assert [length_of(characters, "english") for characters in (60, 800, 9000)] == ["short", "medium", "long"]
    assert length_of(100, "japanese") == "medium" and length_of(100, "other") == "short"
