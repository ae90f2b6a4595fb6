"""HTML: seen where it is, taken away as a browser would, untouched where there is none."""

from __future__ import annotations

import pytest

from moee_topics.corpus.markup import MOST_TAGS, holds_markup, without_markup
from moee_topics.errors import InputError


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('<p class="x"><a href="#">the bread</a>&amp; <img src=x onerror=1></p>', "the bread&"),
        ("<p>one</p><p>two<br>three</p>four", "one\ntwo\nthree\nfour"),
        ("<b>H</b>ello <i>there</i>", "Hello there"),
        ("<script>var a;</script><style>p{}</style>shown<!-- hidden -->", "shown"),
        ("fish &amp; chips &#233; &nbsp;", "fish & chips é"),
        ("<iframe src=x></iframe>below", "below"),
        ("unclosed <b>bold", "unclosed bold"),
        ("<nav>home</nav> <sup>2</sup>", "home 2"),
        ("<jats:italic>E. coli</jats:italic>", "E. coli"),
        ("the cat&rsquo;s caf&eacute; &mdash;", "the cat’s café —"),
    ],
)
def test_markup_is_taken_away(html: str, text: str) -> None:
    assert without_markup(html) == text
    assert holds_markup(html) and not holds_markup(text)


@pytest.mark.parametrize(
    "text",
    ["a < b and c > d", "if x<y: pass", "AT&T", "a <word> of mine", "plain", "List<T> a;", "Q&A; R&D;", "a </ b"],
)
def test_what_is_no_markup_is_not_taken_for_it(text: str) -> None:
    assert not holds_markup(text)


def test_a_text_without_tags_or_references_is_kept_to_the_byte() -> None:
    assert without_markup("  two  spaces\n\n and lines ") == "  two  spaces\n\n and lines "


@pytest.mark.parametrize("part", ["<!--", "<a ", "<a b='", "</a", "<script>"])
def test_broken_markup_takes_no_more_than_linear_work(part: str) -> None:
    """Python's own parser takes 77 s for 60 kB of the second."""
    without_markup(part * 20_000)


def test_more_tags_than_a_page_has_are_refused() -> None:
    with pytest.raises(InputError, match="tags"):
        without_markup("<div>" * (MOST_TAGS + 1))
