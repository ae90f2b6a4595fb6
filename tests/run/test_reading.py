"""New documents are read as the run read its own."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from typing import Any

import pytest

from moee_topics.errors import InputError
from moee_topics.run import corpus_like
from moee_topics.run_folder import RunFolder


def reading(finished: Path, folder: Path, **corpus: Any) -> Path:
    """A copy of the run whose corpus was read otherwise."""
    run = RunFolder(Path(shutil.copytree(finished / "run", folder)))
    run.manifest["recipe"]["corpus"] |= corpus
    RunFolder.manifest.write(run, run.manifest)
    return run.path


def test_new_files_are_read_from_the_column_that_the_run_found_by_a_usual_name(finished: Path, tmp_path: Path) -> None:
    run = reading(finished, tmp_path / "run", text=None)
    folder = RunFolder(run)
    assert folder.manifest["corpus"]["text_columns"] == ["text"]
    folder.manifest["corpus"]["text_columns"] = ["body"]  # as of a corpus that had no other of these names
    RunFolder.manifest.write(folder, folder.manifest)
    (tmp_path / "new.csv").write_text("text,body\na summary,orbit moon\n")
    assert [document.text for document in corpus_like(run, str(tmp_path / "new.csv"))] == ["orbit moon"]
    named = corpus_like(run, str(tmp_path / "new.csv"), ["corpus.text=text"])
    assert [document.text for document in named] == ["a summary"]
    (tmp_path / "other.csv").write_text("text\na summary\n")
    with pytest.raises(InputError, match=r"no column 'body' \(corpus\.text\)"):
        list(corpus_like(run, str(tmp_path / "other.csv")))
    (tmp_path / "lines.txt").write_text("orbit moon\n")
    assert [document.text for document in corpus_like(run, str(tmp_path / "lines.txt"))] == ["orbit moon"]


@pytest.mark.parametrize("source", ["-", "new.txt", "new.txt.gz", "folder"])
def test_a_source_without_columns_is_refused_where_a_run_joined_two(
    finished: Path, tmp_path: Path, source: str
) -> None:
    run = reading(finished, tmp_path / "run", text=["title", "abstract"], id="key")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.txt").write_text("rye bread")
    (tmp_path / "new.txt").write_text("rye bread\n")
    (tmp_path / "new.txt.gz").write_bytes(gzip.compress(b"rye bread\n"))
    path = source if source == "-" else str(tmp_path / source)
    with pytest.raises(InputError, match=r"is title and abstract, and .* has no columns.*corpus\.text=null"):
        corpus_like(run, path)
    if source != "-":
        assert [one.text for one in corpus_like(run, path, ["corpus.text=null"])] == ["rye bread"]


def test_the_texts_of_a_source_without_columns_stand_for_those_of_one_column(finished: Path, tmp_path: Path) -> None:
    run = reading(finished, tmp_path / "run", text="body", id="key", timestamp="day", time_format="%d/%m/%Y")
    (tmp_path / "new.txt").write_text("rye bread\n")
    assert [one.text for one in corpus_like(run, str(tmp_path / "new.txt"))] == ["rye bread"]
    (tmp_path / "new.csv").write_text("key,body\n1,rye bread\n")
    assert [(one.id, one.text) for one in corpus_like(run, str(tmp_path / "new.csv"))] == [("1", "rye bread")]
    with pytest.raises(InputError, match=r"has no columns, so that corpus\.text would do nothing"):
        corpus_like(run, str(tmp_path / "new.txt"), ["corpus.text=title"])
