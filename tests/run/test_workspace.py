"""What the stages share: one survey, and the very documents of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tiny_runs import DOCUMENTS, Heard, recipe_of, write_corpus

from moee_topics.corpus import Corpus, content_hash, document
from moee_topics.errors import InputError, StoreError
from moee_topics.run import workspace
from moee_topics.run.embed_stage import encode_corpus
from moee_topics.run.workspace import Workspace


@pytest.fixture
def work(tmp_path: Path, tiny_olmoe: Path, finished: Path) -> Workspace:
    path = write_corpus(tmp_path / "posts.jsonl")
    return Workspace(recipe_of(path, tiny_olmoe), tmp_path / "run", finished / "store", Heard())


def test_a_corpus_is_surveyed_once_and_said_to_be(work: Workspace) -> None:
    assert work.survey is work.survey and work.survey.documents == DOCUMENTS
    assert work.progress.ended == {"corpus": f"{DOCUMENTS} documents, {DOCUMENTS} different"}  # type: ignore[attr-defined]
    assert [document.id for document in work.documents()] == [f"d{number}" for number in range(DOCUMENTS)]


@pytest.mark.parametrize("places", [("run", "s3://bucket/store"), ("gs://bucket/run", "store")])
def test_an_address_is_refused_before_the_corpus_is_read(places: tuple[str, str], tiny_olmoe: Path) -> None:
    with pytest.raises(InputError, match="nothing is written to object stores"):
        Workspace(recipe_of(Path("nothing.jsonl"), tiny_olmoe), *map(Path, places))


@pytest.mark.parametrize("documents", [DOCUMENTS - 1, DOCUMENTS + 1, 0])
def test_documents_of_another_corpus_than_the_surveyed_are_refused(
    work: Workspace, documents: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MOST_CHARACTERS_KEPT", 0)  # as a corpus that is too large for it
    assert work.survey.documents == DOCUMENTS
    write_corpus(Path(work.recipe.corpus.source), documents)
    with pytest.raises(InputError, match="changed while it was worked on"):
        work.documents()


@pytest.mark.parametrize(("most", "times"), [(workspace.MOST_CHARACTERS_KEPT, 1), (0, 3)])
def test_a_new_document_is_read_and_hashed_once_in_a_run_unless_its_corpus_is_too_large(
    tmp_path: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, most: int, times: int
) -> None:
    hashed: Counter[str] = Counter()
    passes: list[Corpus] = []
    read = Corpus.__iter__

    def counted(text: str) -> bytes:
        hashed[text] += 1
        return content_hash(text)

    monkeypatch.setattr(workspace, "MOST_CHARACTERS_KEPT", most)
    monkeypatch.setattr(document, "content_hash", counted)
    monkeypatch.setattr(Corpus, "__iter__", lambda self: passes.append(self) or read(self))
    work = Workspace(
        recipe_of(write_corpus(tmp_path / "posts.jsonl"), tiny_olmoe), tmp_path / "run", tmp_path / "store"
    )
    encoded = encode_corpus(work)
    documents = work.documents()
    assert encoded.encoded == len(documents) == DOCUMENTS and len(passes) == times
    assert set(hashed) == {each.text for each in documents} and set(hashed.values()) == {times}


def test_what_is_missing_is_all_where_nothing_was_encoded_like_this(work: Workspace, tmp_path: Path) -> None:
    assert work.missing() == 0
    assert Workspace(work.recipe, tmp_path, tmp_path / "empty").missing() == DOCUMENTS


def test_a_folder_is_written_by_one_workspace_at_a_time(work: Workspace) -> None:
    other = Workspace(work.recipe, work.folder, work.store)
    with work.writing(), pytest.raises(StoreError, match="is writing to"), other.writing():
        pass
