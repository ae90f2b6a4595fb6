"""Words where there are no spaces: a tokenizer's, and a warning without one; Latin ones stay as they were."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest
from fitted_topics import DOCUMENTS
from sklearn.feature_extraction.text import CountVectorizer

from moee_topics.corpus import words_of
from moee_topics.errors import InputError, MissingExtraError
from moee_topics.topics import FitSettings, check_packages
from moee_topics.topics.tokenizers import load_tokenizer
from moee_topics.topics.vectorizer import TopicVectorizer, build_vectorizer

CHINESE = "今天天气很好，我们去公园。"


def test_latin_documents_have_the_vocabulary_they_had() -> None:
    texts = [*DOCUMENTS, "Ünïcödé straße l'été 3.14 n_samples x² ½ A-b it's don't COVID-19"]
    ours, theirs = TopicVectorizer().fit(texts), CountVectorizer().fit(texts)
    assert ours.vocabulary_ == theirs.vocabulary_


def test_a_pattern_that_is_asked_for_is_kept() -> None:
    assert TopicVectorizer(token_pattern=r"[a-z]").build_tokenizer()("ab c") == ["a", "b", "c"]


def test_most_text_without_spaces_is_warned_of_and_other_is_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        build_vectorizer(FitSettings(), [*DOCUMENTS[:5], "รถไฟ"])
        build_vectorizer(FitSettings(vectorizer={"analyzer": "char"}), [CHINESE])
        assert not caplog.text
        build_vectorizer(FitSettings(), [CHINESE] * 3 + ["short"])
    assert "topics.tokenizer=jieba" in caplog.text


def test_a_tokenizer_cuts_what_has_no_spaces_and_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    jieba = SimpleNamespace(
        setLogLevel=lambda level: None, cut=lambda text: [text[i : i + 2] for i in range(0, len(text), 2)]
    )
    monkeypatch.setitem(sys.modules, "jieba", jieba)
    vectorizer = build_vectorizer(FitSettings(tokenizer="jieba"), [CHINESE])
    assert vectorizer.build_tokenizer()(f"{CHINESE} whole words") == [
        "今天",
        "天气",
        "很好",
        "我们",
        "去公",
        "whole",
        "words",
    ]


@pytest.mark.parametrize(
    ("name", "package", "text", "word"),
    [
        ("jieba", "jieba", CHINESE, "公园"),
        ("sudachi", "sudachipy", "東京都へ行きます。" * 9000, "行き"),
        ("pythainlp", "pythainlp", "ฉันรักภาษาไทย", "ภาษาไทย"),
    ],
)
def test_each_tokenizer_finds_a_word_inside_a_clause(name: str, package: str, text: str, word: str) -> None:
    pytest.importorskip(package)
    assert word in words_of(text, load_tokenizer(name))  # type: ignore[arg-type]


def test_a_tokenizer_that_is_missing_or_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(MissingExtraError, match=r"moee-topics\[chinese\]"):
        load_tokenizer("jieba")
    with pytest.raises(MissingExtraError, match=r"moee-topics\[chinese\]"):
        check_packages(FitSettings(tokenizer="jieba"))  # before anything is encoded
    with pytest.raises(InputError, match="jieba"):
        FitSettings(tokenizer="jeiba")  # type: ignore[arg-type]
