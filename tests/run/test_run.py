"""The road end to end on a tiny random model: what is done is skipped, what is killed goes on, and nothing changes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from bag_of_words import FILLER, THEMES

from moee_topics import embed
from moee_topics import run as pipeline
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.errors import InputError, Interrupted, ModelError, NoTopicsError, ResourceError, StoreError
from moee_topics.fuse import Fusion
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe, parse_recipe
from moee_topics.run import refits as measuring
from moee_topics.run.manifest import Ledger, StageRecord, fingerprint, read_manifest
from moee_topics.store import EmbeddingStore, writing_alone
from moee_topics.topics import FitSettings

DOCUMENTS = 80
FILES = {
    "run.json", "stages.json", "topics.parquet", "documents.parquet", "topic_info.json", "scores.json", "model",
    "experts.json", "hierarchy.json", "over_time.json", "per_class.json", "writer.lock", "digests.json",
}  # fmt: skip


def write_corpus(path: Path, documents: int = DOCUMENTS, first: int = 0) -> Path:
    """Short documents of four themes, with label and date."""
    rows = []
    for number in range(first, first + documents):
        rng = random.Random(number)
        theme, words = list(THEMES.items())[number % 4]
        text = " ".join(rng.choices(words.split(), k=12) + rng.choices(FILLER, k=3))
        rows.append({"id": f"d{number}", "text": text, "label": theme, "date": f"2024-01-{number % 28 + 1:02d}"})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe_of(corpus: Path, model: Path, *overrides: str) -> Recipe:
    data = {
        "corpus": {"source": str(corpus)},
        "encoder": {"model": str(model), "prompt": "none", "pooling": "mean", "max_tokens": 32, "dtype": "float32"},
        "umap": {"n_neighbors": 5, "n_components": 2, "n_epochs": 20},
        "hdbscan": {"min_cluster_size": 4},
        "topics": {"representation": "ctfidf"},
        "report": {"html": False},
    }
    return parse_recipe(data, overrides)


class Heard(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.skipped: list[str] = []
        self.ended: dict[str, str] = {}
        self.notes: list[str] = []
        self.most = 0
        self.fits: list[int] = []

    def advance(self, done: int, total: int, unit: str = "documents") -> None:
        self.fits += [done] if unit == "fits" else []
        self.most = max(self.most, done)

    def end(self, stage: str, seconds: float, outcome: str) -> None:
        self.ended[stage] = outcome

    def skip(self, stage: str, why: str) -> None:
        self.skipped.append(stage)

    def note(self, message: str) -> None:
        self.notes.append(message)


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of the shards and the index of a store, or of the data files of a run."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in {"run.json", "stages.json", "writer.json", "writer.lock"}
    }


@pytest.fixture(autouse=True, scope="module")
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "DOCUMENTS_PER_SHARD", 16)
        patch.setattr(embed, "DOCUMENTS_PER_STEP", 8)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "posts.jsonl")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, corpus: Path, tiny_olmoe: Path, small_shards: None) -> Path:
    """A folder with the store and one finished run; not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store")
    return root


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("the weights were loaded")

    monkeypatch.setattr(MoEEncoder, "from_pretrained", refuse)


def test_two_runs_do_not_write_one_folder(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    with writing_alone(root / "run"), pytest.raises(StoreError, match="is writing to"):
        pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store")
    assert pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store") == root / "run"


def test_a_run_folder_holds_everything_the_report_reads(finished: Path) -> None:
    folder = finished / "run"
    assert {path.name for path in folder.iterdir()} == FILES
    table = pq.read_table(folder / "topics.parquet")
    assert table.column_names == ["id", "topic", "probability", "x", "y", "label", "timestamp"]
    assert table["id"].to_pylist() == [f"d{number}" for number in range(DOCUMENTS)]
    assert {path.name for path in (folder / "model").iterdir()} >= {
        "fusion.safetensors", "encoder.json",
    }  # fmt: skip
    assert not list(folder.rglob("*.pkl")) + list(folder.rglob("*.pickle"))


def test_the_manifest_says_what_was_done(finished: Path, corpus: Path) -> None:
    manifest = read_manifest(finished / "run")
    assert manifest["finished"] is not None and manifest["created"] <= manifest["finished"]
    assert manifest["seed"] == 42 and manifest["recipe"]["umap"]["n_epochs"] == 20
    assert {"python", "moee_topics", "torch", "transformers", "bertopic"} <= set(manifest["versions"])
    facts = manifest["corpus"]
    assert (facts["source"], facts["documents"], facts["labels"]) == (str(corpus), DOCUMENTS, 4)
    assert facts["label_names"] == sorted(THEMES)
    assert facts["timestamps"] == ["2024-01-01T00:00:00", "2024-01-28T00:00:00"]
    assert facts["documents_cut"] > 0 and facts["tokens_lost"] > 0 and facts["tokens"] <= 32 * DOCUMENTS
    encoder = manifest["encoder"]
    assert (encoder["family"], encoder["layers"], encoder["experts"], encoder["hidden_size"]) == ("olmoe", 2, 8, 64)
    assert manifest["fusion"]["dimensions"] == 64 + 2 * 8
    names = [stage["name"] for stage in manifest["stages"]]
    assert names == ["embed", "fuse", "topics", "scores", "experts", "relations", "report"]
    assert manifest["peak_memory_bytes"] > 50e6
    assert set(manifest["hashes"]) == {"corpus", "store", "recipe"}


def test_the_scores_asked_for_are_there_with_their_meaning(finished: Path) -> None:
    scores = json.loads((finished / "run" / "scores.json").read_text())
    assert {"npmi", "topic_diversity", "outlier_share", "ami", "ari", "v_measure"} <= set(scores)
    assert all(set(score) == {"value", "description", "higher_is_better"} for score in scores.values())


def test_a_second_run_skips_everything_and_changes_nothing(
    root: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    before, heard = contents(root), Heard()
    pipeline.run(recipe_of(corpus, tiny_olmoe), root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit", "report"]
    assert contents(root) == before
    manifest = read_manifest(root / "run")
    assert manifest["finished"] is not None and all(stage["skipped"] for stage in manifest["stages"])


def test_what_lies_below_the_wall_never_loads_the_model(
    root: Path, corpus: Path, tiny_olmoe: Path, no_model: None
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, "hdbscan.min_cluster_size=6", "fusion.method=concat", "scores=[outliers]")
    heard = Heard()
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed"]
    assert set(json.loads((root / "run" / "scores.json").read_text())) == {"outlier_share"}


def test_words_are_kept_so_that_fitting_again_needs_no_model(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, "topics.representation=keybert")
    pipeline.run(recipe, root / "one", root / "store")
    monkeypatch.setattr(MoEEncoder, "from_pretrained", lambda *_, **__: pytest.fail("the weights were loaded"))
    pipeline.run(recipe, root / "two", root / "store")
    assert contents(root / "one") == contents(root / "two")


def test_a_plan_says_what_would_be_done_and_does_nothing(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    before = contents(root)

    def plan(*overrides: str) -> list[str]:
        recipe = recipe_of(corpus, tiny_olmoe, *overrides)
        return [stage.action for stage in pipeline.Run(recipe, root / "run", root / "store").plan()]

    assert plan() == ["skip", "skip", "skip"]
    assert plan("report.map_documents=9") == ["skip", "skip", "run"]
    assert plan("hdbscan.min_cluster_size=9") == ["skip", "run", "run"]
    assert plan("encoder.max_tokens=16") == ["run", "run", "run"]
    assert contents(root) == before


def test_a_grown_and_reordered_corpus_encodes_only_what_is_new(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    grown = write_corpus(tmp_path / "grown.jsonl", DOCUMENTS + 5)
    lines = grown.read_text().splitlines()
    grown.write_text("\n".join(reversed(lines)) + "\n")
    encoded = pipeline.embed(recipe_of(grown, tiny_olmoe), root / "store")
    assert encoded.encoded == 5 and encoded.survey.documents == DOCUMENTS + 5


def test_identical_documents_are_encoded_once(tmp_path: Path, tiny_olmoe: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("same text here\nother text here\n" * 30)
    encoded = pipeline.embed(recipe_of(path, tiny_olmoe), tmp_path / "store")
    assert (encoded.survey.documents, encoded.survey.unique, encoded.encoded) == (60, 2, 2)
    with EmbeddingStore.open(encoded.store, encoded.key) as store:
        assert len(store) == 2


def stopped_after(documents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the encoder stop as Ctrl-C would, once so many documents went through."""
    whole = MoEEncoder.encode

    def encode(self: MoEEncoder, *args: Any, **kwargs: Any) -> Any:
        part = whole(self, *args, **kwargs)
        if self.report.documents > documents:
            raise KeyboardInterrupt
        return part

    monkeypatch.setattr(MoEEncoder, "encode", encode)


@pytest.mark.parametrize("documents", [3, 20, 40, 79])
def test_an_interrupted_embedding_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, finished: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, documents: int
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    with monkeypatch.context() as patch:
        stopped_after(documents, patch)
        with pytest.raises(Interrupted, match="run the same command again"):
            pipeline.embed(recipe, tmp_path)
    encoded = pipeline.embed(recipe, tmp_path)
    assert encoded.encoded == DOCUMENTS - documents // 16 * 16, "at most one shard is lost"
    whole = contents(finished / "store")
    assert contents(tmp_path) == {name: data for name, data in whole.items() if not name.startswith("words/")}
    counts = read_manifest(finished / "run")["corpus"]
    assert encoded.counts.documents_cut == counts["documents_cut"], "counted also for what was stored before"
    assert encoded.counts.tokens == counts["tokens"]


def test_a_damaged_shard_is_named_and_encoded_again(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    before, heard = contents(root / "store"), Heard()
    shard = sorted((root / "store").glob("*/shard-*"))[0]
    data = bytearray(shard.read_bytes())
    data[-5] ^= 1
    shard.write_bytes(data)
    encoded = pipeline.embed(recipe_of(corpus, tiny_olmoe), root / "store", progress=heard)
    assert encoded.encoded == 16 and contents(root / "store") == before
    assert any(shard.name in note for note in heard.notes)


def test_a_fit_that_was_cut_off_is_repeated(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    before, recipe = contents(root / "run"), recipe_of(corpus, tiny_olmoe)
    Ledger(root / "run").begin("fit")
    (root / "run" / "topics.parquet").write_bytes(b"half")
    (root / "run" / "run.json").unlink()
    heard = Heard()
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert "fit" not in heard.skipped and contents(root / "run") == before


def test_fit_without_embeddings_says_what_to_run(tmp_path: Path, corpus: Path, tiny_olmoe: Path) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    with pytest.raises(StoreError, match="moee-topics embed"):
        pipeline.Run(recipe, tmp_path / "run", tmp_path / "store").fit_only()


def test_fit_of_a_corpus_that_grew_since_says_how_much_is_missing(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    grown = write_corpus(tmp_path / "grown.jsonl", DOCUMENTS + 3)
    with pytest.raises(StoreError, match=f"3 of {DOCUMENTS + 3} documents"):
        pipeline.Run(recipe_of(grown, tiny_olmoe), root / "new", root / "store").fit_only()


def test_fit_alone_gives_what_run_gives(root: Path, corpus: Path, tiny_olmoe: Path, no_model: None) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    pipeline.Run(recipe, root / "other", root / "store").fit_only()
    assert contents(root / "other") == contents(root / "run")


def test_a_corpus_that_changes_under_the_run_is_refused(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    path = write_corpus(tmp_path / "t.jsonl")
    recipe = recipe_of(path, tiny_olmoe)
    encoded = pipeline.embed(recipe, root / "store")
    write_corpus(path, DOCUMENTS - 1)
    with pytest.raises(InputError, match="changed while"):
        pipeline.fit(recipe, encoded, tmp_path / "run")


def test_too_little_disk_is_said_before_encoding(
    tmp_path: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ResourceError, match="80 embeddings need"):
        pipeline.embed(recipe_of(corpus, tiny_olmoe), tmp_path)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: x")])
def test_too_little_memory_says_what_to_change(
    tmp_path: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(MoEEncoder, "encode", fail)
    with pytest.raises(ResourceError, match=r"encoder\.tokens_per_batch"):
        pipeline.embed(recipe_of(corpus, tiny_olmoe), tmp_path)


def test_predict_gives_every_new_document_a_topic_of_the_run(finished: Path, tmp_path: Path) -> None:
    new = open_corpus(CorpusSettings(str(write_corpus(tmp_path / "new.jsonl", 10, first=1000))))
    rows = list(pipeline.predict(finished / "run", new))
    assert [row.id for row in rows] == [f"d{number}" for number in range(1000, 1010)]
    info = json.loads((finished / "run" / "topic_info.json").read_text())
    names = {topic["topic"]: topic["name"] for topic in info}
    assert all(row.topic == -1 or names[row.topic] == row.name for row in rows)
    assert all(0 <= row.probability <= 1 for row in rows)


def test_predict_uses_the_vectors_of_the_fit(finished: Path, corpus: Path, tiny_olmoe: Path) -> None:
    texts = [document.text for document in open_corpus(CorpusSettings(str(corpus), limit=10))]
    fresh = pipeline.Predictor.load(finished / "run").vectors(texts)
    recipe = recipe_of(corpus, tiny_olmoe)
    encoded = pipeline.embed(recipe, finished / "store")
    from moee_topics.run.fitting import fused

    _, fitted = fused(encoded, recipe.fusion)
    assert np.allclose(fresh, fitted[:10], atol=1e-3)


def test_predict_does_not_depend_on_the_other_documents(finished: Path, tmp_path: Path) -> None:
    documents = list(open_corpus(CorpusSettings(str(write_corpus(tmp_path / "new.jsonl", 6, first=500)))))
    together = list(pipeline.predict(finished / "run", documents))
    alone = [row for document in documents for row in pipeline.predict(finished / "run", [document])]
    assert [(row.id, row.topic) for row in together] == [(row.id, row.topic) for row in alone]


def test_predict_with_another_model_in_the_folder_is_refused(root: Path, tmp_path: Path, tiny_olmoe: Path) -> None:
    other = Path(shutil.copytree(tiny_olmoe, tmp_path / "model"))
    weights = sorted(other.glob("*.safetensors"))[0]
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    path = root / "run" / "model" / "encoder.json"
    saved = json.loads(path.read_text())
    saved["options"]["model"] = str(other)
    path.write_text(json.dumps(saved))
    with pytest.raises(ModelError, match="revision differ"):
        list(pipeline.predict(root / "run", open_corpus(CorpusSettings(str(write_corpus(tmp_path / "t.jsonl", 2))))))


def test_predict_of_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        list(pipeline.predict(tmp_path, []))


@pytest.mark.parametrize("standardize", ["false", "hidden_states", "routing_weights"])
@pytest.mark.parametrize("method", ["hidden_states", "routing_weights"])
def test_every_fusion_goes_all_the_way(
    root: Path, corpus: Path, tiny_olmoe: Path, method: str, standardize: str, no_model: None
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, f"fusion.method={method}", f"fusion.standardize={standardize}")
    recipe = recipe.model_copy(update={"scores": ("outliers",)})
    folder = pipeline.run(recipe, root / "new", root / "store")
    fusion = Fusion.load(folder / "model" / "fusion.safetensors")
    assert fusion == recipe.fusion and (fusion.standardizer is None) == (standardize == "false")
    assert read_manifest(folder)["fusion"]["dimensions"] == {"hidden_states": 64, "routing_weights": 16}[method]


STABILITY = ("stability.seeds=2", "stability.bootstraps=1", "report.html=true")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, finished: Path, corpus: Path, tiny_olmoe: Path) -> Path:
    """A finished run whose stability was asked for afterwards; not to be changed."""
    root = Path(shutil.copytree(finished, tmp_path_factory.mktemp("measured") / "runs"))
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MoEEncoder, "from_pretrained", lambda *_, **__: pytest.fail("the weights were loaded"))
        pipeline.run(recipe_of(corpus, tiny_olmoe, *STABILITY), root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit"] and list(heard.ended)[-2:] == ["stability", "report"]
    assert heard.fits == [1, 2, 3] and "topics" not in heard.ended
    return root


def copied(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "measured"))


def test_stability_asked_of_a_finished_run_is_measured_and_reported(measured: Path) -> None:
    folder = measured / "run"
    found = json.loads((folder / "stability.json").read_text())
    assert (found["seeds"]["fits"], found["bootstrap"]["fits"]) == (3, 2)
    assert np.shape(found["seeds"]["pairwise_ami"]) == (3, 3) and len(found["seeds"]["topics"]) == 3
    info = json.loads((folder / "topic_info.json").read_text())
    topics = {str(topic["topic"]) for topic in info if topic["topic"] >= 0}
    assert set(found["topics"]) == topics
    assert all(0 <= value <= 1 for figures in found["topics"].values() for value in figures.values())
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["stability"]["value"] == found["seeds"]["ami"] and "3 fits" in scores["stability"]["description"]
    assert scores["stability_bootstrap"]["value"] == found["bootstrap"]["ami"]
    assert '<section id="stability"' in (folder / "report.html").read_text(encoding="utf-8")
    names = [stage["name"] for stage in read_manifest(folder)["stages"]]
    assert names[-2:] == ["stability", "report"]


def test_measured_again_nothing_is_fitted_and_nothing_changes(
    measured: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, recipe = copied(measured, tmp_path), recipe_of(corpus, tiny_olmoe, *STABILITY)
    before, heard = contents(root / "run"), Heard()
    monkeypatch.setattr(measuring, "fit_topics", lambda *_, **__: pytest.fail("fitted again"))
    pipeline.run(recipe, root / "run", root / "store", progress=heard)
    assert heard.skipped == ["embed", "fit", "stability", "report"] and contents(root / "run") == before
    assert [stage.action for stage in pipeline.Run(recipe, root / "run", root / "store").plan()] == ["skip"] * 4
    (root / "run" / "stability.json").unlink()
    pipeline.run(recipe, root / "run", root / "store")
    assert contents(root / "run") == before, "made again from the refits that are kept"


def test_killed_between_refits_it_goes_on_and_ends_the_same(
    measured: Path, root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, real, fits = recipe_of(corpus, tiny_olmoe, *STABILITY), measuring.fit_topics, []

    def counted(*args: Any, **kwargs: Any) -> Any:
        fits.append(1)
        if len(fits) == 2:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(measuring, "fit_topics", counted)
    with pytest.raises(Interrupted):
        pipeline.run(recipe, root / "run", root / "store")
    assert "stability" not in json.loads((root / "run" / "scores.json").read_text())
    pipeline.run(recipe, root / "run", root / "store")
    assert len(fits) == 4, "one was kept, one cut off and done again"
    after, whole = contents(root / "run"), contents(measured / "run")
    assert {*after} == {*whole} and {name for name in whole if whole[name] != after[name]} == {"report.html"}, "times"


def test_no_longer_asked_for_it_is_gone_from_scores_and_report(
    measured: Path, finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    root, heard = copied(measured, tmp_path), Heard()
    recipe = recipe_of(corpus, tiny_olmoe, "report.html=true")
    run = pipeline.Run(recipe, root / "run", root / "store", heard)
    assert [(stage.name, stage.action) for stage in run.plan()] == [
        ("embed", "skip"),
        ("fit", "skip"),
        ("report", "run"),
    ]
    run.everything()
    assert heard.skipped == ["embed", "fit"] and not (root / "run" / "stability.json").exists()
    assert (root / "run" / "scores.json").read_bytes() == (finished / "run" / "scores.json").read_bytes()
    assert '<section id="stability"' not in (root / "run" / "report.html").read_text(encoding="utf-8")


def test_another_fit_drops_the_stability_of_the_last(
    measured: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    root = copied(measured, tmp_path)
    recipe = recipe_of(corpus, tiny_olmoe, "hdbscan.min_cluster_size=6")
    run = pipeline.Run(recipe, root / "run", root / "store")
    run.fit_only()
    assert not (root / "run" / "stability.json").exists() and not (root / "run" / "stability").exists()
    assert set(run.ledger.records) == {"embed", "fit", "report"}


def test_a_refit_without_topics_counts_as_all_outliers(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*args: Any, **kwargs: Any) -> None:
        raise NoTopicsError("none")

    monkeypatch.setattr(measuring, "fit_topics", nothing)
    pipeline.run(recipe_of(corpus, tiny_olmoe, "stability.seeds=1"), root / "run", root / "store")
    found = json.loads((root / "run" / "stability.json").read_text())
    assert found["seeds"]["topics"][1] == 0 and found["seeds"]["words"] is None and "bootstrap" not in found
    assert {figures["seeds"] for figures in found["topics"].values()} == {0.0}
    scores = json.loads((root / "run" / "scores.json").read_text())
    assert scores["stability"]["value"] == found["seeds"]["ami"] and "stability_bootstrap" not in scores


def test_a_refit_with_the_run_s_own_seed_is_the_run_itself(
    finished: Path, corpus: Path, tiny_olmoe: Path, tmp_path: Path
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe)
    encoded = pipeline.embed(recipe, finished / "store")
    own = measuring.TopicModel.load(finished / "run" / "model")
    encoder = pipeline.encoder_of(recipe)
    refitter = measuring.Refitter(recipe, encoded, tmp_path, "fit", own.result.texts, encoder)
    again = refitter.result(measuring.Refit("seeds", 0))
    assert again.topics == own.result.topics.tolist() and again.words == measuring.ctfidf_words(own)
    told = {topic.topic: [word for word, _ in topic.words] for topic in own.result.topic_info if topic.topic >= 0}
    assert {topic: set(words) for topic, words in again.words.items()} == {t: set(w) for t, w in told.items()}


def test_refits_change_the_seed_or_the_documents_and_nothing_else() -> None:
    settings = FitSettings(seed=2**32 - 1, umap={"random_state": 7, "n_neighbors": 5}, representation="keybert")
    other = measuring.Refit("seeds", 2).settings(settings)
    assert (other.seed, other.umap, other.representation) == (1, {"random_state": 9, "n_neighbors": 5}, "ctfidf")
    sample = measuring.Refit("bootstrap", 2)
    assert sample.settings(settings).umap == settings.umap and sample.settings(settings).seed == settings.seed
    assert [sample.settings(settings, share).hdbscan["min_cluster_size"] for share in (1, 0.63, 0.01)] == [15, 9, 2]
    rows = sample.rows(5000, seed=1)
    assert rows is not None and len(set(rows.tolist())) == len(rows) == pytest.approx(5000 * (1 - np.exp(-1)), rel=0.02)
    assert (np.diff(rows) > 0).all() and np.array_equal(rows, sample.rows(5000, seed=1))
    others = [measuring.Refit("bootstrap", 3).rows(5000, seed=1), sample.rows(5000, seed=2)]
    assert not any(np.array_equal(rows, other) for other in others)


def test_a_ledger_knows_only_what_was_finished(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.finish(StageRecord("fit", fingerprint({"a": 1}), 1.0))
    again = Ledger(tmp_path)
    assert again.done("fit", fingerprint({"a": 1})) is not None
    assert again.done("fit", fingerprint({"a": 2})) is None and again.done("embed", "") is None
    again.begin("fit")
    assert Ledger(tmp_path).done("fit", fingerprint({"a": 1})) is None


def test_a_fingerprint_sees_values_but_not_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 2, "b": 1})


@pytest.mark.slow
def test_a_run_killed_again_and_again_gives_the_same_result(tmp_path: Path, tiny_olmoe: Path) -> None:
    corpus = write_corpus(tmp_path / "posts.jsonl", 2200)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(json.dumps(recipe_of(corpus, tiny_olmoe).to_json()))

    def start(output: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "moee_topics", "run", str(recipe), "--quiet", "-o", str(tmp_path / output)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})

    assert start("whole").wait() == 0
    for shards in (1, 2):
        process = start("killed")
        deadline = time.monotonic() + 900
        while len(list((tmp_path / "killed").rglob("shard-*.safetensors"))) < shards and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start("killed")
    while not (tmp_path / "killed" / "recipe" / "topics.parquet").exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert start("killed").wait() == 0
    whole, killed = contents(tmp_path / "whole"), contents(tmp_path / "killed")
    assert whole == killed and "recipe/topics.parquet" in whole
    first, second = (read_manifest(tmp_path / name / "recipe")["corpus"] for name in ("whole", "killed"))
    assert first == second
