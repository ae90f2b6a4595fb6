"""A run from Python: what the command line does with files, it does with objects, and says the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from chat_servers import chat_server, saying
from tiny_runs import DOCUMENTS, write_corpus

import moee_topics
from moee_topics import run as pipeline
from moee_topics.errors import InputError, RecipeError
from moee_topics.run import Run, corpus_like
from moee_topics.run_folder import RunFolder
from moee_topics.topics import CheckSettings, LabelSettings


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "new.jsonl", 12, first=1000)


@pytest.fixture
def frame(new: Path) -> pd.DataFrame:
    return pd.DataFrame([json.loads(line) for line in new.read_text().splitlines()])


@pytest.fixture(scope="session")
def opened(finished: Path) -> Run:
    """A finished run, whose model is loaded once; not to be changed."""
    return Run.read(finished / "run")


KINDS: dict[str, Callable[[pd.Series], Any]] = {
    "a list": list,
    "a generator": lambda texts: (text for text in texts),
    "pandas": lambda texts: texts,
    "polars": lambda texts: pl.Series(list(texts)),
    "Arrow": lambda texts: pa.chunked_array([list(texts)]),
    "numpy": lambda texts: texts.to_numpy(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_any_kind_get_the_topics_of_the_same_file(
    opened: Run, frame: pd.DataFrame, new: Path, kind: str
) -> None:
    from_file = list(pipeline.predict(opened.path, corpus_like(opened.path, str(new))))
    given = opened.predict(KINDS[kind](frame.text), ids=frame.id)
    assert list(given["topic"]) == [row.topic for row in from_file] and list(given["id"]) == list(frame.id)
    assert list(given["name"]) == [row.name for row in from_file] and not given["fitted"].any()


@pytest.mark.parametrize("table", [lambda frame: frame, pl.from_pandas, pa.Table.from_pandas])
def test_a_table_is_read_by_the_columns_of_the_run(opened: Run, frame: pd.DataFrame, table: Any) -> None:
    assert list(opened.predict(table(frame))["topic"]) == list(opened.predict(frame.text)["topic"])
    with pytest.raises(
        InputError, match=r"the documents given has no column .text. .corpus.text.. Its columns are: id, x"
    ):
        opened.predict(table(frame.rename(columns={"text": "x"})))


def test_predictions_stand_where_their_documents_stood(opened: Run, frame: pd.DataFrame) -> None:
    some = frame[frame.index % 3 == 1].copy()
    some["topic"] = opened.predict(some.text)["topic"]
    assert some["topic"].notna().all() and list(some["topic"]) == list(opened.predict(list(some.text))["topic"])
    found = opened.predict(["orbit moon rocket", "  \n", "puck goal hockey"])
    assert list(found.index) == [0, 1, 2] and list(found["id"]) == ["row 0", "row 1", "row 2"]
    assert found.loc[1].to_dict() == {
        "id": "row 1",
        "topic": -1,
        "name": "",
        "probability": 0.0,
        "fitted": False,
        "far": False,
    }
    assert list(opened.predict([]).columns) == list(found.columns) and opened.predict([]).empty
    assert found.attrs["drift"]["documents"] == 2 and found.attrs["drift"]["advice"] == "none", "they are too few"
    assert opened.predict([]).attrs["drift"] is None


def test_texts_are_cleaned_as_the_run_cleaned_its_own(finished: Path, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(finished / "run", tmp_path / "run")))
    run.manifest["recipe"]["corpus"] |= {"clean": "html"}
    RunFolder.manifest.write(run, run.manifest)
    own = run.result.texts[0]
    assert run.predict([f"<p>{own}</p>"])["fitted"].all()
    (row,) = moee_topics.predict(run.path, [f"<p>{own}</p>"], ids=["a"])
    assert row.fitted and row.id == "a"


def test_what_cannot_be_read_is_told_by_its_place(opened: Run) -> None:
    for documents, message in (
        (["one", None], r"Document 1 is missing"),
        ([1, 2], r"Document 0 is of type int"),
        ("a text", r"must be a list, a generator or a column"),
    ):
        with pytest.raises(InputError, match=message):
            opened.predict(documents)
    with pytest.raises(InputError, match=r"needs one entry, got 2 documents, 1 ids"):
        opened.predict(["one", "two"], ids=["a"])


def test_searches_take_the_model_that_predicts(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "moee_topics.run_folder.searcher.load_fitted_encoder", lambda *_: pytest.fail("the model is loaded twice")
    )
    run = Run.read(finished / "run")
    text = run.result.texts[0]
    assert run.search(text).documents["topic"][0] == run.predict([text])["topic"][0] == run.result.topics[0]


def test_an_update_with_objects_is_that_with_the_file(root: Path, frame: pd.DataFrame, new: Path) -> None:
    other = Path(shutil.copytree(root / "run", root / "other"))
    run = Run.read(root / "run").update(frame.text, "grow", ids=frame.id, labels=frame.label, timestamps=frame.date)
    by_file = pipeline.update(other, [str(new)], "grow").run
    assert isinstance(run, Run) and run.number == 2 and run.path == root / "run" / "versions" / "v2"
    pd.testing.assert_frame_equal(run.documents, by_file.documents)
    history = RunFolder(root / "run").history
    assert history is not None and history["versions"][0]["sources"] == ["the documents given"]


def test_a_table_updates_by_the_columns_of_the_run_and_documents_without_ids_by_their_text(
    root: Path, frame: pd.DataFrame
) -> None:
    run = Run.read(root / "run").update(frame)
    assert set(frame.id) <= set(run.documents["id"]) and len(run.documents) == DOCUMENTS + len(frame)
    with pytest.raises(InputError, match=r"Nothing is new: every document of the documents given is in version 2"):
        run.update(list(frame.text))
    assert len(run.update([*frame.text, "orbit moon rocket shuttle"]).documents) == DOCUMENTS + len(frame) + 1


def test_versions_are_listed_compared_and_taken_back(root: Path, frame: pd.DataFrame) -> None:
    first = Run.read(root / "run")
    with pytest.raises(InputError, match="there is none before it"):
        first.diff()
    second = first.update(frame.text, ids=frame.id)
    kept = write_corpus(root / "kept.jsonl", 40)
    third = second.update(frame.text[:5], remove_missing=True, sources=[str(kept)], ids=frame.id[:5])
    assert (first.number, second.number, third.number) == (1, 2, 3)
    assert len(third.documents) == 45 and len(second.documents) == DOCUMENTS + 12 and len(first.documents) == DOCUMENTS
    assert third.versions["parent"].fillna(0).tolist() == [0, 1, 2]
    assert third.versions["documents"].tolist() == [DOCUMENTS, DOCUMENTS + 12, 45]
    assert third.diff().versions == (2, 3) and third.diff(1).versions == (1, 3)
    assert (third.diff().removed, first.diff(1, 2).added) == (47, 12)
    back = third.undo()
    assert back.number == 2 and back.undo().number == 1 and Run.read(root / "run").number == 1
    with pytest.raises(InputError, match="no update to undo"):
        first.undo()


def test_decisions_are_those_of_the_file_and_conflicts_are_warnings(root: Path, no_model: None) -> None:
    run = Run.read(root / "run")
    kept, other = (topic.topic for topic in run.ranked_topics[:2])
    merged = run.decide({"name": "Space flight", "topic": kept}, {"merge": [kept, other]})
    assert merged.result.topic(kept).name == "Space flight" and other not in set(merged.topics["topic"])
    with pytest.raises(RecipeError, match=r"decide\(\): .* is not a decision"):
        run.decide({"rename": "Space flight"})
    with pytest.warns(UserWarning, match=f"Not applied: split {kept} into 50"):
        merged.decide({"split": kept, "parts": 50})


def test_labels_are_judged_and_kept_with_the_version_that_holds(root: Path) -> None:
    run = Run.read(root / "run")
    check = run.check_labels(CheckSettings(documents=2))
    kept = Run.read(root / "run").label_check
    assert check.documents <= 2 * len(run.ranked_topics) and kept and kept.items() >= check.to_json().items()
    labels = {topic.topic: "thing" for topic in run.ranked_topics}
    assert {fit.label for fit in run.check_labels(CheckSettings(documents=2), labels=labels).topics} == {"thing"}
    assert Run.read(root / "run").label_check == kept, "labels that were given are not kept"


def test_what_is_decided_already_makes_no_version(root: Path, no_model: None) -> None:
    run = Run.read(root / "run")
    topic = run.ranked_topics[0].topic
    named = run.decide({"name": "Space flight", "topic": topic})
    again = named.decide({"name": "Space flight", "topic": topic})
    assert (named.number, again.number) == (2, 2) and isinstance(again, Run)


def test_a_language_model_names_the_topics_of_the_version_that_holds(root: Path, no_model: None) -> None:
    run = Run.read(root / "run")
    with chat_server(lambda number, _: saying(f"Subject {'abcdefghij'[number]}")) as server:
        settings = LabelSettings("openai", "m", server.base_url)
        labelled = run.label(settings)
        assert labelled.number == 2 and labelled.ranked_topics[0].name == "Subject a"
        assert labelled.label(settings).number == 2, "all have names"
        assert labelled.label(settings, every=True).number == 2, "and their answers are kept"


def test_a_version_is_exported_as_it_is(root: Path, tmp_path: Path, no_model: None) -> None:
    run = Run.read(root / "run")
    named = run.decide({"name": "Space flight", "topic": run.ranked_topics[0].topic})
    (page,) = named.export("markdown", output=tmp_path / "out")
    assert page == tmp_path / "out" / "report.md" and "Space flight" in page.read_text()
    assert "Space flight" in named.export("csv", "markdown")[-1].read_text()
    with pytest.raises(InputError, match="no export format"):
        named.export("pdf")


def test_labels_without_documents_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match="Ids, labels and timestamps belong to documents"):
        pipeline.update(root / "run", ids=pd.Series(["a", "b"]))
