"""20 Newsgroups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus_files import opened, refused


def test_20newsgroups_without_cache_offline_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    message = refused("20newsgroups", data_home=tmp_path)
    assert "SCIKIT_LEARN_DATA" in message and "corpus.data_home" in message


NEWSGROUPS = Path(__file__).parents[3] / "shared" / "data" / "scikit_learn_data"


@pytest.mark.slow
@pytest.mark.skipif(
    not ("SCIKIT_LEARN_DATA" in os.environ or NEWSGROUPS.is_dir()), reason="20 Newsgroups is not on this machine"
)
def test_20newsgroups_has_all_posts() -> None:
    home = None if "SCIKIT_LEARN_DATA" in os.environ else NEWSGROUPS
    corpus = opened("20newsgroups", data_home=home)
    documents = list(corpus)
    assert corpus.counts.documents + corpus.counts.empty == 18_846
    assert len({document.label for document in documents}) == 20
    assert corpus.counts.duplicate_ids == 0
