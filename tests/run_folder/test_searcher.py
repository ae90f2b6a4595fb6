"""What is nearest to a text in a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from small_run import HOSTILE

from moee_topics.errors import InputError
from moee_topics.run_folder import Found, RunFolder


def test_a_document_finds_itself_first_and_the_others_by_falling_similarity(searched: RunFolder) -> None:
    documents = searched.documents
    row = int((documents["topic"] >= 0).idxmax())
    found = searched.search(documents["text"][row], most=5)
    assert len(found.documents) == 5 and found.documents["id"][0] == documents["id"][row]
    assert found.documents["similarity"][0] == pytest.approx(1.0, abs=2e-3)
    assert found.documents["topic"][0] == documents["topic"][row]
    for frame in (found.documents, found.topics):
        assert frame["similarity"].is_monotonic_decreasing and frame["similarity"].between(-1.01, 1.01).all()
    assert set(found.topics["topic"]) <= {topic.topic for topic in searched.ranked_topics}


def test_no_more_is_given_than_there_is(searched: RunFolder) -> None:
    found = searched.search("orbit moon rocket", most=10_000)
    assert len(found.documents) == len(set(searched.result.texts))
    assert len(found.topics) == len(searched.ranked_topics)


def test_a_text_is_cleaned_as_the_documents_were(searched: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(searched.path, tmp_path / "run")))
    run.manifest["recipe"]["corpus"]["clean"] = "html"
    RunFolder.manifest.write(run, run.manifest)
    text = searched.result.texts[0]
    assert run.search(f"<p>{text}</p>").documents.equals(searched.search(text).documents)
    assert searched.search("a < b, c > d").text == "a < b, c > d"
    with pytest.raises(InputError, match="expected a text"):
        run.search("<p></p>")


@pytest.mark.parametrize("text", ["", " \n", None, 3])
def test_nothing_is_near_to_no_text(searched: RunFolder, text: object) -> None:
    with pytest.raises(InputError, match="expected a text"):
        searched.search(text)  # type: ignore[arg-type]


def test_what_a_notebook_shows_is_escaped() -> None:
    frame = pd.DataFrame({"text": list(HOSTILE), "name": list(HOSTILE)})
    shown = Found(HOSTILE[0], frame, frame)._repr_html_()
    assert "<script" not in shown and "<img" not in shown and "<svg" not in shown and "&lt;script&gt;" in shown


def test_a_similarity_has_three_digits_in_a_notebook() -> None:
    shown = Found("text", pd.DataFrame({"similarity": [0.123456]}), pd.DataFrame({"topic": [3]}))._repr_html_()
    assert ">0.123<" in shown and ">3<" in shown
