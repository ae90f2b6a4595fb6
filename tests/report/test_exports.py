from __future__ import annotations

import csv
import json
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from failing_disks import FAULTS, fail_from
from small_run import bare_run, small_run

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.report import export_report, write_report
from moee_topics.report import exports as exports_module
from moee_topics.topics.result import TopicResult


def test_the_exported_tables_hold_every_topic_and_document(run: Path, tmp_path: Path) -> None:
    names = {path.name for path in export_report(run, ["csv", "parquet", "json", "markdown"], tmp_path)}
    tables = {f"{table}.{kind}" for table in ("topics", "documents", "experts") for kind in ("csv", "parquet")}
    assert names == tables | {"report.json", "report.md"}
    result = TopicResult.load(run)
    assert pq.read_table(tmp_path / "documents.parquet")["text"].to_pylist() == list(result.texts)
    rows = list(csv.DictReader((tmp_path / "topics.csv").open(encoding="utf-8", newline="")))
    assert sum(int(row["documents"]) for row in rows) == len(result) and rows[-1]["name"] == "Outliers"
    experts = pq.read_table(tmp_path / "experts.parquet").to_pylist()
    assert {(row["topic"], row["layer"], row["expert"]) for row in experts} >= {(t, 2, t) for t in range(4)}
    assert len(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["topics"]) == 5
    assert "| hockey, goal, team |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path) -> None:
    folder = bare_run(tmp_path / "run", ["=HYPERLINK(1)", "+1", "@x", "plain", "\n=1", "＝1", "-2"])
    export_report(folder, ["csv"], tmp_path)
    rows = list(csv.DictReader((tmp_path / "documents.csv").open(encoding="utf-8", newline="")))
    assert [row["text"] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'@x", "plain", "'\n=1", "'＝1", "'-2"]


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
def test_the_map_is_written_as_png(run: Path, tmp_path: Path) -> None:
    (path,) = export_report(run, ["png"], tmp_path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_datamapplot_picture_is_drawn_without_a_network(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datamapplot", reason="needs the extra [datamap]")
    monkeypatch.setattr("requests.sessions.Session.request", lambda *_, **__: pytest.fail("it asks the network"))
    (path,) = export_report(run, ["datamapplot"], tmp_path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_missing_package_and_an_unknown_format_are_clear_errors(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports_module.importlib.util, "find_spec", lambda name: None)
    for name in ("png", "datamapplot"):
        with pytest.raises(MissingExtraError, match=r"moee-topics\[datamap\]"):
            export_report(run, [name], tmp_path)
    with pytest.raises(InputError, match="no export format 'docx'"):
        export_report(run, ["docx"], tmp_path)


@pytest.mark.parametrize("number", FAULTS)
@pytest.mark.parametrize("name", [*list(exports_module.EXPORTS)[:-3], "report"])
def test_a_disk_that_fails_is_named_leaves_nothing_half_and_with_a_good_one_all_is_written(
    name: str, number: int, tmp_path: Path
) -> None:
    run, output = small_run(tmp_path / "run"), tmp_path / "out"

    def write() -> list[Path]:
        return [write_report(run, output / "report.html")] if name == "report" else export_report(run, [name], output)

    error, message = FAULTS[number]
    with pytest.MonkeyPatch.context() as patch:
        fail_from(patch, 1, number)
        with pytest.raises(error, match=f"{tmp_path}.*{message}|{message}.*{tmp_path}"):
            write()
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert not list(output.rglob("*"))
    assert all(path.stat().st_size for path in write())
