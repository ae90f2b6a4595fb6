"""A run folder: every file by one attribute, read when it is asked for."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from moee_topics.errors import InputError
from moee_topics.run_folder import Digests, RunFile, RunFolder, digest_of


def test_a_run_folder_reads_nothing_until_it_is_asked(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "nowhere")
    assert not RunFolder.scores.exists(run) and not (tmp_path / "nowhere").exists()


def test_every_file_of_a_run_is_declared_once() -> None:
    files = [file for file in vars(RunFolder).values() if isinstance(file, RunFile)]
    names = [name for file in files for name in (file.name, *file.beside)]
    assert len(names) == len(set(names)) and {"run.json", "topics.parquet", "report.html", "model"} <= set(names)


def test_an_attribute_reads_its_file_once_and_anew_after_it_was_written(run: Path) -> None:
    opened = RunFolder(run)
    assert opened.scores is opened.scores and opened.scores["npmi"]["value"] == 0.2
    RunFolder.scores.write(opened, {})
    assert opened.scores == {} == RunFolder(run).scores


def test_scores_of_stability_that_an_earlier_version_wrote_have_their_name_of_now(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    fits = {"seeds": "this one and 2 with other seeds.", "bootstrap": "this one and 2 on bootstrap samples (…)."}
    for kind, described in fits.items():
        score = {"value": 0.5, "description": f"Mean of every two of 3 fits: {described}", "higher_is_better": True}
        RunFolder.scores.write(run, {"npmi": score, "stability": score, "ami": score})  # type: ignore[dict-item]
        assert list(run.scores) == ["npmi", f"stability_{kind}", "ami"]


def test_what_is_absent_is_nobodys_to_change(tmp_path: Path) -> None:
    RunFolder(tmp_path).manifest["name"] = "mine"
    assert RunFolder(tmp_path).manifest == {}


class Saved(SimpleNamespace):
    """Stands for a topic model or a fusion: saving leaves its name."""

    def save(self, path: Path, **_: Any) -> None:
        (path / "topics.json" if path.is_dir() else path).write_text(self.name)


def test_the_model_is_written_whole_and_every_file_in_it_has_a_digest(run: Path) -> None:
    opened = RunFolder(run)

    def write(options: dict[str, Any], fusion: Any = None) -> None:
        opened.write_model(Saved(name="topics"), fusion or Saved(name="fusion"), options)  # type: ignore[arg-type]

    write({"options": {}, "key": {}})
    with pytest.raises(AttributeError):
        write({"options": {"later": 1}, "key": {}}, fusion=SimpleNamespace())
    assert opened.encoder == {"options": {}, "key": {}}
    write({"options": {}, "key": {}})
    names = ["model/encoder.json", "model/fusion.safetensors", "model/topics.json"]
    assert opened.digests.read() == {name: digest_of(run / name) for name in names}
    shutil.rmtree(run / "model")
    assert not opened.whole([RunFolder.encoder])


def test_a_run_in_a_notebook_shows_topics_and_documents(run: Path) -> None:
    opened = RunFolder.read(run)
    assert opened.topics["topic"].tolist() == [-1, 0, 1, 2, 3] and len(opened.documents) == 240
    assert opened.scores["npmi"]["value"] == 0.2 and opened.name == "small"
    points = [len(trace.x) for trace in opened.map(top_n_topics=2).data]
    assert len(points) == 3 and sum(points) == 240


def test_a_folder_without_a_run_is_said_to_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no run folder"):
        RunFolder.read(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no finished run"):
        RunFolder.read(tmp_path)
    assert Digests(tmp_path).read() == {}


def test_readers_are_given_the_version_that_holds(run: Path) -> None:
    opened = RunFolder(run)
    assert opened.current is opened and RunFolder.read(run).path == run
    shutil.copytree(run, run / "versions" / "v2")
    RunFolder.history.write(opened, {"fit": "", "current": 2, "next_topic": 4, "versions": []})
    assert RunFolder.read(run).path == RunFolder(run).version(2).path == run / "versions" / "v2"
    assert RunFolder.read(run / "versions" / "v2").path == run / "versions" / "v2"
    RunFolder.history.write(opened, {"fit": "", "current": 1, "next_topic": 4, "versions": []})
    assert RunFolder.read(run).path == run
