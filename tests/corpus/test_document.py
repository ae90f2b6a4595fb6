"""A document: known by the hash of its text, which is made once and only when somebody asks."""

from __future__ import annotations

import hashlib

import pytest

from moee_topics.corpus import HASH_BYTES, Document, content_hash
from moee_topics.corpus import document as module


def test_a_text_is_hashed_when_it_is_asked_for_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(module, "content_hash", lambda text: texts.append(text) or content_hash(text))
    document = Document("1", "a text")
    assert texts == []
    assert document.content_hash == document.content_hash == content_hash("a text") and texts == ["a text"]


def test_the_hash_depends_on_the_text_alone_and_takes_lone_surrogates() -> None:
    assert Document("1", "x", "label").content_hash == Document("2", "x").content_hash
    assert Document("1", "x") == Document("1", "x") and content_hash("x") != content_hash("x ")
    assert content_hash("é") == hashlib.blake2b("é".encode(), digest_size=HASH_BYTES).digest()
    assert len(content_hash("\ud800")) == HASH_BYTES
