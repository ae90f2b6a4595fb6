"""Two versions of a run side by side, with the event of every topic known by eye."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_parser import Scripts
from small_run import HOSTILE, small_run

from moee_topics.errors import InputError
from moee_topics.report import compare_versions, write_versions
from moee_topics.run_folder import RunFolder
from moee_topics.topics import Topic, TopicResult


@pytest.fixture
def versions(tmp_path: Path) -> Path:
    """Topic 0 as it was, half of 1 is the new topic 7, 2 went into 3, and ten documents are gone."""
    return make_versions(tmp_path / "run")


def make_versions(folder: Path, **options: Any) -> Path:
    small_run(folder, **options)
    old = TopicResult.load(folder)
    topics = old.topics.copy()
    topics[topics == 2] = 3
    ones = np.flatnonzero(topics == 1)
    topics[ones[: len(ones) // 2]] = 7
    rows = np.array([row for row in range(len(topics)) if row not in np.flatnonzero(topics == -1)[:10]])
    info = [replace(topic, count=int((topics[rows] == topic.topic).sum()), representative_docs=[])
            for topic in old.topic_info if topic.topic != 2]  # fmt: skip
    info = [replace(topic, words=[("turnip", 1.0), *topic.words]) if topic.topic == 3 else topic for topic in info]
    info.append(Topic(7, int((topics[rows] == 7).sum()), old.topic_info[1].name, [("puck", 1.0)]))
    columns = {name: [getattr(old, name)[row] for row in rows] for name in ("ids", "texts", "labels", "timestamps")}
    new = replace(old, **columns, topics=topics[rows], probabilities=old.probabilities[rows],
                  positions=old.positions[rows], topic_info=info)  # fmt: skip
    (folder / "versions" / "v2").mkdir(parents=True)
    new.save(folder / "versions" / "v2")
    record = {"version": 2, "parent": 1, "policy": "assign", "created": "", "sources": [], "documents": len(rows),
              "topics": 4, "added": 0, "changed": 0, "removed": 10, "encoded": 0, "seconds": 0.0,
              "lineage": []}  # fmt: skip
    history = {"fit": "", "current": 2, "next_topic": 8, "versions": [record]}
    RunFolder.history.write(RunFolder(folder), history)  # type: ignore[arg-type]
    return folder


def test_every_topic_has_its_event(versions: Path) -> None:
    comparison = compare_versions(versions, 1, 2)
    topics = {topic.topic: topic for topic in comparison.topics}
    assert list(topics) == [-1, 0, 1, 2, 3, 7]
    assert [list(topics[number].events) for number in topics] == [
        ["shrunk"], [], ["split", "shrunk"], ["merged"], ["grown", "words"], ["born"]]  # fmt: skip
    assert topics[3].gained == ["turnip"] and topics[2].partners == [(3, 1.0)]
    assert topics[7].partners == [(1, 1.0)] and (topics[2].after, topics[7].before) == (0, 0)
    assert comparison.removed == 10 and comparison.added == 0 and comparison.documents == 230
    old = TopicResult.load(versions).topics
    assert len(comparison.moved) == int((old == 2).sum() + (old == 1).sum() // 2)
    assert {(move.before, move.after) for move in comparison.moved} == {(2, 3), (1, 7)}


def test_backwards_it_is_the_reverse_and_with_itself_nothing(versions: Path) -> None:
    back = compare_versions(versions, 2, 1)
    assert {topic.topic: topic.events[0] for topic in back.topics if topic.events[:1] in (["born"], ["merged"])} == {
        2: "born",
        7: "merged",
    }
    assert back.added == 10
    same = compare_versions(versions, 2, 2)
    assert not same.events and not same.moved


def test_the_page_has_all_of_it_and_the_data_is_plain(versions: Path, tmp_path: Path) -> None:
    comparison = compare_versions(versions, 1, 2)
    page = write_versions(versions, comparison)
    text = page.read_text(encoding="utf-8")
    assert page == versions / "versions" / "v1-v2.html"
    assert "230 documents" in text and "split, shrunk" in text and "turnip" in text and "as it was" in text
    assert json.loads(json.dumps(comparison.to_json()))["events"]["merged"] == 1
    assert write_versions(versions, comparison, tmp_path / "other.html").read_text(encoding="utf-8") == text


def test_a_topic_that_was_born_and_went_between_two_versions_is_told(versions: Path) -> None:
    run = RunFolder(versions)
    assert run.history is not None
    made = run.history["versions"][0]
    born = [{"topic": topic, "event": "born", "topics": []} for topic in (7, 8)]
    records = [{**made, "version": 3, "lineage": born}, {**made, "parent": 3}]
    RunFolder.history.write(run, {**run.history, "versions": records})  # type: ignore[typeddict-item]
    comparison = compare_versions(versions, 1, 2)
    told = "Born and gone again between the two, and counted in neither: 8."
    assert comparison.passing == [8] and told in comparison.to_table().notes
    assert told in write_versions(versions, comparison).read_text(encoding="utf-8")
    assert not compare_versions(versions, 2, 1).passing and not compare_versions(versions, 2, 2).passing_note


def test_nothing_of_the_documents_becomes_markup(tmp_path: Path) -> None:
    folder = make_versions(tmp_path / "run", hostile=True)
    text = write_versions(folder, compare_versions(folder, 1, 2)).read_text(encoding="utf-8")
    page = Scripts(text)
    assert len(page.content) == 1 and not any(name.startswith("on") for name, _ in page.attributes)
    assert not {"img", "svg"} & page.tags and HOSTILE[0] not in text
    assert not any(value.startswith("javascript:") for _, value in page.attributes)


def test_a_version_that_is_not_there_is_refused(versions: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no version v5; it has v1, v2"):
        compare_versions(versions, 1, 5)
    small_run(tmp_path / "plain")
    with pytest.raises(InputError, match="it has v1 "):
        compare_versions(tmp_path / "plain", 1, 2)


def test_a_comparison_is_a_table_in_a_notebook_whose_names_are_escaped(tmp_path: Path) -> None:
    comparison = compare_versions(make_versions(tmp_path / "run"), 1, 2)
    shown = comparison._repr_html_()
    assert "<table>" in shown and '<th scope="col" class="number">before</th>' in shown and "<script" not in shown
    (row,) = [row for row in comparison.to_table().rows if row[0] == "2"]
    assert "merged" in row[2] or "gone" in row[2]
