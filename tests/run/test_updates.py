"""A run that grows: only what is new is encoded, ids stay for ever, and the last version is always whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from killed_runs import killed
from numpy.typing import NDArray
from tiny_runs import DOCUMENTS, Heard, contents, recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.corpus import Document
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.errors import InputError, ModelError, RecipeError, StoreError
from moee_topics.report import export_report, write_report
from moee_topics.run import policies
from moee_topics.run_folder import RunFolder
from moee_topics.store import writing_alone
from moee_topics.topics import Decision

POLICIES: tuple[pipeline.Policy, ...] = ("assign", "grow", "refit")


@pytest.fixture
def new(tmp_path: Path) -> str:
    return str(write_corpus(tmp_path / "new.jsonl", 30, first=1000))


@pytest.fixture(scope="session")
def updated(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was updated twice, refitted the second time; not to be changed."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("updated") / "runs"))
    first, second = (str(write_corpus(root / f"{at}.jsonl", 30, first=at)) for at in (1000, 2000))
    pipeline.update(root / "run", [first])
    pipeline.update(root / "run", [second], "refit")
    return root


@pytest.fixture
def twice(updated: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(updated, tmp_path / "updated")) / "run"


def rows(path: str | Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def write_rows(path: Path, content: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in content))
    return str(path)


def topic_of(run: RunFolder) -> dict[str, int]:
    return dict(zip(run.result.ids, run.result.topics.tolist(), strict=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_only_new_texts_are_encoded(
    root: Path, new: str, policy: pipeline.Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    encode = MoEEncoder.encode_calls

    def encode_calls(self: MoEEncoder, calls: Any, entries: Any) -> Any:
        return encode(self, (sent.extend(texts) or texts for texts in calls), entries)  # type: ignore[func-returns-value]

    monkeypatch.setattr(MoEEncoder, "encode_calls", encode_calls)
    record = pipeline.update(root / "run", [new], policy).record
    assert sorted(sent) == sorted(row["text"] for row in rows(new))
    assert (record["added"], record["changed"], record["removed"], record["encoded"]) == (30, 0, 0, 30)
    assert record["documents"] == DOCUMENTS + 30


@pytest.mark.parametrize("policy", POLICIES)
def test_a_version_is_a_run_like_any_other(root: Path, new: str, policy: pipeline.Policy) -> None:
    version = pipeline.update(root / "run", [new], policy).run
    assert RunFolder.read(root / "run").path == version.path == root / "run" / "versions" / "v2"
    fresh, model = RunFolder(version.path), RunFolder(version.path).model
    names = {path.relative_to(version.path).as_posix() for path in version.path.rglob("*") if path.is_file()}
    assert set(fresh.digests.read()) == names - {"digests.json"}
    assert model.result.ids == fresh.result.ids and len(model.voters.rows) == DOCUMENTS + 30
    assert np.array_equal(model.voters.topics, model.result.topics[model.voters.rows])
    numbers = np.unique(model.result.topics)
    assert len(model.model.topic_embeddings_) == model.model.c_tf_idf_.shape[0] == len(numbers)
    assert sorted(topic.topic for topic in fresh.result.topic_info) == numbers.tolist()
    assert fresh.manifest["corpus"]["documents"] == DOCUMENTS + 30 and fresh.manifest["finished"]
    assert {node for row in fresh.hierarchy for node in (row["left"], row["right"])} >= set(numbers.tolist()) - {-1}
    assert fresh.name == RunFolder(root / "run").name


@pytest.mark.parametrize("policy", ["assign", "grow"])
def test_old_documents_keep_their_topic_and_place(root: Path, new: str, policy: pipeline.Policy) -> None:
    before = RunFolder(root / "run")
    after = pipeline.update(root / "run", [new], policy).run
    had = before.result.topics != -1
    assert np.array_equal(after.result.topics[:DOCUMENTS][had], before.result.topics[had])
    assert np.array_equal(after.result.positions[:DOCUMENTS], before.result.positions)
    assert np.isfinite(after.result.positions).all()
    names = {topic.topic: topic.name for topic in after.result.topic_info}
    assert all(names[topic.topic] == topic.name for topic in before.result.topic_info)


def test_assign_gives_new_documents_what_predict_gives(root: Path, new: str) -> None:
    predicted = list(pipeline.predict(root / "run", pipeline.corpus_like(root / "run", new)))
    topics = topic_of(pipeline.update(root / "run", [new]).run)
    assert [topics[row.id] for row in predicted] == [row.topic for row in predicted]


def test_predict_works_on_the_new_version(twice: Path) -> None:
    version = RunFolder.read(twice).result
    documents = [Document(name, text) for name, text in zip(version.ids, version.texts, strict=True)]
    rows = list(pipeline.predict(twice, documents))
    assert [row.topic for row in rows] == version.topics.tolist() and all(row.fitted for row in rows)


def test_a_changed_text_is_another_document_of_the_same_id(root: Path, corpus: Path, tmp_path: Path) -> None:
    content = rows(corpus)
    content[3]["text"] = content[4]["text"] + " puck"
    record = pipeline.update(root / "run", [write_rows(tmp_path / "posts.jsonl", content)]).record
    result = RunFolder.read(root / "run").result
    assert (record["added"], record["changed"], record["encoded"]) == (0, 1, 1)
    assert result.ids[3] == "d3" and result.texts[3].endswith("puck") and len(result) == DOCUMENTS


def test_missing_documents_go_only_when_asked(root: Path, corpus: Path, tmp_path: Path) -> None:
    fewer = write_rows(tmp_path / "posts.jsonl", rows(corpus)[10:])
    with pytest.raises(InputError, match="Nothing is new"):
        pipeline.update(root / "run", [fewer])
    before = topic_of(RunFolder(root / "run"))
    updated = pipeline.update(root / "run", [fewer], remove_missing=True)
    assert updated.record["removed"] == 10 and updated.record["documents"] == DOCUMENTS - 10
    assert topic_of(updated.run) == {name: before[name] for name in updated.run.result.ids}


def test_without_files_the_run_s_own_source_is_read_again(tmp_path: Path, tiny_olmoe: Path) -> None:
    corpus = write_corpus(tmp_path / "posts.jsonl")
    pipeline.run(recipe_of(corpus, tiny_olmoe), tmp_path / "run", tmp_path / "store")
    write_corpus(corpus, DOCUMENTS + 5)
    assert pipeline.update(tmp_path / "run").record["added"] == 5
    with pytest.raises(InputError, match="was updated"):
        pipeline.run(recipe_of(corpus, tiny_olmoe), tmp_path / "run", tmp_path / "store")


def test_ids_are_never_used_again(twice: Path, updated: Path) -> None:
    """Also not after an undo: the number of a topic that was undone may stand in somebody's notes."""
    history = RunFolder(twice).history
    assert history is not None
    ids = {topic.topic for number in (1, 2, 3) for topic in RunFolder(twice).version(number).result.topic_info}
    assert history["next_topic"] == max(ids) + 1
    born = {event["topic"] for event in history["versions"][1]["lineage"] if event["event"] == "born"}
    pipeline.undo(twice)
    again = pipeline.update(twice, [str(updated / "2000.jsonl")], "refit", store=updated / "store")
    assert again.run.path.name == "v4" and again.record["parent"] == 2
    assert born and not born & {topic.topic for topic in again.run.result.topic_info}


def test_a_refit_finds_the_topics_again_and_records_the_rest(updated: Path) -> None:
    run = RunFolder(updated / "run")
    old, new = run.version(2).result, run.version(3).result
    history = run.history
    assert history is not None
    lineage = {event["topic"]: event["event"] for event in history["versions"][1]["lineage"]}
    before, after = ({topic.topic for topic in result.topic_info} - {-1} for result in (old, new))
    assert {topic for topic, event in lineage.items() if event == "born"} == after - before
    assert before - after <= set(lineage)
    assert all(new.topic(topic).name == old.topic(topic).name for topic in before & after)


def test_topics_that_are_born_of_the_drift_are_not_more_of_it(
    root: Path, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assigned = pipeline.update(root / "run", [new]).record
    pipeline.undo(root / "run")

    def all_new_are_one_topic(
        X: Any, topics: Any, candidates: Any, is_new: Any, settings: Any, next_topic: int
    ) -> NDArray[np.int64]:
        return np.where(is_new, next_topic, topics)

    # Whether 30 vectors of random weights make a cluster is a matter of the last bit; here they do.
    monkeypatch.setattr(policies, "grown_topics", all_new_are_one_topic)
    grown = pipeline.update(root / "run", [new], "grow").record
    assert grown["topics"] == assigned["topics"] + 1 and [event["event"] for event in grown["lineage"]] == ["born"]
    assert grown["drift"] == assigned["drift"]


def test_undo_gives_back_the_version_before_byte_by_byte(root: Path, new: str) -> None:
    before = contents(root / "run")
    report = write_report(root / "run").read_text()
    pipeline.update(root / "run", [new])
    assert pipeline.undo(root / "run") == 1 and RunFolder.read(root / "run").path == root / "run"
    after = {name: blob for name, blob in contents(root / "run").items() if not name.startswith("versions/")}
    assert {name: blob for name, blob in after.items() if name != "report.html"} == before
    assert (root / "run" / "report.html").read_text() == report
    with pytest.raises(InputError, match="no update to undo"):
        pipeline.undo(root / "run")


def test_report_exports_and_comparison_are_of_the_current_version(twice: Path, tmp_path: Path) -> None:
    page, tables = write_report(twice), export_report(twice, ["csv"])
    assert page == twice / "report.html" and f"{DOCUMENTS + 60} documents" in page.read_text()
    assert {path.parent for path in tables} == {twice / "exports"}
    documents = next(path for path in tables if path.name.startswith("documents"))
    assert len(documents.read_text().splitlines()) > DOCUMENTS + 60


def test_the_recipe_run_again_changes_nothing_and_never_destroys_updates(
    twice: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    before, heard = contents(twice), Heard()
    pipeline.run(recipe_of(corpus, tiny_olmoe), twice, twice.parent / "store", progress=heard)
    assert contents(twice) == before and any("was updated" in note for note in heard.notes)
    with pytest.raises(InputError, match=r"was updated.*--name"):
        pipeline.run(recipe_of(corpus, tiny_olmoe, "seed=7"), twice, twice.parent / "store")
    with pytest.raises(InputError, match="was updated"):
        pipeline.plan(recipe_of(corpus, tiny_olmoe, "seed=7"), twice, twice.parent / "store")
    assert contents(twice) == before


def test_a_damaged_first_version_is_made_again_under_its_updates(
    twice: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    before = contents(twice)
    (twice / "topics.parquet").write_bytes(b"half")
    assert len(RunFolder.read(twice).result) == DOCUMENTS + 60
    pipeline.run(recipe_of(corpus, tiny_olmoe), twice, twice.parent / "store")
    assert contents(twice) == before


def test_undoing_decisions_says_that_the_update_before_them_holds(root: Path, new: str) -> None:
    pipeline.update(root / "run", [new])
    heard = Heard()
    pipeline.decide(root / "run", [Decision("name", topics=(0,), text="First")], progress=heard)
    assert not [note for note in heard.notes if "Without effect" in note]
    assert pipeline.undo(root / "run", progress=heard) == 2
    assert "version 2, are still in: undo once more" in heard.notes[-1]
    told = len(heard.notes)
    assert pipeline.undo(root / "run", progress=heard) == 1 and len(heard.notes) == told


def test_a_damaged_version_is_told_and_undone(twice: Path) -> None:
    path = twice / "versions" / "v3" / "topics.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"v3.topics.parquet is damaged.*--undo"):
        RunFolder.read(twice)
    assert pipeline.undo(twice) == 2 and len(RunFolder.read(twice).result) == DOCUMENTS + 30


def test_a_damaged_list_of_versions_is_told(twice: Path) -> None:
    path = twice / "versions" / "history.json"
    path.write_text(path.read_text().replace('"current": 3', '"current": 2'))
    with pytest.raises(InputError, match=r"history.json is damaged.*Delete it"):
        RunFolder.read(twice)


def test_bad_input_is_refused_and_changes_nothing(root: Path, new: str, tmp_path: Path) -> None:
    before = contents(root)
    with pytest.raises(InputError, match="no finished run"):
        pipeline.update(tmp_path / "nowhere", [new])
    with pytest.raises(InputError, match=r"no policy 'keep'.*assign, grow, refit"):
        pipeline.update(root / "run", [new], "keep")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no column 'body'"):
        pipeline.update(root / "run", [new], overrides=["corpus.text=body"])
    with pytest.raises(RecipeError, match=r"corpus\.txt"):
        pipeline.update(root / "run", [new], overrides=["corpus.txt=body"])
    with pytest.raises(InputError, match="no corpus"):
        pipeline.update(root / "run", [str(tmp_path / "none.csv")])
    with pytest.raises(InputError, match="No document of the run would stay"):
        pipeline.update(root / "run", [new], remove_missing=True)
    with writing_alone(root / "run"), pytest.raises(StoreError, match="is writing to"):
        pipeline.update(root / "run", [new])
    assert {name: blob for name, blob in contents(root).items() if "writer" not in name} == before


def test_an_update_by_another_model_is_refused(root: Path, new: str, tiny_qwen2_moe: Path) -> None:
    run = RunFolder(root / "run")
    run.encoder["options"]["model"] = str(tiny_qwen2_moe)
    RunFolder.encoder.write(run, run.encoder)
    with pytest.raises(ModelError, match="is not the one"):
        pipeline.update(root / "run", [new])
    assert RunFolder.read(root / "run").path == root / "run"


def test_a_kill_leaves_the_last_version_whole(root: Path, new: str) -> None:
    outcomes = killed(root / "run", new, "assign", [1, 7, 20, 45, 70, 95, 10**9])
    assert [code for _, code, _, _ in outcomes][-1] == 0 and outcomes[0][1] == 9
    for _, code, name, size in outcomes:
        assert (name, size) in ([("run", DOCUMENTS)] if code else [("v2", DOCUMENTS + 30)]), outcomes
    assert [path.name for path in (root / "run" / "versions").iterdir() if path.is_dir()] == ["v2"]


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["assign", "grow", "refit"])
def test_a_kill_at_any_sync_leaves_the_last_version_or_the_new_one(
    root: Path, new: str, policy: pipeline.Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = list[tuple[str, int]]()

    def looked_at(_: int) -> None:
        """What readers are given of the folder as it is now, which is what a kill would leave."""
        left = Path(shutil.copytree(root / "run", tmp_path / "left" / "run"))
        current = RunFolder.read(left)
        for file in (RunFolder.result, RunFolder.model, RunFolder.scores, RunFolder.encoder, RunFolder.manifest):
            file.check(current)
        held.append((current.path.name, len(current.result)))
        shutil.rmtree(left)

    monkeypatch.setattr(os, "fsync", looked_at)
    pipeline.update(root / "run", [new], policy)
    assert len(held) > 30 and held == sorted(held), "no reader goes back"
    assert set(held) == {("run", DOCUMENTS), ("v2", DOCUMENTS + 30)}
