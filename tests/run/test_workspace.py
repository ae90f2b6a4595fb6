"""What the stages share: one survey, and the very documents of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import DOCUMENTS, Heard, recipe_of, write_corpus

from moee_topics.errors import InputError, StoreError
from moee_topics.run.workspace import Workspace


@pytest.fixture
def work(tmp_path: Path, tiny_olmoe: Path, finished: Path) -> Workspace:
    path = write_corpus(tmp_path / "posts.jsonl")
    return Workspace(recipe_of(path, tiny_olmoe), tmp_path / "run", finished / "store", Heard())


def test_a_corpus_is_surveyed_once_and_said_to_be(work: Workspace) -> None:
    assert work.survey is work.survey and work.survey.documents == DOCUMENTS
    assert work.progress.ended == {"corpus": f"{DOCUMENTS} documents, {DOCUMENTS} different"}  # type: ignore[attr-defined]
    assert [document.id for document in work.documents()] == [f"d{number}" for number in range(DOCUMENTS)]


@pytest.mark.parametrize("documents", [DOCUMENTS - 1, DOCUMENTS + 1, 0])
def test_documents_of_another_corpus_than_the_surveyed_are_refused(work: Workspace, documents: int) -> None:
    assert work.survey.documents == DOCUMENTS
    write_corpus(Path(work.recipe.corpus.source), documents)
    with pytest.raises(InputError, match="changed while it was worked on"):
        work.documents()


def test_what_is_missing_is_all_where_nothing_was_encoded_like_this(work: Workspace, tmp_path: Path) -> None:
    assert work.missing() == 0
    assert Workspace(work.recipe, tmp_path, tmp_path / "empty").missing() == DOCUMENTS


def test_a_folder_is_written_by_one_workspace_at_a_time(work: Workspace) -> None:
    other = Workspace(work.recipe, work.folder, work.store)
    with work.writing(), pytest.raises(StoreError, match="is writing to"), other.writing():
        pass
