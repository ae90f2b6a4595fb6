"""The fit: what a run folder then holds."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_runs import DOCUMENTS, Heard, recipe_of, write_corpus

from moee_topics import run as pipeline
from moee_topics.errors import InputError, ResourceError
from moee_topics.evaluate import SCORES
from moee_topics.fuse import Fusion
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run import fit_stage, workspace
from moee_topics.run.fit_stage import FitStage, Steps
from moee_topics.run.workspace import Workspace
from moee_topics.run_folder import RunFolder

FILES = {
    "run.json", "stages.json", "topics.parquet", "documents.parquet", "topic_info.json", "scores.json", "model",
    "experts.json", "hierarchy.json", "over_time.json", "per_class.json", "writer.lock", "digests.json",
}  # fmt: skip


def test_every_section_of_a_recipe_changes_the_fit_or_says_why_not() -> None:
    """A section that is forgotten here could be changed and the old topics would stay."""
    elsewhere = {
        "corpus": "its content is in the survey's digest",
        "encoder": "in the key of the store",
        "stability": "a stage of its own",
        "report": "written again at each run",
        "labels": "names after all stages, a version of decisions",
    }
    assert set(Recipe.model_fields) == set(fit_stage.BELOW_THE_WALL) | set(elsewhere)


def test_a_fit_on_a_sample_says_so_in_the_table_the_page_and_the_line_and_an_update_goes_on(
    root: Path, corpus: Path, tiny_olmoe: Path
) -> None:
    heard = Heard()
    large = ("large.documents=79", "large.sample=60", "report.html=true")
    run = pipeline.run(recipe_of(corpus, tiny_olmoe, *large), root / "run", root / "store", progress=heard)
    assigned = pq.read_table(root / "run" / "topics.parquet")["assigned"].to_pylist()
    assert run.vectors.shape[0] == DOCUMENTS and 60 <= DOCUMENTS - sum(assigned) < DOCUMENTS
    assert f"{DOCUMENTS - sum(assigned)} were clustered, the others assigned" in heard.ended["fit"]
    assert f"in a sample of {DOCUMENTS - sum(assigned)} documents" in run.report
    assert run.experts is None or run.experts.documents == 60
    more = write_corpus(root / "more.jsonl", 12, first=DOCUMENTS)
    updated = pipeline.update(root / "run", [str(more)], store=root / "store").run.result
    assert updated.assigned is not None and updated.assigned.tolist() == [*assigned, *[True] * 12]


def test_what_a_sample_cannot_do_is_said_before_the_encoding(tmp_path: Path, corpus: Path, tiny_olmoe: Path) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, "large.documents=79", "large.sample=60", "hdbscan.min_cluster_size=31")
    with pytest.raises(InputError, match=r"large\.sample=60 has no room for two topics"):
        pipeline.run(recipe, tmp_path / "run", tmp_path / "store")
    assert not (tmp_path / "store").exists()


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


def test_the_scores_asked_for_are_there_with_their_meaning(finished: Path) -> None:
    scores = json.loads((finished / "run" / "scores.json").read_text())
    assert {"npmi", "topic_diversity", "outlier_share", "ami", "ari", "v_measure"} <= set(scores)
    assert all(set(score) == {"value", "description", "higher_is_better"} for score in scores.values())


def test_a_corpus_that_changes_under_the_run_is_refused(
    root: Path, tmp_path: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "MOST_CHARACTERS_KEPT", 0)  # as a corpus that is too large for it
    path = write_corpus(tmp_path / "t.jsonl")
    work = Workspace(recipe_of(path, tiny_olmoe), tmp_path / "run", root / "store")
    assert work.survey.documents == DOCUMENTS
    write_corpus(path, DOCUMENTS - 1)
    with pytest.raises(InputError, match="changed while"):
        FitStage().run(work)


@pytest.mark.parametrize("standardize", ["false", "hidden_states", "routing_weights"])
@pytest.mark.parametrize("method", ["hidden_states", "routing_weights"])
def test_every_fusion_goes_all_the_way(
    root: Path, corpus: Path, tiny_olmoe: Path, method: str, standardize: str, no_model: None
) -> None:
    recipe = recipe_of(corpus, tiny_olmoe, f"fusion.method={method}", f"fusion.standardize={standardize}")
    recipe = recipe.model_copy(update={"scores": ("outliers",)})
    folder = pipeline.run(recipe, root / "new", root / "store").path
    fusion = Fusion.load(folder / "model" / "fusion.safetensors")
    assert fusion == recipe.fusion and (fusion.standardizer is None) == (standardize == "false")
    assert RunFolder(folder).manifest["fusion"]["dimensions"] == {"hidden_states": 64, "routing_weights": 16}[method]


CHAPTERS = {
    "score npmi": ("npmi",),
    "score topic_diversity": ("topic_diversity",),
    "score prediction": ("prediction",),
    "score outliers": ("outliers",),
    "score ami": ("ami", "ari", "v_measure"),
    "experts": ("find_experts",),
    "hierarchy": ("hierarchical_topics",),
    "over_time": ("topics_over_time",),
    "per_class": ("topics_per_class",),
}


@pytest.mark.parametrize("error", [ValueError(), RecursionError(), KeyError(0), TypeError(), InputError("no times")])
def test_a_chapter_is_left_out_by_what_odd_data_makes_libraries_raise(error: Exception) -> None:
    heard = Heard()
    steps = Steps(heard)
    steps.chapter("hierarchy", partial(raise_, error))
    assert steps.left_out == {"hierarchy": f"{type(error).__name__}: {error}"} and "'hierarchy'" in heard.notes[0]


@pytest.mark.parametrize("fault", [OSError(28, "full"), MemoryError(), AssertionError(), ResourceError("full")])
def test_a_chapter_that_fails_by_the_machine_or_by_a_fault_of_ours_ends_the_run(fault: Exception) -> None:
    with pytest.raises(type(fault)):
        Steps(Progress()).chapter("hierarchy", partial(raise_, fault))


def raise_(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_that_fails_is_left_out_and_named_and_the_run_goes_on(
    root: Path, corpus: Path, tiny_olmoe: Path, monkeypatch: pytest.MonkeyPatch, chapter: str
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError("Distance matrix 'X' must not contain negative values")

    if chapter.startswith("score "):
        for name in CHAPTERS[chapter]:
            monkeypatch.setitem(SCORES, name, replace(SCORES[name], function=fail))
    else:
        monkeypatch.setattr(fit_stage, *CHAPTERS[chapter], fail)
    heard = Heard()
    recipe = recipe_of(corpus, tiny_olmoe, "report.html=true", "seed=7")
    run = pipeline.run(recipe, root / "run", root / "store", progress=heard)
    of_labels = {f"score {name}" for name in ("ami", "ari", "v_measure")}
    assert set(run.manifest["left_out"]) == (of_labels if chapter == "score ami" else {chapter})
    assert "negative values" in run.manifest["left_out"][chapter]
    assert any(f"{chapter!r} is left out" in note for note in heard.notes)
    page = RunFolder.report.path(run).read_text(encoding="utf-8")
    assert f"{chapter} (ValueError: Distance matrix" in page
    others = {
        "experts": run.experts,
        "hierarchy": run.hierarchy,
        "over_time": run.over_time,
        "per_class": run.per_class,
    }
    assert [name for name, content in others.items() if not content] == [name for name in others if name == chapter]
    missing = {"score npmi": "npmi", "score ami": "ami"}.get(chapter)
    assert missing not in run.scores and len(run.scores) >= 4


def odd_corpus(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    return path


EMOJI = [f"{a} {b} {c}" for a in "😀🚀🌷🏒" for b in "🌙⭐🔥🧄" for c in "🥅🍳🌱🛰🎯"]
STOP_WORDS = [
    f"{a} {b} {c}" for a in ("the", "and", "with") for b in ("about", "again", "of") for c in ("who", "it", "you", "to")
]
DIGITS = [f"{a} {b}" for a in range(9) for b in range(9)]


@pytest.mark.parametrize("lexical", [0, 1])
@pytest.mark.parametrize(
    ("texts", "cause", "override"),
    [
        (EMOJI, "No document holds a word of two letters or digits", r"vectorizer.token_pattern=\S+"),
        (STOP_WORDS, "All words of the documents are stop words", "topics.stop_words=null"),
        (DIGITS, "No document holds a word of two letters or digits", r"vectorizer.token_pattern=\S+"),
        (["the same text"] * 12, "12 documents are copies of 1", "corpus.text="),
        (["one two", "three four"] * 2, "at least 5 documents, got 4", ""),
        (
            [f"word{a} text{a}" for a in range(7)],
            "too few of them for two topics of hdbscan.min_cluster_size=4",
            "hdbscan.min_cluster_size=2",
        ),
    ],
)
def test_a_corpus_that_no_topic_can_describe_is_refused_with_the_cause_and_an_override_that_helps(
    tmp_path: Path, tiny_olmoe: Path, texts: list[str], cause: str, override: str, lexical: int
) -> None:
    corpus = odd_corpus(tmp_path / "odd.jsonl", texts)
    if lexical and "hdbscan" in cause:
        cause, override = "at most half of the 7 different documents", "fusion.lexical=0"
    with pytest.raises(InputError) as refusal:
        pipeline.run(recipe_of(corpus, tiny_olmoe, f"fusion.lexical={lexical}"), tmp_path / "run", tmp_path / "store")
    assert cause in str(refusal.value) and override in str(refusal.value) and "={" not in str(refusal.value)
    if override.endswith(("+", "null")):
        overrides = [override] + ["fusion.lexical=0"] * ("fusion.lexical=0" in str(refusal.value))
        run = pipeline.run(
            recipe_of(corpus, tiny_olmoe, f"fusion.lexical={lexical}", *overrides), tmp_path / "run", tmp_path / "store"
        )
        assert all(topic.words for topic in run.ranked_topics)


@pytest.mark.parametrize(
    ("override", "texts", "message"),
    [
        ("fusion.routing.layers=[1,2,3]", STOP_WORDS, "has 3 weights, and the model has 2 MoE layers"),
        ("fusion.lexical=1", [f"word{a} text{a}" for a in range(40)], "at most half of the 40 different documents"),
        ("fusion.lexical=1", EMOJI, "No document holds a word of two letters or digits"),
        ("fusion.filters=[align_words]", EMOJI, "The filter align_words needs words"),
    ],
)
def test_what_a_fusion_cannot_learn_is_told_before_anything_is_encoded(
    tmp_path: Path, tiny_olmoe: Path, no_model: None, override: str, texts: list[str], message: str
) -> None:
    corpus = odd_corpus(tmp_path / "odd.jsonl", texts)
    with pytest.raises(InputError, match=message):
        pipeline.run(recipe_of(corpus, tiny_olmoe, override), tmp_path / "run", tmp_path / "store")


def test_texts_that_were_cut_to_the_same_beginning_are_no_copies(tmp_path: Path, tiny_olmoe: Path) -> None:
    corpus = odd_corpus(
        tmp_path / "alike.jsonl", [f"{'the same beginning ' * 30} {end} {end * 2}" for end in range(40)]
    )
    with pytest.raises(InputError, match=r"40 different documents have 1 different vectors.*encoder\.max_tokens"):
        pipeline.run(recipe_of(corpus, tiny_olmoe, "encoder.max_tokens=16"), tmp_path / "run", tmp_path / "store")


@pytest.mark.slow
def test_a_thousand_copies_among_three_hundred_texts_give_the_same_topics_twice(
    tmp_path: Path, tiny_olmoe: Path
) -> None:
    """One case users have: 26 % of the topics agreed, or a distance below zero ended the hierarchy."""
    corpus = write_corpus(tmp_path / "posts.jsonl", 300)
    first = json.loads(corpus.read_text().splitlines()[0])
    copies = [json.dumps({**first, "id": f"copy {number}"}) + "\n" for number in range(1000)]
    corpus.write_text(corpus.read_text() + "".join(copies))
    recipe = recipe_of(corpus, tiny_olmoe, "hdbscan.min_cluster_size=10")
    runs = [pipeline.run(recipe, tmp_path / name, tmp_path / "store") for name in ("one", "two")]
    one, two = (run.result for run in runs)
    assert one.topics.tolist() == two.topics.tolist() and len(one.topic_info) > 2
    assert len(set(one.topics[300:].tolist()) | {int(one.topics[0])}) == 1, "copies are in one topic"
    assert all(run.hierarchy for run in runs)
