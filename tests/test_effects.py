"""Every key of a recipe has an effect: for each of them a value, and what is another thing then.

The sections that hold upstream's arguments (umap, hdbscan, vectorizer, ctfidf, bertopic) have such a table in
tests/topics/test_upstream.py.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from chat_servers import chat_server, saying
from tiny_runs import recipe_of, write_corpus

from moee_topics import chat_endpoint
from moee_topics import run as pipeline
from moee_topics.corpus import CorpusSettings, open_corpus
from moee_topics.encode import EncoderSource
from moee_topics.encode.encoder import MoEEncoder
from moee_topics.encode.settings import EncoderSettings
from moee_topics.errors import InputError, MoEETopicsError
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run.idle_keys import NEEDS
from moee_topics.run.recipe_labels import Asked, label_as_asked
from moee_topics.run_folder import RunFolder
from moee_topics.schema import build, known_keys, section_types
from moee_topics.topics import FitSettings, UpstreamSections
from moee_topics.topics.fit import build_bertopic

# --- corpus: another value reads other documents, or refuses ----------------------------------------------------------

ROWS = "id,text,label,date,other\n1,<b>rye</b> bread,a,02/05/2024,x\n2,a motor,b,03/05/2024,y\n3,a piano,none,,z\n"
FILES: Mapping[str, bytes] = {
    "a.csv": ROWS.encode(),
    "b.csv": ROWS.replace(",", ";").encode(),
    "latin.csv": ROWS.replace("rye", "rüe").encode("latin-1"),
    "quoted.csv": b'id,text\n1,"bread"\n2,motor\n',
    "lines.txt": b"one\ntwo",
    "folder/one.txt": b"one",
    "folder/two.md": b"two",
}
NEWS, HUB, CODE = "20newsgroups", "hub:some/set", "docstrings"
READ: Mapping[str, tuple[str, dict[str, Any], Any]] = {
    "corpus.source": ("a.csv", {}, "quoted.csv"),
    "corpus.text": ("a.csv", {"timestamp": "none"}, "other"),
    "corpus.id": ("a.csv", {"timestamp": "none"}, "none"),
    "corpus.label": ("a.csv", {"timestamp": "none"}, "none"),
    "corpus.timestamp": ("a.csv", {"time_format": "%d/%m/%Y"}, "none"),
    "corpus.time_format": ("a.csv", {}, "%d/%m/%Y"),
    "corpus.missing": ("a.csv", {"timestamp": "none"}, ("a", "none")),
    "corpus.clean": ("a.csv", {"timestamp": "none"}, "html"),
    "corpus.encoding": ("latin.csv", {"timestamp": "none"}, "latin-1"),
    "corpus.decoding_errors": ("latin.csv", {"timestamp": "none"}, "replace"),
    "corpus.delimiter": ("b.csv", {"timestamp": "none"}, "|"),
    "corpus.quoting": ("quoted.csv", {}, "none"),
    "corpus.pattern": ("folder", {}, "*.md"),
    "corpus.limit": ("a.csv", {"timestamp": "none"}, 1),
    "corpus.subset": (NEWS, {}, "train"),
    "corpus.remove": (NEWS, {}, ("quotes",)),
    "corpus.data_home": (NEWS, {}, Path("elsewhere")),
    "corpus.packages": (CODE, {"per_package": 2}, ("json",)),
    "corpus.per_package": (CODE, {"packages": ("json",)}, 1),
    "corpus.query": ("a.db", {}, "SELECT text FROM a WHERE rowid > 1"),
    "corpus.split": (HUB, {}, "test"),
    "corpus.config": (HUB, {}, "german"),
}


def read(folder: Path, source: str, options: Mapping[str, Any]) -> Any:
    path = source if source in (NEWS, HUB, CODE) else str(folder / source)
    path = f"sqlite:///{path}" if path.endswith(".db") else path
    try:
        return list(open_corpus(CorpusSettings(path, **options)))
    except InputError as error:
        return str(error)


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files, and two sources of the network that answer with what they were asked."""
    database = sqlite3.connect(tmp_path / "a.db")
    database.executescript("CREATE TABLE a (text TEXT); INSERT INTO a VALUES ('bread'), ('motor')")
    database.close()
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def news(**asked: Any) -> Any:
        raise OSError(str(asked))

    def hub(*asked: Any, **more: Any) -> list[dict[str, str]]:
        return [{"text": f"{asked} {more}"}]

    monkeypatch.setattr("sklearn.datasets.fetch_20newsgroups", news)
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.load_dataset", hub)
    return tmp_path


@pytest.mark.parametrize("key", READ)
def test_a_key_of_the_corpus_reads_other_documents(key: str, documents: Path) -> None:
    source, options, value = READ[key]
    before, name = read(documents, source, options), key.removeprefix("corpus.")
    after = read(documents, value, options) if name == "source" else read(documents, source, {**options, name: value})
    assert before != after and before == read(documents, source, options)


# What moee_topics/run/idle_keys.py says of a key, the sources and the files below are asked whether it is so.
IDLE_READ: Mapping[str, tuple[str, Any]] = {
    "corpus.id": ("folder", "none"),
    "corpus.delimiter": ("folder", "|"),
    "corpus.quoting": ("folder", "none"),
    "corpus.encoding": (CODE, "cp1252"),
    "corpus.decoding_errors": (CODE, "replace"),
    "corpus.missing": ("lines.txt", ("one", "1")),
    "corpus.pattern": ("quoted.csv", "*.md"),
    "corpus.subset": ("quoted.csv", "train"),
    "corpus.remove": ("quoted.csv", ()),
    "corpus.data_home": ("quoted.csv", Path("elsewhere")),
    "corpus.packages": ("quoted.csv", ("json",)),
    "corpus.per_package": ("quoted.csv", 1),
    "corpus.query": ("quoted.csv", "SELECT 1"),
    "corpus.split": ("quoted.csv", "test"),
    "corpus.config": ("quoted.csv", "german"),
}


@pytest.mark.parametrize("key", IDLE_READ)
def test_a_key_that_is_noted_as_idle_reads_the_same_documents(key: str, documents: Path) -> None:
    (source, value), name = IDLE_READ[key], key.removeprefix("corpus.")
    options: dict[str, Any] = {"packages": ("json",)} if source == CODE else {}
    assert read(documents, source, options) == read(documents, source, {**options, name: value})


@pytest.mark.parametrize("source", [CODE, "folder/.."])
def test_no_labels_are_read_where_none_are_asked_for(source: str, documents: Path) -> None:
    options = {"packages": ("json",), "pattern": "**/*.txt"}
    assert {document.label for document in read(documents, source, options)} != {None}
    assert {document.label for document in read(documents, source, {**options, "label": "none"})} == {None}


# --- encoder: another key of the store, another device, another batch -------------------------------------------------

STORED: Mapping[str, tuple[dict[str, Any], Any]] = {
    "encoder.model": ({}, "tiny_qwen2_moe"),
    "encoder.quantize": ({}, "int8"),
    "encoder.dtype": ({}, "bfloat16"),
    "encoder.prompt": ({}, "prompteol"),
    "encoder.prompts": ({"prompt": None}, ("prompteol", "a {text}")),
    "encoder.combine_prompts": ({"prompt": None, "prompts": ("none", "a {text}")}, "concat"),
    "encoder.pooling": ({}, "mean"),
    "encoder.layers": ({}, 1),
    "encoder.routing": ({}, "mean"),
    "encoder.states": ({"layers": 1}, "attention_outputs"),
    "encoder.reroute": ({}, 1),
    "encoder.max_tokens": ({}, 64),
    "encoder.long_documents": ({}, "chunk"),
}
TEXTS = [f"{'a bakery sells rye bread and ' * 20}cakes {number}" for number in range(3)]


@pytest.mark.parametrize("key", STORED)
def test_a_key_of_the_encoder_stores_other_vectors_in_another_place(
    key: str, tiny_olmoe: Path, tiny_qwen2_moe: Path
) -> None:
    more, value = STORED[key]
    plain = {"model": str(tiny_olmoe), "dtype": "float32", "prompt": "none", "max_tokens": 32, **more}
    changed = {**plain, key.removeprefix("encoder."): str(tiny_qwen2_moe) if key == "encoder.model" else value}
    keys = [EncoderSource(EncoderSettings(**options)).expected for options in (plain, changed)]
    vectors = [MoEEncoder.from_settings(EncoderSettings(**options)).encode(TEXTS) for options in (plain, changed)]
    assert keys[0] != keys[1]
    block = "router_logits" if key == "encoder.routing" else "hidden_states"
    assert not np.array_equal(*(getattr(each, block) for each in vectors))


def test_a_batch_of_other_tokens_is_another_batch(tiny_olmoe: Path) -> None:
    encoder = MoEEncoder.from_pretrained(tiny_olmoe, tokens_per_batch=1024, max_tokens=512)
    assert encoder.tokens_per_batch == 1024 != MoEEncoder.from_pretrained(tiny_olmoe).tokens_per_batch


def test_the_device_is_the_one_that_is_asked_for() -> None:
    assert EncoderSource(EncoderSettings(device="cpu")).device == "cpu"
    with pytest.raises(InputError, match=r"encoder\.device is 'cuda:99'"):
        EncoderSource(EncoderSettings(device="cuda:99")).device  # noqa: B018


def test_a_revision_is_of_the_hub_and_refused_for_a_folder(tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def hub(name: str, *, revision: str | None, **_: Any) -> None:
        asked.append((name, revision))
        raise OSError("no network")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", hub)
    for revision in ("main", "v2"):
        with pytest.raises(MoEETopicsError):
            EncoderSource(EncoderSettings("some/model", revision=revision)).expected  # noqa: B018
    assert asked == [("some/model", "main"), ("some/model", "v2")]
    for folder in (str(tiny_olmoe), "pocket"):
        with pytest.raises(InputError, match=r"encoder\.revision is 'v2', and .* is a folder"):
            EncoderSource(EncoderSettings(folder, revision="v2")).expected  # noqa: B018


# --- fusion, topics, scores, stability, report, seed: another value writes another file -------------------------------

NAMES = "topics.zeroshot_topic_list=[orbit moon, goal puck]"
OUTLIERS = "topics.outliers={strategy: embeddings}"
WRITTEN: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "fusion.method": ((), "concat", "topics.parquet"),
    "fusion.alpha": ((), "5", "topics.parquet"),
    "fusion.standardize": ((), "none", "topics.parquet"),
    "fusion.lexical": ((), "1", "topics.parquet"),
    "fusion.routing": ((), "{scores: logits}", "model/fusion.safetensors"),
    "fusion.routing.scores": ((), "multi_hot", "model/fusion.safetensors"),
    "fusion.routing.top_k": (("fusion.routing.scores=multi_hot",), "1", "model/fusion.safetensors"),
    "fusion.routing.experts": ((), "idf", "model/fusion.safetensors"),
    "fusion.routing.layers": ((), "information", "model/fusion.safetensors"),
    "fusion.filters": ((), "[remove_top]", "topics.parquet"),
    "cluster.method": ((), "sklearn_hdbscan", "topics.parquet"),
    "cluster.reducer": ((), "pca", "topics.parquet"),
    "cluster.clusters": (("cluster.method=kmeans", "hdbscan={}", "cluster.clusters=4"), "3", "topics.parquet"),
    "reduce.dimensions": ((), "6", "topics.parquet"),
    "large.documents": ((), "79", "topics.parquet"),
    "large.sample": (("large.documents=79",), "60", "topics.parquet"),
    "topics.stop_words": ((), "[orbit, moon, puck, oven, disk]", "topic_info.json"),
    "topics.representation": ((), "keybert", "topic_info.json"),
    "topics.nr_topics": ((), "3", "topics.parquet"),
    "topics.outliers": ((), "{strategy: embeddings}", "topics.parquet"),
    "topics.outliers.strategy": ((OUTLIERS,), "c-tf-idf", "topics.parquet"),
    "topics.outliers.target_share": ((OUTLIERS,), "0.1", "topics.parquet"),
    "topics.outliers.threshold": ((OUTLIERS,), "0.9999", "topics.parquet"),
    "topics.seed_topic_list": ((), "[[orbit, moon], [goal, puck]]", "topics.parquet"),
    "topics.zeroshot_topic_list": ((), "[orbit moon, goal puck]", "topic_info.json"),
    "topics.zeroshot_min_similarity": ((NAMES,), "1.0", "topics.parquet"),
    "topics.hierarchy": ((), "false", "hierarchy.json"),
    "topics.over_time": ((), "false", "over_time.json"),
    "topics.time_bins": ((), "3", "over_time.json"),
    "topics.per_class": ((), "false", "per_class.json"),
    "topics.experts": ((), "false", "experts.json"),
    "scores": ((), "[npmi]", "scores.json"),
    "stability.seeds": ((), "1", "stability.json"),
    "stability.bootstraps": ((), "1", "stability.json"),
    "report.html": (("report.html=false",), "true", "report.html"),
    "report.map_documents": (("report.html=true",), "3", "report.html"),
    "seed": ((), "7", "topics.parquet"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_olmoe: Path) -> Callable[[tuple[str, ...]], Path]:
    """Overrides to the folder of their run; all runs share one store."""
    root = tmp_path_factory.mktemp("effects")
    corpus, folders = write_corpus(root / "posts.jsonl"), dict[tuple[str, ...], Path]()

    def run(overrides: tuple[str, ...]) -> Path:
        if overrides not in folders:
            folders[overrides] = root / f"run{len(folders)}"
            pipeline.run(recipe_of(corpus, tiny_olmoe, *overrides), folders[overrides], root / "store")
        return folders[overrides]

    return run


@pytest.mark.parametrize("key", WRITTEN)
def test_a_key_writes_another_file(key: str, runs: Callable[[tuple[str, ...]], Path]) -> None:
    context, value, name = WRITTEN[key]
    before, after = runs(context) / name, runs((*context, f"{key}={value}")) / name
    assert before.exists() or after.exists()
    if before.exists() and after.exists():
        first, second = before.read_bytes(), after.read_bytes()
        # A page holds times, which differ anyway; with fewer documents on its map it is shorter by more than those.
        assert first != second if name != "report.html" else len(second) < len(first) - 500


# --- labels: another question, another answer, or another reason why there is none ------------------------------------

DEAD = "http://127.0.0.1:9/v1"
NAMING = {"provider": "openai", "model": "m", "base_url": "SERVER"}
JUDGING = {"check": {**NAMING, "documents": 2}}
LABELLED: Mapping[str, tuple[dict[str, Any], Any]] = {
    "labels.provider": ({**NAMING, "provider": "none"}, "openai"),
    "labels.model": (NAMING, "n"),
    "labels.base_url": (NAMING, DEAD),
    "labels.device": (NAMING, "cpu"),  # refused: it is of a local model
    "labels.seconds": ({**NAMING, "base_url": DEAD, "attempts": 1}, 5),
    "labels.attempts": ({**NAMING, "base_url": DEAD}, 1),
    "labels.documents": (NAMING, 1),
    "labels.characters": (NAMING, 20),
    "labels.check": ({}, {"documents": 2}),
    "labels.check.provider": ({"check": {"provider": "embedding", "documents": 2}}, "local"),
    "labels.check.model": (JUDGING, "n"),
    "labels.check.base_url": (JUDGING, DEAD),
    "labels.check.device": ({"check": {"documents": 2}}, "cuda:99"),
    "labels.check.seconds": ({"check": {**NAMING, "base_url": DEAD, "attempts": 1}}, 5),
    "labels.check.attempts": ({"check": {**NAMING, "base_url": DEAD}}, 1),
    "labels.check.documents": (JUDGING, 1),
    "labels.check.characters": (JUDGING, 20),
    "labels.check.seed": (JUDGING, 7),
}
IDLE_LABELLED: Mapping[str, tuple[dict[str, Any], Any]] = {
    "labels.model": ({}, "n"),
    "labels.documents": ({}, 1),
    "labels.characters": ({}, 20),
    "labels.device": ({}, "cuda:99"),
    "labels.base_url": ({}, DEAD),
    "labels.seconds": ({}, 5),
    "labels.attempts": ({}, 1),
}


def with_value(section: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A section ``labels`` with another value of one of its keys."""
    *inside, name = key.split(".")[1:]
    return {**section, "check": {**section["check"], name: value}} if inside else {**section, name: value}


@pytest.fixture
def labelled(
    runs: Callable[[tuple[str, ...]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, Any]], Any]]:
    """A section ``labels`` to all that comes of it on a finished run: questions, names, judgement and the fault."""
    monkeypatch.setattr(chat_endpoint, "BACKOFF", 0.0)
    finished, numbers = runs(()), count()
    with chat_server(lambda *_: saying("A")) as server:

        def ask(section: dict[str, Any]) -> Any:
            folder = tmp_path / str(next(numbers)) / "run"
            shutil.copytree(finished, folder)
            server.asked.clear()
            written, fault = json.dumps(section).replace("SERVER", server.base_url), ""
            try:
                label_as_asked(folder, build(Asked, {"labels": json.loads(written)}).labels, Progress())
            except MoEETopicsError as error:
                fault = str(error).replace(str(folder), "")
            run = RunFolder(folder).current
            names = [topic.name for topic in run.result.topic_info]
            return [body for _, _, body in server.asked], names, (run.label_check or {}).get("topics"), fault

        yield ask


@pytest.mark.parametrize("key", LABELLED)
def test_a_key_of_the_labels_asks_another_question_or_none(key: str, labelled: Callable[..., Any]) -> None:
    section, value = LABELLED[key]
    assert labelled(section) != labelled(with_value(section, key, value))


@pytest.mark.parametrize("key", IDLE_LABELLED)
def test_a_key_of_the_labels_that_is_noted_as_idle_asks_the_same(key: str, labelled: Callable[..., Any]) -> None:
    section, value = IDLE_LABELLED[key]
    assert labelled(section) == labelled(with_value(section, key, value))


IDLE_WRITTEN: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "encoder.combine_prompts": ((), "concat", "topics.parquet"),
    "fusion.alpha": (("fusion.method=hidden_states",), "5", "topics.parquet"),
    "fusion.standardize": (
        ("fusion.method=hidden_states", "fusion.standardize=none"),
        "routing_weights",
        "topics.parquet",
    ),
    "fusion.routing.scores": (("fusion.method=hidden_states",), "logits", "topics.parquet"),
    "fusion.routing.experts": (("fusion.method=hidden_states",), "idf", "topics.parquet"),
    "fusion.routing.layers": (("fusion.method=hidden_states",), "information", "topics.parquet"),
    "fusion.routing.top_k": ((), "3", "topics.parquet"),
    "topics.stop_words": (("vectorizer.stop_words=[orbit]",), "[moon, puck]", "topic_info.json"),
    "topics.zeroshot_min_similarity": ((), "1.0", "topics.parquet"),
    "topics.outliers.threshold": (
        ("topics.outliers={strategy: embeddings, target_share: 0.1}",),
        "0.9",
        "topics.parquet",
    ),
    "topics.time_bins": (("topics.over_time=false",), "3", "topics.parquet"),
    "report.map_documents": ((), "3", "topics.parquet"),
}


@pytest.mark.parametrize("key", IDLE_WRITTEN)
def test_a_key_that_is_noted_as_idle_writes_the_same_file(key: str, runs: Callable[[tuple[str, ...]], Path]) -> None:
    context, value, name = IDLE_WRITTEN[key]
    before, after = runs(context), runs((*context, f"{key}={value}"))
    assert (before / name).read_bytes() == (after / name).read_bytes()
    assert sorted(path.name for path in before.iterdir()) == sorted(path.name for path in after.iterdir())


def test_every_key_that_is_noted_as_idle_is_in_these_tables() -> None:
    assert {*IDLE_READ, *IDLE_WRITTEN, *IDLE_LABELLED} == {key for need in NEEDS for key in need.keys}


def test_a_tokenizer_cuts_other_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", SimpleNamespace(cut=list, setLogLevel=lambda _: None))
    plain, cut = (
        build_bertopic(FitSettings(representation="ctfidf", tokenizer=name), ["a"] * 9).vectorizer_model
        for name in (None, "jieba")
    )
    assert plain.build_analyzer()("我们 喜欢") == ["我们", "喜欢"] != cut.build_analyzer()("我们 喜欢")


def test_every_key_of_the_recipe_stands_in_one_of_these_tables() -> None:
    upstream = tuple(f"{section}." for section in UpstreamSections.model_fields)
    leaves = {key for key in known_keys(Recipe) if not key.startswith(upstream)} - set(section_types(Recipe))
    leaves |= {key for key in section_types(Recipe) if key in ("scores", "seed")}
    here = {
        *READ,
        *STORED,
        *WRITTEN,
        *LABELLED,
        "topics.tokenizer",
        "encoder.device",
        "encoder.tokens_per_batch",
        "encoder.revision",
    }
    assert here == leaves
