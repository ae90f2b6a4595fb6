from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

import pytest
from page_parser import Scripts
from small_run import HOSTILE

from moee_topics.report.template import render, template_text

PAGES = ("report.html.j2", "comparison.html.j2", "methods.html.j2")


@pytest.mark.parametrize("script", ["page.js", "comparison.js", "theme.js"])
def test_the_policy_of_a_page_allows_its_own_script_and_style_by_their_hashes_alone(script: str) -> None:
    values = {"name": HOSTILE[0], "methods": [], "comparison": {"rows": [], "documents": 1}, "closest": (0, "a", "b")}
    page = render("methods.html.j2", script=template_text(script), **values)
    (policy,) = (value for name, value in Scripts(page).attributes if value.startswith("default-src"))
    for text in (template_text(script), template_text("report.css")):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert "unsafe" not in policy and HOSTILE[0] not in page


def test_every_template_names_no_address_and_escapes_by_default() -> None:
    folder = files("moee_topics.report") / "templates"
    for name in PAGES:
        text = (folder / name).read_text(encoding="utf-8")
        assert "http" not in text.replace("http-equiv", "") and "|safe" not in text
