"""Pages from templates: style and script inline, a policy that allows only those two, and all else escaped."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader
from markupsafe import Markup

from moee_topics.report import numerals
from moee_topics.run_folder import title
from moee_topics.topics import Topic


def render(template: str, *, script: str, **values: Any) -> str:
    """Fills a template of the room.

    Args:
        template: its file.
        script: the text of the page's one script.
        values: what it names.
    """
    style = template_text("report.css")
    # Hashes instead of 'unsafe-inline': a script that a document smuggled in would not have one.
    allowed = [
        f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for kind, text in (("script", script), ("style", style))
    ]
    policy = "; ".join(["default-src 'none'", *allowed, "img-src data:", "base-uri 'none'", "form-action 'none'"])
    inline = {"script": Markup(script), "style": Markup(style)}
    return _environment().get_template(template).render(policy=policy, **inline, **values)


def fill(markup: str, **values: Any) -> Markup:
    """A part of a page from markup that a module holds itself; what it names is escaped as on any page."""
    return Markup(_environment().from_string(markup).render(**values))


def template_text(name: str) -> str:
    """A file of the folder ``templates``."""
    return files("moee_topics.report").joinpath("templates", name).read_text(encoding="utf-8")


def topic_link(topic: Topic) -> Markup:
    """The name of a topic as a link to what is known of it: its panel, or without a script its row."""
    link = '<a class="link" dir="auto" href="#topic-{0}" data-topic="{0}">{1}</a>'
    return Markup(link).format(topic.topic, title(topic))


@cache
def _environment() -> Environment:
    # autoescape for every template, not by the ending of its name: ".j2" is none of those that jinja2 knows.
    environment = Environment(
        loader=FunctionLoader(template_text), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    filters = {
        "number": numerals.as_count,
        "percent": numerals.as_percent,
        "figure": numerals.as_decimal,
        "bytes": numerals.as_bytes,
        "seconds": numerals.as_duration,
        "title": title,
        "link": topic_link,
        "plain": lambda text: Markup(numerals.markdown_text(text)),
    }
    environment.filters.update({f"read_{name}": function for name, function in filters.items()})
    return environment
