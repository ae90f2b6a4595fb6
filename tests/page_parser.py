"""The scripts of a report's page, as a browser would find them, and the documents packed in it."""

from __future__ import annotations

import base64
import gzip
import json
from html.parser import HTMLParser
from typing import Any


class Scripts(HTMLParser):
    """The script elements and every attribute of a page, as a browser's parser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.content: list[tuple[dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.inside = tag == "script"
        if self.inside:
            self.content.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            attributes, before = self.content[-1]
            self.content[-1] = (attributes, before + data)

    def payload(self, name: str) -> str:
        return next(text for attributes, text in self.content if attributes.get("id") == name)


def unpacked(page: str) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(base64.b64decode(Scripts(page).payload("packed")))))
