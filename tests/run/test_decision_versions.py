"""Decisions become versions: noted first, applied by one step, kept through updates, taken back one by one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from killed_runs import killed
from tiny_runs import Heard, contents, recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.errors import InputError, RecipeError
from moee_topics.report import export_report, write_report
from moee_topics.run_folder import RunFolder, read_decisions
from moee_topics.topics import OUTLIERS, Decision


@pytest.fixture
def new(tmp_path: Path) -> str:
    return str(write_corpus(tmp_path / "new.jsonl", 30, first=1000))


def name(topic: int, text: str) -> Decision:
    return Decision("name", (topic,), text=text)


def topic_of(run: RunFolder) -> dict[str, int]:
    return dict(zip(run.result.ids, run.result.topics.tolist(), strict=True))


def state_of(run: Path) -> dict[str, str]:
    return {str(outcome.decision): outcome.state for outcome in RunFolder(run).current.decisions}


def test_a_name_is_a_version_that_copies_nothing_and_shows_everywhere(root: Path, no_model: None) -> None:
    run = root / "run"
    before = RunFolder(run)
    made = pipeline.decide(run, [name(0, "<b>Space</b>"), Decision("note", (0,), text="Two readers agree")])
    assert made.record["policy"] == "decide" and made.record["lineage"] == [] and made.record["encoded"] == 0
    version = RunFolder.read(run)
    assert version.path == made.run.path == run / "versions" / "v2"
    assert version.result.topic(0).name == "<b>Space</b>" and before.result.topic(0).name != "<b>Space</b>"
    assert (version.path / "topics.parquet").stat().st_ino == (run / "topics.parquet").stat().st_ino
    assert "<b>Space</b>" in version.model.model.custom_labels_
    topics = version.topics.set_index("topic")
    assert topics.loc[0, "name"] == "<b>Space</b>" and topics.loc[0, "note"] == "Two readers agree"
    page = write_report(run).read_text()
    assert "&lt;b&gt;Space&lt;/b&gt;" in page and "<b>Space" not in page
    table = next(path for path in export_report(run, ["csv"]) if path.name.startswith("topics"))
    assert "<b>Space</b>" in table.read_text()
    for file in (RunFolder.result, RunFolder.model, RunFolder.decisions, RunFolder.manifest):
        file.check(RunFolder(version.path))


def test_merged_split_and_dropped_topics_are_a_version_like_any_other(root: Path, new: str) -> None:
    run, old = root / "run", RunFolder(root / "run").result
    first, second, third = (topic.topic for topic in RunFolder(run).ranked_topics[:3])
    made = pipeline.decide(run, [Decision("merge", (first, second)), Decision("drop", (third,))])
    topics, events = made.run.result.topics, {event["topic"]: event for event in made.record["lineage"]}
    assert np.array_equal(topics == first, np.isin(old.topics, [first, second]))
    assert (topics[old.topics == third] == OUTLIERS).all()
    assert events[second]["event"] == "merged" and events[third]["event"] == "gone"
    split = pipeline.decide(run, [Decision("split", (first,))])
    parts = read_decisions(run / "decisions.yaml")[-1].into
    history = RunFolder(run).history
    assert history is not None and len(parts) == 2 and min(parts) > old.topics.max()
    assert history["next_topic"] == max(parts) + 1
    assert {event["event"] for event in split.record["lineage"]} == {"born", "split"}
    assert [row.fitted for row in pipeline.predict(run, pipeline.corpus_like(run, new))] == [False] * 30
    assert set(topic_of(split.run).values()) >= set(parts)


@pytest.mark.parametrize("policy", ["assign", "grow", "refit"])
def test_decisions_hold_through_updates(root: Path, new: str, policy: pipeline.Policy) -> None:
    run = root / "run"
    ranked = RunFolder(run).ranked_topics
    first, second, third = (topic.topic for topic in ranked[:3])
    pinned = RunFolder(run).result.ids[int(np.flatnonzero(RunFolder(run).result.topics == second)[0])]
    decisions = [
        name(first, "Kept"),
        Decision("pin", (third,), documents=(pinned,)),
        Decision("note", (third,), text="Look again"),
        Decision("seed", seeds=("puck", "goalie")),
    ]
    pipeline.decide(run, decisions)
    heard = Heard()
    updated = pipeline.update(run, [new], policy, progress=heard)
    assert updated.record["decisions"] == [] and len(updated.run.decisions) == 4
    alive = {topic.topic for topic in updated.run.result.topic_info}
    for decision, topic in ((str(decisions[0]), first), (str(decisions[1]), third)):
        assert state_of(run)[decision] == ("applied" if topic in alive else "conflict")
        assert topic in alive or any(decision in note for note in heard.notes), "told, not dropped"
    if first in alive:
        assert updated.run.result.topic(first).name == "Kept"
    if third in alive:
        assert topic_of(updated.run)[pinned] == third and updated.run.notes == {third: "Look again"}
    assert {decision.key for decision in read_decisions(run / "decisions.yaml")} == {one.key for one in decisions}


def test_undo_takes_the_decision_out_of_the_file_and_nothing_else(root: Path) -> None:
    run, path = root / "run", root / "run" / "decisions.yaml"
    pipeline.decide(run, [name(0, "First name")])
    path.write_text(path.read_text() + "# by hand, not applied yet\n- note: 'mine'\n  topic: 1\n")
    before = contents(run / "versions" / "v2")
    pipeline.decide(run, [name(0, "Second name")])
    assert [str(one) for one in read_decisions(path)] == ["note on 1: mine", "name 0: Second name"]
    assert pipeline.undo(run) == 2
    assert RunFolder.read(run).result.topic(0).name == "First name"
    assert [str(one) for one in read_decisions(path)] == ["name 0: First name"]
    assert contents(run / "versions" / "v2") == before
    assert pipeline.undo(run) == 1 and read_decisions(path) == []
    with pytest.raises(InputError, match="no update to undo"):
        pipeline.undo(run)


def test_what_is_written_by_hand_is_applied_completed_or_told(root: Path, new: str) -> None:
    run, path = root / "run", root / "run" / "decisions.yaml"
    path.write_text(
        "# mine\n- name: Nobody\n  topic: 99\n- name: By hand\n  topic: 0\n- merge: [0, 98]\n"
        "- pin: gone\n  topic: 1\n- name: Found by its words\n  topic: 97\n  words: "
        f"{[word for word, _ in RunFolder(run).result.topic(2).words]}\n"
    )
    heard = Heard()
    made = pipeline.update(run, [new], progress=heard)
    assert list(state_of(run).values()) == ["conflict", "applied", "conflict", "conflict", "applied"]
    assert len(heard.notes) == 3 and heard.notes[0] == "Not applied: name 99: Nobody. Topic 99 is not there."
    assert made.record["decisions"] == ["name 0: By hand", "name 2: Found by its words"], "what an undo takes back"
    found = read_decisions(path)
    assert found[1].words and found[4].topics == (2,) and made.run.result.topic(2).name == "Found by its words"
    assert path.read_text().startswith("# mine\n- name: Nobody\n  topic: 99\n")
    assert pipeline.decide(run) is None, "a version is made once"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True)[:3]))
    assert pipeline.decide(run).record["decisions"] == []
    again = RunFolder.read(run).result.topic(2)
    assert again.name == ", ".join(word for word, _ in again.words[:4])


def test_another_fit_gets_the_decisions_that_lie_in_its_folder(
    root: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    run, other = root / "run", root / "other"
    pipeline.decide(run, [name(1, "One")])
    other.mkdir()
    shutil.copyfile(run / "decisions.yaml", other / "decisions.yaml")
    recipe = recipe_of(corpus, tiny_olmoe, "seed=42")
    pipeline.run(recipe, other, root / "store")
    assert RunFolder.read(other).path == other / "versions" / "v2"
    assert "One" in {topic.name for topic in RunFolder.read(other).result.topic_info}
    before = contents(other)
    pipeline.run(recipe, other, root / "store")
    assert contents(other) == before, "once is enough"
    (other / "decisions.yaml").write_text("- drop")
    with pytest.raises(RecipeError, match="line 1"):
        pipeline.run(recipe, other, root / "store")


@pytest.mark.parametrize(
    ("decision", "error", "said"),
    [
        (name(99, "Nobody"), InputError, "There is no topic 99"),
        (Decision("merge", (0, 0)), RecipeError, "not two topics"),
        (Decision("merge", (0, 99)), InputError, "There is no topic 99"),
        (Decision("pin", (0,), documents=("gone",)), InputError, "There is no document 'gone'"),
        (name(0, " "), RecipeError, "a line of 1 to 200"),
        (Decision("drop", (OUTLIERS,)), RecipeError, "drop is -1"),
    ],
)
def test_a_new_decision_that_is_none_is_refused(
    root: Path, decision: Decision, error: type[Exception], said: str
) -> None:
    before = contents(root)
    with pytest.raises(error, match=said):
        pipeline.decide(root / "run", [decision])
    assert {file: blob for file, blob in contents(root).items() if "writer" not in file} == before


def test_a_file_with_a_slip_stops_an_update_before_it_begins(root: Path, new: str) -> None:
    (root / "run" / "decisions.yaml").write_text("- drop: 1\n- drip: 2\n")
    with pytest.raises(RecipeError, match=r"line 2.*is not a decision"):
        pipeline.update(root / "run", [new])
    assert not (root / "run" / "versions").exists()


def test_a_decision_that_cannot_be_applied_leaves_the_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(root / "store")
    run = RunFolder(root / "run")
    run.encoder["options"]["model"] = str(root / "gone")
    RunFolder.encoder.write(run, run.encoder)
    with pytest.raises(Exception, match="gone"):
        pipeline.decide(root / "run", [Decision("drop", (0,))])
    assert read_decisions(root / "run" / "decisions.yaml") == []
    assert RunFolder.read(root / "run").path == root / "run"


def test_a_kill_leaves_the_decision_in_the_file_or_applied(root: Path) -> None:
    call = "pipeline.decide(folder, [Decision('name', (0,), text=new)])"
    outcomes = killed(root / "run", "Named", "assign", [1, 3, 8, 20, 10**9], call)
    assert [code for _, code, _, _ in outcomes][-1] == 0
    assert {path for _, code, path, _ in outcomes if code} <= {"run", "v2"}
    assert RunFolder.read(root / "run").result.topic(0).name == "Named"
    assert [one.text for one in read_decisions(root / "run" / "decisions.yaml")] == ["Named"]
