"""HTML in documents: seeing it, and taking it away."""

from __future__ import annotations

import re

from moee_topics.errors import InputError

MOST_TAGS = 50_000
"""Elements inside each other take the square of their number; no page has so many."""

BLOCKS = (
    "address|article|blockquote|br|dd|div|dl|dt|figure|footer|form|h[1-6]|header|hr|li|ol|p|pre|section|"
    "table|td|th|tr|ul"
)
BLOCK = re.compile(rf"(?=</?(?:{BLOCKS})\b)", re.IGNORECASE)
MARKUP = re.compile(
    rf"</?(?:a|b|body|code|em|font|html|i|iframe|img|script|span|strong|style|u|{BLOCKS})(?:\s[^<>]*)?/?>"
    r"|</[a-z][\w:.-]*\s*>"  # of any other element, such as <nav>, <sup> or the <jats:p> of publishers
    r"|&(?:amp|nbsp|lt|gt|quot|apos|hellip|bull|copy|euro|szlig|\w(?:acute|grave|uml|circ|tilde|cedil)|[mn]dash"
    r"|[lr][sda]?quo|#\d{2,6}|#x[0-9a-f]{2,6});",
    re.IGNORECASE,
)


def holds_markup(text: str) -> bool:
    """Whether there is an HTML tag or a character reference in a text."""
    return ("<" in text or "&" in text) and MARKUP.search(text) is not None


def without_markup(text: str) -> str:
    """The text that a browser shows: blocks on lines of their own, without scripts, styles and attributes.

    Raises:
        InputError: more tags than any page has.
    """
    if "<" not in text and "&" not in text:
        return text
    if text.count("<") > MOST_TAGS:
        raise InputError(f"more than {MOST_TAGS:,} tags in one document; corpus.clean=html reads no more.")
    # Python's own parser takes minutes for 80 kB of "<a " (3.11); this one keeps to what browsers do.
    from selectolax.lexbor import LexborHTMLParser

    page = LexborHTMLParser(BLOCK.sub("\n", text))
    page.strip_tags(["script", "style", "template"])
    shown = page.body.text() if page.body else ""
    return "\n".join(line for line in (" ".join(line.split()) for line in shown.split("\n")) if line)
