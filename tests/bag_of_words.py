"""A test double for the encoder whose answer is known by eye, and a corpus of plain themes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np

from moee_topics.embeddings import Embeddings

THEMES = {
    "space": "orbit rocket planet moon satellite launch telescope astronaut gravity comet",
    "hockey": "goalie puck skate rink defenseman penalty stick league playoff arena",
    "cooking": "butter onion garlic simmer saucepan flour oven recipe pepper broth",
    "gardens": "soil seedling compost pruning tulip hedge mulch harvest watering greenhouse",
}
FILLER = ["the", "and", "with", "about", "people", "yesterday", "again", "really", "something"]
LAYERS, EXPERTS, DIMENSIONS = 2, 8, 48


def place_of(word: str, places: int) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=4).digest(), "big") % places


THEME_OF = {word: place for place, words in enumerate(THEMES.values()) for word in words.split()}


class BagOfWords:
    """Word counts, and a common direction for the words of a theme; counts what it encodes."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.calls = 0

    @property
    def spec(self) -> Any:
        return SimpleNamespace(key=lambda: {"model": "bag of words"}, model="folder")

    def encode(self, texts: str | Iterable[str]) -> Embeddings:
        documents = [texts] if isinstance(texts, str) else list(texts)
        self.calls += 1
        self.encoded += documents
        hidden = np.zeros((len(documents), DIMENSIONS), dtype=np.float32)
        logits = np.zeros((len(documents), LAYERS, EXPERTS), dtype=np.float32)
        for row, text in enumerate(documents):
            hidden[row, -1] = 0.1
            for word in text.lower().split():
                hidden[row, 4 + place_of(word, DIMENSIONS - 5)] += 0.3
                if word in THEME_OF:
                    hidden[row, THEME_OF[word]] += 1.0
                    logits[row, :, THEME_OF[word]] += 1.0
        return Embeddings(hidden, logits)


class NarrowCone(BagOfWords):
    """The same with a large offset that all texts share, and another one that grows as they get shorter."""

    def encode(self, texts: str | Iterable[str]) -> Embeddings:
        documents = [texts] if isinstance(texts, str) else list(texts)
        found = super().encode(documents)
        shared, short = np.random.default_rng(1).normal(0, 4, (2, DIMENSIONS)).astype(np.float32)
        lengths = np.array([[len(text.split()) + 1] for text in documents], dtype=np.float32)
        return Embeddings(found.hidden_states + shared + short / lengths, found.router_logits)


def themed_corpus(per_theme: int = 40, noise: int = 12, seed: int = 0) -> tuple[list[str], list[str]]:
    """Documents of four themes and some of no theme, shuffled, with their labels."""
    rng = np.random.default_rng(seed)
    documents, labels = [], []
    for theme, words in THEMES.items():
        for number in range(per_theme):
            chosen = [*rng.choice(words.split(), 6), *rng.choice(FILLER, 4), f"{theme}post{number}"]
            documents.append(" ".join(rng.permutation(chosen)))
            labels.append(theme)
    for number in range(noise):
        documents.append(" ".join([*rng.choice(FILLER, 5), *(f"noise{number}word{i}" for i in range(6))]))
        labels.append("none")
    order = rng.permutation(len(documents))
    return [documents[i] for i in order], [labels[i] for i in order]


def theme_of(topic_words: list[str]) -> set[str]:
    """The themes that some words belong to."""
    return {theme for theme, words in THEMES.items() if set(topic_words) & set(words.split())}
