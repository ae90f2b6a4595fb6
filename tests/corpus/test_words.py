"""Words of any script: whole in Hindi, scikit-learn's in Latin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from moee_topics.corpus import words_of

DEFAULT = CountVectorizer().build_tokenizer()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("रोटी और सब्ज़ी", ["रोटी", "और", "सब्ज़ी"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("বাংলা ভাষা", ["বাংলা", "ভাষা"]),
        ("nai\u0308ve cafe\u0301", ["nai\u0308ve", "cafe\u0301"]),
        ("שָׁלוֹם עולם", ["שָׁלוֹם", "עולם"]),
        ("ශ්\u200dරී ලංකා", ["ශ්\u200dරී", "ලංකා"]),
        ("می\u200cخواهم کتاب\u200c", ["می\u200cخواهم", "کتاب"]),
        ("Do\u00adnau\u00addampf schiff", ["Donaudampf", "schiff"]),
        ("rocket\u200dorbit a\u200c b", ["rocket\u200dorbit"]),
    ],
)
def test_words_are_not_cut_at_vowel_signs_accents_joiners_and_soft_hyphens(text: str, words: list[str]) -> None:
    assert words_of(text) == words


# Cn too: of what Python's Unicode has not yet, such as U+1ACF in 3.11, the package regex knows some as marks.
@given(st.text(st.characters(exclude_categories=["M", "Cf", "Cs", "Cn"], max_codepoint=0x24FF)))
def test_without_marks_words_are_those_of_scikit_learn(text: str) -> None:
    assert words_of(text) == DEFAULT(text)
