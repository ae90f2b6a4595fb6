"""The report of experts as a file: what was saved reads back, and nothing else does."""

from __future__ import annotations

from pathlib import Path

import pytest

from moee_topics.errors import InputError
from moee_topics.evaluate.expert_report import ExpertReport


def test_a_saved_report_reads_back_the_same(report: ExpertReport, tmp_path: Path) -> None:
    report.save(tmp_path / "experts.json")
    again = ExpertReport.load(tmp_path / "experts.json")
    assert again.to_json() == report.to_json()
    (tmp_path / "experts.json").write_text('{"layers": 3}')
    with pytest.raises(InputError, match="no expert report"):
        ExpertReport.load(tmp_path / "experts.json")
    with pytest.raises(InputError, match="cannot be read"):
        ExpertReport.load(tmp_path / "nowhere.json")
