"""A folder for the hub that plain BERTopic loads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import call
from small_run import HOSTILE, bare_run

from moee_topics.errors import InputError
from moee_topics.report import export_report
from moee_topics.report.hub_export import FILES, model_card
from moee_topics.run_folder import RunFolder


def test_plain_bertopic_loads_the_folder_as_its_card_says(fitted: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    (folder,) = export_report(fitted, ["hub"], tmp_path)
    assert {path.name for path in folder.iterdir()} == {*FILES, "README.md"}
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert str(tiny_olmoe.parent) not in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = code.replace('folder = "."', f"folder = {str(folder)!r}").replace("'tiny-olmoe'", repr(str(tiny_olmoe)))
    names: dict[str, object] = {}
    exec(code, names)
    run = RunFolder.read(fitted)
    found, _ = names["topic_model"].transform(list(run.result.texts))  # type: ignore[attr-defined]
    named = {topic: [word for word, _ in words] for topic, words in names["topic_model"].get_topics().items()}  # type: ignore[attr-defined]
    for topic in run.ranked_topics:
        assert named[topic.topic][:3] == [word for word, _ in topic.words][:3]
    # BERTopic gives the nearest topic by its mean vector, which is no vote of documents: mostly the same.
    real = run.result.topics >= 0
    assert (run.result.topics[real] == found[real]).mean() > 0.7


def test_the_folder_holds_neither_texts_nor_vectors_of_documents(fitted: Path, tmp_path: Path) -> None:
    (folder,) = export_report(fitted, ["hub"], tmp_path)
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not [text for text in RunFolder.read(fitted).result.texts if text.encode() in content]
    assert "embedding_model" not in json.loads((folder / "config.json").read_text())
    assert not list(folder.glob("prediction*"))


def test_a_card_keeps_text_of_documents_text(hostile: Path, tmp_path: Path) -> None:
    run = RunFolder.read(hostile)
    run.__dict__["encoder"] = {"options": {"model": "/home/somebody/models/own", "device": "cuda"}, "key": {}}
    card = model_card(run)
    assert not [bad for bad in HOSTILE if bad and bad in card] and "<script" not in card
    assert "/home/somebody" not in card and "cuda" not in card and "MoEEBackend('own', Fusion" in card


def test_a_run_without_its_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model is missing"):
        export_report(bare_run(tmp_path, ["a", "b"]), ["hub"])


def test_the_command_writes_several_forms_at_once(fitted: Path, tmp_path: Path) -> None:
    result = call("export", fitted, "hub", "atlas", "-o", tmp_path)
    assert not result.exit_code
    assert [Path(line).name for line in result.stdout.split()] == ["hub", "atlas.parquet", "atlas_labels.parquet"]
    assert "Choose from markdown" in call("export", fitted, "docx").stderr
