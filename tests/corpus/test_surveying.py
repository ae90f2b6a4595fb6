"""What a file loses or holds by mistake is counted and said, with the setting that changes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from moee_topics.corpus import Corpus, CorpusSettings, Survey, open_corpus, survey
from moee_topics.corpus.document import Record
from moee_topics.errors import InputError


def surveyed(path: Path, **settings: Any) -> Survey:
    return survey(open_corpus(CorpusSettings(str(path), **settings)))


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_words_for_no_label_are_no_classes(tmp_path: Path) -> None:
    words = ["NaN", "None", "NA", "", "null", "n/a", "#N/A", None, float("nan")]
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate([*words, "a", "none"])]
    path = table(tmp_path / "t.jsonl", rows)
    whole = surveyed(path)
    assert whole.label_names == ("a", "none") and sum(whole.missing_labels.values()) == 6
    assert any("'NaN', 'None', 'NA'" in note and "corpus.missing" in note for note in whole.notes)
    assert whole.to_json()["missing_labels"]["NaN"] == 1
    assert surveyed(path, missing=("NaN",)).label_names == ("#N/A", "NA", "None", "a", "n/a", "none", "null")


def test_a_column_called_time_that_holds_none_is_not_read(tmp_path: Path) -> None:
    rows = [{"text": f"text {i}", "time": i % 24} for i in range(30)]
    path = table(tmp_path / "t.jsonl", rows)
    whole = surveyed(path)
    assert whole.timestamps is None and whole.documents == 30
    assert any("corpus.timestamp" in note for note in whole.notes)
    with pytest.raises(InputError, match="line 1: 0 is not a time"):
        surveyed(path, timestamp="time")


def test_dates_day_first_are_refused_until_their_format_is_said(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"text": f"{i}", "date": f"{i + 1:02d}/05/2024"} for i in range(20)])
    with pytest.raises(InputError, match=r"line 1: '01/05/2024' is not a time.*corpus\.time_format"):
        surveyed(path)
    assert surveyed(path, time_format="%d/%m/%Y").timestamps == ("2024-05-01T00:00:00", "2024-05-20T00:00:00")


def test_empty_ids_are_places_and_numbers_are_names(tmp_path: Path) -> None:
    ids = ["", None, float("nan"), 7, 7.0, "7", 1.5]
    path = table(tmp_path / "t.jsonl", [{"id": name, "text": "t"} for name in ids])
    found = [document.id for document in open_corpus(CorpusSettings(str(path)))]
    assert found == ["line 1", "line 2", "line 3", "7", "7#2", "7#3", "1.5"]


def test_ten_thousand_equal_ids_take_ten_thousand_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in digests, of which each id needs two and the old way one for every copy before it."""
    from moee_topics.corpus import document as module

    calls = 0
    hash_of = module.hashlib.blake2b

    def counting(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return hash_of(*args, **kwargs)

    ids = module._UniqueIds()
    monkeypatch.setattr(module.hashlib, "blake2b", counting)
    names = [ids.unique("7")[0] for _ in range(10_000)]
    assert names[:3] == ["7", "7#2", "7#3"] and len(set(names)) == 10_000
    assert calls < 40_000


def test_hidden_files_of_a_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.txt").write_text(f"\ufefftext {i}", encoding="utf-8")
    (tmp_path / "._0.txt").write_bytes(bytes(range(128, 200)))
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.txt").write_text("hidden")
    corpus = open_corpus(CorpusSettings(str(tmp_path)))
    assert [document.text for document in corpus] == [f"text {i}" for i in range(5)]
    whole = survey(corpus)
    assert whole.to_json()["left_out"] == {"hidden files": 2} and "Hidden files left out: 2." in whole.notes


def test_markup_in_many_documents_is_noted_and_taken_away(tmp_path: Path) -> None:
    rows = [{"text": f'<p class="x"><a href="#">bread {i}</a>&amp; <img src=x onerror=1></p>'} for i in range(40)]
    path = table(tmp_path / "t.jsonl", rows)
    assert any("40 of 40" in note and "corpus.clean=html" in note for note in surveyed(path).notes)
    assert surveyed(path, clean="html").notes == []
    assert [d.text for d in open_corpus(CorpusSettings(str(path), clean="html", limit=1))] == ["bread 0&"]


def test_a_corpus_without_faults_has_no_notes(tmp_path: Path) -> None:
    path = table(tmp_path / "t.jsonl", [{"text": f"a < b {i}", "label": "x", "date": "2024"} for i in range(9)])
    assert surveyed(path).notes == []


def test_empty_texts_and_repeated_ids_are_noted() -> None:
    records = [Record("1", "a", id="x"), Record("2", "b", id="x"), Record("3", " "), Record("4", float("nan"))]
    whole = survey(Corpus("s", "s", lambda: iter(records), CorpusSettings("s")))
    assert (whole.documents, whole.empty, whole.duplicate_ids) == (2, 2, 1)
    assert len(whole.notes) == 2
