"""The words of documents as a block: learnt once, every document by itself, saved and read back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from bag_of_words import FILLER, THEMES

from moee_topics.errors import InputError
from moee_topics.fuse import Fusion
from moee_topics.fuse.lexical import DIMENSIONS, Lexical, check_words

CHINESE = ["今天天气很好", "今天我们去公园", "公园里有很多人", "银行利率上升", "银行降低利率"]


def themed(documents: int, seed: int = 0) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    themes = [rng.choice(list(THEMES)) for _ in range(documents)]
    return [" ".join(rng.choices(THEMES[theme].split(), k=12) + rng.choices(FILLER, k=3)) for theme in themes], themes


def test_documents_of_one_theme_lie_together() -> None:
    texts, themes = themed(200)
    rows = Lexical.fit(texts).transform(texts)
    same = np.equal.outer(themes, themes)
    cosines = rows @ rows.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.2


def test_a_row_does_not_depend_on_the_others_and_has_length_one() -> None:
    texts, _ = themed(300)
    lexical = Lexical.fit(texts[:200])
    together = lexical.transform(texts)
    assert np.array_equal(together, np.concatenate([lexical.transform([text]) for text in texts]))
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert together.dtype == np.float32 and together.shape[1] <= DIMENSIONS


def test_a_text_without_known_words_is_zero_and_no_texts_are_no_rows() -> None:
    lexical = Lexical.fit(themed(50)[0])
    assert not lexical.transform(["Xylophon 12345", "", "🙂"]).any()
    assert lexical.transform([]).shape == (0, len(lexical.components))


def test_copies_change_nothing() -> None:
    texts, _ = themed(60)
    once, often = Lexical.fit(texts), Lexical.fit(texts + texts[:1] * 500)
    assert once.vocabulary == often.vocabulary
    assert np.array_equal(once.components, often.components) and np.array_equal(once.idf, often.idf)


def test_a_large_corpus_is_learnt_from_texts_all_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moee_topics.fuse.lexical.MOST_DOCUMENTS", 50)
    texts = [f"apple pear number{i // 2}" if i < 60 else f"orbit moon number{i // 2}" for i in range(120)]
    assert {"apple", "orbit"} <= set(Lexical.fit(texts).vocabulary)


class Lines(Sequence[str]):
    """Texts that are made when they are asked for, and forgotten."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.alive, self.most = texts, 0, 0

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: Any) -> Any:
        class Text(str):
            def __del__(text) -> None:
                self.alive -= 1

        self.alive += 1
        self.most = max(self.most, self.alive)
        return Text(self.texts[row])


def test_of_a_large_corpus_only_the_texts_learnt_from_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moee_topics.fuse.lexical.MOST_DOCUMENTS", 50)
    texts = themed(400)[0]
    texts = [*texts[:300], *texts[:200:3], *texts[300:], texts[0]]
    lines, kept = Lines(texts), list(dict.fromkeys(texts))[::8]
    fitted = Fusion("hidden_states", standardize="none", lexical=1.0).fit([], lines).lexicon
    plain = Lexical.fit(kept)
    assert len(kept) == 50 and 50 <= lines.most <= 52
    assert fitted is not None and fitted.vocabulary == plain.vocabulary
    assert np.array_equal(fitted.components, plain.components) and np.array_equal(fitted.idf, plain.idf)


def test_scripts_without_spaces_are_read_by_pairs_of_characters() -> None:
    lexical = Lexical.fit(CHINESE)
    assert {"银行", "利率", "公园"} <= set(lexical.vocabulary)
    bank, park = lexical.transform(["银行和利率", "去公园"])
    assert bank @ lexical.transform(["利率"])[0] > park @ lexical.transform(["利率"])[0]


@pytest.mark.parametrize("texts", [[], ["one"], ["one", "two"], ["🙂", "🙃", "…"], ["same words"] * 5])
def test_a_corpus_without_shared_words_is_refused_with_the_override_that_helps(texts: list[str]) -> None:
    for refuse in (Lexical.fit, check_words):
        with pytest.raises(InputError, match=r"fusion\.lexical=0"):
            refuse(texts)


@pytest.mark.parametrize("texts", [themed(60)[0], CHINESE, ["apple 1", "apple 2", "pear 3", "plum 4"]])
def test_a_corpus_of_whose_words_a_fit_can_learn_passes_the_look_beforehand(texts: list[str]) -> None:
    check_words(texts * 2)
    assert Lexical.fit(texts).vocabulary


def test_the_look_at_words_ends_as_soon_as_it_may_and_goes_on_where_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moee_topics.fuse.lexical.DOCUMENTS_LOOKED_AT", 10)
    texts = iter(themed(60)[0])
    check_words(texts)
    assert len(list(texts)) == 50
    check_words([f"everywhere row{row} shared{row if row < 30 else row // 2}" for row in range(60)])


def test_what_was_learnt_survives_as_tensors() -> None:
    texts, _ = themed(80)
    lexical = Lexical.fit([*texts, "naïve ünïcödé", "naïve façade ünïcödé"])
    again = Lexical.of_tensors(lexical.tensors())
    assert again is not None and again.vocabulary == lexical.vocabulary
    assert np.array_equal(again.transform(texts), lexical.transform(texts))
    assert Lexical.of_tensors({}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"lexical.idf": np.ones(2, np.float32)},
        {"lexical.components": np.ones((3, 2), np.float32)},
        {"lexical.vocabulary": np.frombuffer(b"[1, 2]", np.uint8)},
        {"lexical.vocabulary": np.frombuffer(b"{", np.uint8)},
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not of one number|Expecting"):
        Lexical.of_tensors(Lexical.fit(themed(50)[0]).tensors() | change)
