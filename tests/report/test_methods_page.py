from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from page_parser import Scripts
from small_run import HOSTILE, small_run

from moee_topics.errors import InputError
from moee_topics.report.methods_page import ScoreRow, compare_methods, write_methods


def test_methods_are_set_side_by_side_with_a_page_for_every_two(run: Path, tmp_path: Path) -> None:
    other = small_run(tmp_path / "other", seed=1)
    comparison = write_methods({"concat": run, "hidden_states": other, "mine": run}, tmp_path / "out", name=HOSTILE[0])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "methods.html", "concat-hidden_states.html", "concat-mine.html", "hidden_states-mine.html",
    }  # fmt: skip
    assert comparison.ami[0, 2] == pytest.approx(1) and abs(comparison.ami[0, 1]) < 0.1
    assert np.array_equal(comparison.ami, comparison.ami.T)
    page = (tmp_path / "out" / "methods.html").read_text(encoding="utf-8")
    parsed = Scripts(page)
    links = {value for name, value in parsed.attributes if name == "href" and value[:1] not in "#d"}
    assert {f"{a}-{b}.html" for a, b in [("concat", "hidden_states"), ("concat", "mine")]} <= links
    assert all((tmp_path / "out" / link).is_file() for link in links)
    assert "img" not in parsed.tags and len(parsed.content) == 1
    assert any(value.startswith("default-src 'none'") for name, value in parsed.attributes if name == "content")
    rows = {row.name: row for row in comparison.rows}
    assert rows["topics"].shown() == ["4", "4", "4"] and rows["ami"].shown() == ["–"] * 3
    assert rows["npmi"].best is None, "all the same"


def test_the_best_of_a_measure_is_by_its_direction() -> None:
    values = (0.3, None, 0.1)
    assert [ScoreRow("x", "", values, better).best for better in (True, False, None)] == [0, 2, None]
    assert ScoreRow("x", "", (0.2, 0.2001, 0.1), True).best is None, "two that read the same"
    assert ScoreRow("x", "", values, False, percent=True).shown() == ["30.0 %", "–", "10.0 %"]


def test_one_method_cannot_be_compared(run: Path) -> None:
    with pytest.raises(InputError, match="at least 2"):
        compare_methods({"concat": run})
