"""The report of experts as a file: what was saved reads back, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moee_topics.errors import InputError
from moee_topics.evaluate.expert_report import ExpertReport


def test_a_saved_report_reads_back_the_same(report: ExpertReport, tmp_path: Path) -> None:
    report.save(tmp_path / "experts.json")
    again = ExpertReport.load(tmp_path / "experts.json")
    assert again.to_json() == report.to_json()
    (tmp_path / "experts.json").write_text('{"layers": 3}')
    with pytest.raises(InputError, match="not an expert report"):
        ExpertReport.load(tmp_path / "experts.json")
    with pytest.raises(InputError, match="is missing"):
        ExpertReport.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layers", [3], "layers: Input should be a valid integer"),
        ("threshold", "3", "threshold: Input should be a valid number"),
        ("corpus", [["a"]], "corpus: Value error"),
        ("corpus", [[0.5]], r"an array is \(1, 1\), expected"),
        ("information", [{"layer": 0}], r"information\.0\.information: Field required"),
    ],
)
def test_values_of_another_form_are_refused_by_place(
    report: ExpertReport, tmp_path: Path, key: str, value: Any, message: str
) -> None:
    (tmp_path / "experts.json").write_text(json.dumps(report.to_json() | {key: value}))
    with pytest.raises(InputError, match=message):
        ExpertReport.load(tmp_path / "experts.json")
