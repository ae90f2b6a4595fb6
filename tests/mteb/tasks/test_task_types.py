"""The task types of labelled files: each scores as mteb scores its own."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from task_doubles import score, task_rows, write

from moee_topics.errors import InputError
from moee_topics.mteb.tasks import LocalTask, TextRecorder, load, local_task, texts_of


def test_pairs_rank_by_similarity(tmp_path: Path) -> None:
    same = [{"sentence1": f"cat {i}", "sentence2": f"cat {i + 1}", "score": 5, "label": 1} for i in range(10)]
    other = [{"sentence1": f"cat {i}", "sentence2": f"dog {i}", "score": 0, "label": 0} for i in range(10)]
    rows = same + other
    sts = write(tmp_path / "sts.jsonl", [{k: v for k, v in row.items() if k != "label"} for row in rows])
    pairs = write(tmp_path / "pairs.jsonl", [{k: v for k, v in row.items() if k != "score"} for row in rows])
    assert score(LocalTask(None, sts))["cosine_spearman"] > 0.8
    assert score(LocalTask(None, pairs))["max_ap"] == 1


def ranking_rows() -> list[dict[str, Any]]:
    return [
        {"query": f"{word} q", "positive": [f"{word} a", f"{word} b"], "negative": ["car x", "car yy"]}
        for word in ("cat", "dog", "sun")
    ]


def test_candidates_rank_in_both_layouts(tmp_path: Path) -> None:
    grouped = write(tmp_path / "grouped.jsonl", ranking_rows())
    flat = tmp_path / "flat.csv"
    with flat.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["query", "candidate", "label"])
        writer.writeheader()
        for row in ranking_rows():
            for side, label in (("positive", 1), ("negative", 0)):
                writer.writerows({"query": row["query"], "candidate": text, "label": label} for text in row[side])
    scores = [score(LocalTask(None, path)) for path in (grouped, flat)]
    assert [s["map_at_1000"] for s in scores] == [1, 1]
    assert score(LocalTask("Retrieval", grouped))["ndcg_at_10"] == 1


def test_a_classifier_learns_from_the_training_file(tmp_path: Path, labelled: Path) -> None:
    train = write(
        tmp_path / "train.jsonl", [{"text": f"{w} {i}", "label": w} for w in ("cat", "dog", "sun") for i in range(20)]
    )
    source = local_task(LocalTask(None, labelled, train=train, samples_per_label=4))
    assert source.type == "Classification"
    assert score(LocalTask(None, labelled, train=train, samples_per_label=4))["accuracy"] == 1
    assert score(LocalTask(None, labelled, train=train, samples_per_label=4), TextRecorder())["accuracy"] < 0.7


def test_a_summary_is_scored_by_its_nearest_human_one(tmp_path: Path) -> None:
    row = {
        "text": "cat story",
        "human_summaries": ["cat one"],
        "machine_summaries": ["cat one", "cat " + "x" * 300, "dog one"],
        "relevance": [5.0, 3.0, 1.0],
    }
    assert score(LocalTask(None, write(tmp_path / "s.jsonl", [row, row])))["cosine_spearman"] == pytest.approx(1)


@pytest.mark.parametrize("score", [float("nan"), "NaN", float("inf"), "high", True, "1_000", 10**400, "1e999", [3]])
def test_a_score_that_is_no_number_is_refused_by_line(tmp_path: Path, score: Any) -> None:
    good = [{"sentence1": "x", "sentence2": "y", "score": i} for i in range(3)]
    with pytest.raises(InputError, match=r"line 4: the score is .*not a number"):
        task_rows(tmp_path, [*good, {**good[0], "score": score}], "STS")


def test_blank_and_null_candidates_are_left_out_and_counted(tmp_path: Path) -> None:
    row = {"query": "q", "positive": ["yes", "", None], "negative": ["no", "  "]}
    source = task_rows(tmp_path, [row, {"query": "r", "positive": "yes", "negative": "no"}], "Reranking")
    assert source.left_out == 3 and set(texts_of(source)) == {"q", "r", "yes", "no"}


def test_a_candidate_marked_both_ways_is_refused_by_line(tmp_path: Path) -> None:
    rows = [{"query": "q", "candidate": "a", "label": label} for label in (1, 0)]
    with pytest.raises(InputError, match=r"line 2: the candidate 'a' is marked both 1 and 0"):
        task_rows(tmp_path, rows, "Reranking")


@pytest.mark.parametrize(("query", "candidate"), [("q", "a "), ("q", "\ta"), ("q ", "a"), (" q", "a\n")])
def test_white_space_makes_no_other_candidate_that_could_be_marked_otherwise(
    tmp_path: Path, query: str, candidate: str
) -> None:
    rows = [{"query": "q", "candidate": "a", "label": 1}, {"query": query, "candidate": candidate, "label": 0}]
    for kind in ("Reranking", "Retrieval"):
        with pytest.raises(InputError, match=r"line 2: the candidate .* is marked both 1 and 0"):
            task_rows(tmp_path, rows, kind)
    grouped = [{"query": "q", "positive": ["a"], "negative": ["b", "a "]}]
    with pytest.raises(InputError, match="line 1: the candidate 'a ' is marked both 1 and 0"):
        task_rows(tmp_path, grouped, "Reranking")


@pytest.mark.parametrize(("query", "candidate"), [("q", "a"), ("q", " a"), ("q\n", "a"), (" q", "a ")])
def test_a_candidate_that_stands_twice_counts_once(tmp_path: Path, query: str, candidate: str) -> None:
    triples = (("q", "a", 1), (query, candidate, 1), (query, "b", 0))
    rows = [{"query": asked, "candidate": text, "label": label} for asked, text, label in triples]
    relevant = load(task_rows(tmp_path, rows, "Reranking")).dataset["default"]["test"]["relevant_docs"]
    assert relevant == {"q0": {"q0-d0": 1, "q0-d1": 0}}


def test_retrieval_takes_grades_and_reranking_does_not(tmp_path: Path) -> None:
    rows = [{"query": "q", "candidate": f"c{grade}", "label": grade} for grade in (0, 1, 2)]
    relevant = load(task_rows(tmp_path, rows, "Retrieval")).dataset["default"]["test"]["relevant_docs"]
    assert relevant == {"q0": {"d1": 1, "d2": 2}}
    with pytest.raises(InputError, match=r"line 3: the label is 2; binary labels"):
        task_rows(tmp_path, rows, "Reranking")


@pytest.mark.parametrize("text", [True, {"a": 1}, [1, 2], [None]])
def test_a_text_that_is_none_is_refused_by_line(tmp_path: Path, text: Any) -> None:
    good = [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(3)]
    with pytest.raises(InputError, match=r"line 4: the text is a (bool|dict|list), expected a string"):
        task_rows(tmp_path, [*good, {"text": text, "label": "a"}], "Clustering")
    with pytest.raises(InputError, match=r"line 4: the label is a list"):
        task_rows(tmp_path, [*good, {"text": "x", "label": ["a"]}], "Clustering")


def test_texts_are_those_that_a_corpus_of_the_same_file_has(tmp_path: Path) -> None:
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate((["two", "words"], "half \ud800", 12))]
    source = task_rows(tmp_path, [*rows, {"text": [" "], "label": "a"}], "Clustering")
    assert texts_of(source) == ["two words", "half ?", "12"] and source.left_out == 1


@pytest.mark.parametrize("label", ["²", "1" * 5000, "-1", 0.5, [1]])
def test_a_label_that_is_no_grade_is_refused_by_line(tmp_path: Path, label: Any) -> None:
    rows = [{"query": "q", "candidate": f"c{i}", "label": i % 2} for i in range(2)]
    for kind in ("Reranking", "Retrieval"):
        with pytest.raises(InputError, match=r"line 3: the label is "):
            task_rows(tmp_path, [*rows, {"query": "q", "candidate": "c", "label": label}], kind)


def test_lists_of_candidates_in_a_csv_are_json(tmp_path: Path) -> None:
    path = tmp_path / "grouped.csv"
    path.write_text('query,positive,negative\nq,"[""a"", ""b""]",[deleted]\n')
    assert set(texts_of(local_task(LocalTask(None, path)))) == {"q", "a", "b", "[deleted]"}
    path.write_text("query,positive,negative\nq,\"['a', 'b']\",c\n")
    with pytest.raises(InputError, match=r"line 2: .* begins as a list and is not one\. Write lists as JSON"):
        local_task(LocalTask(None, path))


@pytest.mark.parametrize("candidates", [5, True, {"a": 1}, [["a"]]])
def test_candidates_that_are_no_texts_are_refused_by_line(tmp_path: Path, candidates: Any) -> None:
    row = {"query": "q", "positive": ["yes"], "negative": ["no"]}
    odd = {**row, "negative": candidates}
    if candidates == 5:  # a number is a text, as in a csv file
        assert "5" in texts_of(task_rows(tmp_path, [row, {**odd, "query": "r"}], "Reranking"))
        return
    with pytest.raises(InputError, match=r"line 2: the text is a "):
        task_rows(tmp_path, [row, odd] if candidates != [["a"]] else [row, {**row, "negative": [{}]}], "Reranking")


def test_candidates_of_queries_that_cannot_be_ranked_are_counted(tmp_path: Path) -> None:
    rows = [{"query": q, "candidate": c, "label": mark} for q, c, mark in ("qa1", "qb0", "ra1", "rb1", "sa0")]
    for kind in ("Reranking", "Retrieval"):
        source = task_rows(tmp_path, [{**row, "label": int(row["label"])} for row in rows], kind)
        assert source.left_out == 3 and "r" not in texts_of(source)


def summaries_table(path: Path, relevance: str) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "machine_summaries", "human_summaries", "relevance"])
        writer.writerow(["t", '["a", "b"]', '["c"]', relevance])
    return path


@pytest.mark.parametrize("relevance", ["[1, 2.5]", " [1,2.5] ", '["1", "2.5"]'])
def test_relevance_in_a_csv_file_is_a_list_as_json(tmp_path: Path, relevance: str) -> None:
    task = load(local_task(LocalTask("Summarization", summaries_table(tmp_path / "s.csv", relevance))))
    assert task.dataset["test"]["relevance"] == [[1, 2.5]]


@pytest.mark.parametrize("relevance", ["1", "[1]", "1, 2", "[1, 2", "[1, true]", "[1, NaN]", "one", "[[1, 2]]", "{}"])
def test_relevance_that_is_no_list_of_numbers_is_refused_by_line(tmp_path: Path, relevance: str) -> None:
    with pytest.raises(
        InputError, match=r"line 2: there must be one relevance score .* such as \[5, 2\.5\]: got .* 2\."
    ):
        local_task(LocalTask("Summarization", summaries_table(tmp_path / "s.csv", relevance)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relevance": [1, None]}, "one relevance score for each"),
        ({"relevance": [1, True]}, "one relevance score for each"),
        ({"machine_summaries": ["a", " "]}, "a summary is blank"),
        ({"human_summaries": [None]}, "a summary is blank"),
        ({"relevance": [2, 2]}, "nothing to correlate with"),
        ({"human_summaries": [{}]}, "the text is a dict"),
    ],
)
def test_summaries_that_cannot_be_scored_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    row = {"text": "t", "machine_summaries": ["a", "b"], "human_summaries": ["c"], "relevance": [1, 2]}
    assert set(texts_of(task_rows(tmp_path, [{**row, "human_summaries": "c"}], None))) == {"a", "b", "c"}
    with pytest.raises(InputError, match=message):
        task_rows(tmp_path, [{**row, **change}], None)
