from __future__ import annotations

import re

import pytest
from small_run import HOSTILE

from moee_topics.report.numerals import as_duration, as_percent, markdown_text
from moee_topics.run_folder import title
from moee_topics.topics.result import Topic


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0004, "< 0.1 %"), (0.0096, "1 %"), (0.02, "2 %"), (0.9996, "> 99.9 %"), (0.993, "99.3 %"), (1.0, "100 %")],
)
def test_what_is_not_all_and_not_nothing_does_not_read_so(share: float, text: str) -> None:
    assert as_percent(share) == text


def test_numbers_are_written_as_a_person_would() -> None:
    assert [as_percent(0), as_percent(0.004), as_percent(0.5), as_percent(0.999), as_percent(1)] == [
        "0 %",
        "0.4 %",
        "50 %",
        "99.9 %",
        "100 %",
    ]
    assert [as_duration(5.25), as_duration(75), as_duration(3720), as_duration(None)] == [
        *("5.2 s", "1 min 15 s", "1 h 02 min", "–"),
    ]
    assert title(Topic(3, 1, "3_a_b", [("alpha", 1.0), ("beta", 0.5)])) == "alpha, beta"
    assert title(Topic(3, 1, "Space travel", [("alpha", 1.0)])) == "Space travel"
    assert title(Topic(-1, 1, "-1_a_b", [])) == "Outliers"


@pytest.mark.parametrize("text", [*HOSTILE, "a|b", "[x](javascript:y)", "line\nbreak", "*bold* `code`"])
def test_markdown_keeps_text_as_text(text: str) -> None:
    safe = markdown_text(text)
    assert "\n" not in safe and "<" not in safe
    assert not re.search(r"(?<!\\)[|\[\]`*]", safe)
