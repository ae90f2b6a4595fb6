from __future__ import annotations

import base64
import csv
import gzip
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from small_run import HOSTILE, small_run, write_json

from moee_topics.errors import InputError, MissingExtraError
from moee_topics.evaluate.topic_experts import find_experts
from moee_topics.report import ReportSettings, export_report, write_comparison, write_report
from moee_topics.report import exports as exports_module
from moee_topics.report.comparison_page import compare_runs
from moee_topics.report.methods_page import ScoreRow, compare_methods, write_methods
from moee_topics.report.payload import (
    alike_in_routing_only,
    documents_payload,
    embedded_json,
    sampled_rows,
    topic_colours,
)
from moee_topics.report.reading import markdown_text, percent, read_score, seconds_read
from moee_topics.report.stability_chapter import stability_chapter
from moee_topics.report.topic_layout import topic_layout
from moee_topics.run_folder import RunFolder, title
from moee_topics.topics.result import Topic, TopicResult


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run(tmp_path_factory.mktemp("hostile"), hostile=True)


class Scripts(HTMLParser):
    """The script elements and every attribute of a page, as a browser's parser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.content: list[tuple[dict[str, str | None], str]] = []
        self.attributes: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.inside = tag == "script"
        if self.inside:
            self.content.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            attributes, before = self.content[-1]
            self.content[-1] = (attributes, before + data)

    def payload(self, name: str) -> str:
        return next(text for attributes, text in self.content if attributes.get("id") == name)


def unpacked(page: str) -> dict[str, Any]:
    return dict(json.loads(gzip.decompress(base64.b64decode(Scripts(page).payload("packed")))))


def test_the_report_is_one_file_that_names_nothing_outside_itself(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["page.html"]
    outside = [
        value for name, value in Scripts(page).attributes if name in ("src", "href") and not value.startswith("#")
    ]
    assert outside == ["data:,"]
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", page.split('id="packed"')[0])
    assert any(value.startswith("default-src 'none'") for name, value in Scripts(page).attributes if name == "content")


def test_the_report_goes_into_the_run_folder_and_reads_nothing_else(run: Path) -> None:
    assert write_report(run) == run / "report.html"
    first = (run / "report.html").read_bytes()
    assert write_report(run).read_bytes() == first


def test_every_document_is_in_the_report_with_its_topic(run: Path) -> None:
    documents = unpacked(write_report(run).read_text(encoding="utf-8"))
    result = TopicResult.load(run)
    assert documents["texts"] == list(result.texts)
    assert documents["topics"] == result.topics.tolist()
    assert documents["cut"] == []


def test_hostile_text_leaves_the_page_s_three_scripts_alone(hostile: Path) -> None:
    page = write_report(hostile).read_text(encoding="utf-8")
    parsed = Scripts(page)
    assert [attributes.get("type") for attributes, _ in parsed.content] == ["application/json", None, "text/plain"]
    assert not {name for name, _ in parsed.attributes if name.startswith("on")}
    assert "img" not in parsed.tags and "window.hacked" not in parsed.content[1][1]
    assert json.loads(parsed.payload("first"))["topics"][1]["name"] == HOSTILE[0]
    assert unpacked(page)["ids"][1] == f"post-1{HOSTILE[1]}"


@pytest.mark.parametrize("text", [*HOSTILE, "a & b", "\u2028\u2029", "<!--<script>"])
def test_embedded_json_says_the_same_and_closes_nothing(text: str) -> None:
    embedded = embedded_json({"text": text})
    assert json.loads(embedded) == {"text": text}
    assert not set(embedded) & set("<>&\u2028\u2029")


def bare_run(folder: Path, texts: list[str], topics: list[int] | None = None) -> Path:
    """A run with nothing but what a topic model must have."""
    numbers = np.array(topics if topics is not None else [0] * len(texts), dtype=np.int64)
    count = len(texts)
    info = [Topic(t, int((numbers == t).sum()), f"{t}_word", [("word", 1.0)]) for t in sorted(set(numbers.tolist()))]
    positions = np.column_stack([np.arange(count), np.zeros(count)]).astype(np.float32)
    ids = [str(i) for i in range(count)]
    TopicResult(ids, texts, numbers, np.ones(count, np.float32), positions, info).save(folder)
    return folder


def test_a_run_without_any_optional_file_has_a_report(tmp_path: Path) -> None:
    page = write_report(bare_run(tmp_path / "plain", ["one", "two", "three"])).read_text(encoding="utf-8")
    assert '<h1 id="overview-title">plain</h1>' in page
    for absent in ("experts", "hierarchy", "time", "labels", "outliers"):
        assert f'<section id="{absent}"' not in page


def test_distances_of_the_hierarchy_may_be_a_little_below_nothing(tmp_path: Path) -> None:
    """1 - cos of equal float32 vectors is -1e-7; runs of 0.1.0 that got through have such files."""
    folder = small_run(tmp_path / "run")
    rows = [{"parent": 4, "left": 0, "right": 1, "distance": -1.2e-7, "name": "x"}]
    write_json(folder / "hierarchy.json", rows)
    first = json.loads(Scripts(write_report(folder).read_text(encoding="utf-8")).payload("first"))
    assert first["hierarchy"] == [[4, 0, 1, 0, "x"]]


@pytest.mark.parametrize("topics", [[], [-1, -1, -1], [0]])
def test_no_documents_only_outliers_and_a_single_document_have_a_report(tmp_path: Path, topics: list[int]) -> None:
    folder = bare_run(tmp_path / "run", ["text"] * len(topics), topics)
    page = write_report(folder).read_text(encoding="utf-8")
    assert len(unpacked(page)["ids"]) == len(topics)
    assert [path.suffix for path in export_report(folder, ["markdown", "svg", "csv", "json"], tmp_path / "out")]


def test_a_large_corpus_is_cut_to_fit_the_file_the_longest_texts_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moee_topics.report.payload.TEXT_BYTES", 20_000)
    texts = ["short text"] * 500 + [f"{'long text ' * 150}{i}" for i in range(100)]
    packed, longest = documents_payload(RunFolder.read(bare_run(tmp_path / "run", texts)))
    kept = json.loads(gzip.decompress(base64.b64decode(packed)))
    assert kept["texts"][:500] == texts[:500]
    assert longest == 150 and {len(text) for text in kept["texts"][500:]} <= set(range(140, 151))
    assert kept["cut"] == list(range(500, 600))
    page = write_report(tmp_path / "run").read_text(encoding="utf-8")
    assert "at most 150 characters" in page


def test_a_representative_document_keeps_more_of_its_text(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moee_topics.report.payload.TEXT_BYTES", 100)
    monkeypatch.setattr("moee_topics.report.payload.SHORTEST_TEXT", 12)
    loaded = RunFolder.read(run)
    packed, longest = documents_payload(loaded)
    texts = json.loads(gzip.decompress(base64.b64decode(packed)))["texts"]
    kept = {row for topic in loaded.result.topic_info for row in topic.representative_docs}
    assert longest == 12
    assert all(len(text) <= 12 or row in kept for row, text in enumerate(texts))
    assert all(texts[row] == loaded.result.texts[row] for row in kept)


def test_the_sample_of_the_map_keeps_every_topic_s_share() -> None:
    topics = np.repeat([-1, 0, 1, 2], [4000, 3000, 2000, 1000])[np.random.default_rng(0).permutation(10_000)]
    rows = sampled_rows(topics, 1000)
    assert len(set(rows.tolist())) == 1000 and (np.diff(rows) > 0).all()
    assert [int((topics[rows] == t).sum()) for t in (-1, 0, 1, 2)] == pytest.approx([400, 300, 200, 100], abs=2)
    assert sampled_rows(topics, 10_000).tolist() == list(range(10_000))


def test_the_ten_largest_topics_have_colours_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    topics = np.sort(rng.choice(30, 3000, p=np.arange(30, 0, -1) / 465))
    colours = topic_colours(run := RunFolder.read(bare_run(tmp_path, ["t"] * 3000, topics.tolist())))
    assert len({colours[topic.topic] for topic in run.ranked_topics[:10]}) == 10
    assert set(colours.values()) == set(range(10))


def test_like_topics_are_drawn_side_by_side_and_always_at_the_same_place() -> None:
    rng = np.random.default_rng(0)
    group = np.arange(40) % 4
    vectors = rng.normal(size=(4, 10))[group] + rng.normal(size=(40, 10)) * 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    positions = topic_layout(vectors @ vectors.T)
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1) + np.diag(np.full(40, np.inf))
    assert (group[apart.argmin(axis=1)] == group).all()
    np.testing.assert_array_equal(positions, topic_layout(vectors @ vectors.T))
    assert topic_layout(np.ones((1, 1))).tolist() == [[0, 0]]


@pytest.mark.parametrize("topics", [2, 3, 4, 5, 6, 7, 8, 30])
def test_topics_that_have_nothing_in_common_are_drawn_apart(topics: int) -> None:
    positions = topic_layout(np.eye(topics))
    apart = np.linalg.norm(positions[:, None] - positions, axis=-1)
    assert apart[np.triu_indices(topics, 1)].min() > 0.1 * apart.max()


def test_topics_alike_in_routing_but_not_in_words_are_found(tmp_path: Path) -> None:
    rng, topics = np.random.default_rng(0), np.repeat(np.arange(4), 60)
    weights = rng.dirichlet(np.full(8, 2.0), (240, 2))
    for topic, expert in {0: 1, 1: 6, 2: 1, 3: 6}.items():
        weights[topics == topic, 1, expert] += 1
    words = {0: ["alpha", "beta"], 1: ["gamma", "delta"], 2: ["eta", "theta"], 3: ["gamma", "delta"]}
    info = [Topic(t, 60, f"{t}_x", [(word, 1.0) for word in words[t]]) for t in range(4)]
    positions = rng.normal(size=(240, 2)).astype(np.float32)
    ids = [str(i) for i in range(240)]
    TopicResult(ids, ids, topics, np.ones(240, np.float32), positions, info).save(tmp_path)
    experts = find_experts(weights, topics, rng=rng, resamples=5)
    found = alike_in_routing_only(RunFolder.read(tmp_path), experts)
    assert [(a, b, shared) for a, b, _, shared in found] == [(0, 2, 0.0)]  # 1 and 3 share their words
    assert found[0][2] > 0.8


@pytest.mark.parametrize(
    ("name", "value", "level", "shown"),
    [
        ("npmi", 0.2, "good", "0.20"),
        ("npmi", -0.1, "weak", "-0.10"),
        ("outlier_share", 0.1, "good", "10 %"),
        ("outlier_share", 0.3, "fair", "30 %"),
        ("outlier_share", 0.6, "weak", "60 %"),
        ("ami", None, "none", "–"),
        ("ami", float("nan"), "none", "–"),
        ("inverted_rbo", 0.5, "none", "0.500"),
    ],
)
def test_a_score_is_read_by_its_direction(name: str, value: float | None, level: str, shown: str) -> None:
    score = read_score(name, {"value": value, "description": "what it is"})
    assert (score.level, score.value, score.description) == (level, shown, "what it is")


def test_numbers_are_written_as_a_person_would() -> None:
    assert [percent(0), percent(0.004), percent(0.5), percent(0.999), percent(1)] == [
        "0 %",
        "0.4 %",
        "50 %",
        "99.9 %",
        "100 %",
    ]
    assert [seconds_read(5.25), seconds_read(75), seconds_read(3720), seconds_read(None)] == [
        *("5.2 s", "1 min 15 s", "1 h 02 min", "–"),
    ]
    assert title(Topic(3, 1, "3_a_b", [("alpha", 1.0), ("beta", 0.5)])) == "alpha, beta"
    assert title(Topic(3, 1, "Space travel", [("alpha", 1.0)])) == "Space travel"
    assert title(Topic(-1, 1, "-1_a_b", [])) == "Outliers"


@pytest.mark.parametrize("text", [*HOSTILE, "a|b", "[x](javascript:y)", "line\nbreak", "*bold* `code`"])
def test_markdown_keeps_text_as_text(text: str) -> None:
    safe = markdown_text(text)
    assert "\n" not in safe and "<" not in safe
    assert not re.search(r"(?<!\\)[|\[\]`*]", safe)


def test_the_exported_tables_hold_every_topic_and_document(run: Path, tmp_path: Path) -> None:
    names = {path.name for path in export_report(run, ["csv", "parquet", "json", "markdown"], tmp_path)}
    tables = {f"{table}.{kind}" for table in ("topics", "documents", "experts") for kind in ("csv", "parquet")}
    assert names == tables | {"report.json", "report.md"}
    result = TopicResult.load(run)
    assert pq.read_table(tmp_path / "documents.parquet")["text"].to_pylist() == list(result.texts)
    rows = list(csv.DictReader((tmp_path / "topics.csv").open(encoding="utf-8", newline="")))
    assert sum(int(row["documents"]) for row in rows) == len(result) and rows[-1]["name"] == "Outliers"
    experts = pq.read_table(tmp_path / "experts.parquet").to_pylist()
    assert {(row["topic"], row["layer"], row["expert"]) for row in experts} >= {(t, 2, t) for t in range(4)}
    assert len(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["topics"]) == 5
    assert "| hockey, goal, team |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path: Path) -> None:
    folder = bare_run(tmp_path / "run", ["=HYPERLINK(1)", "+1", "@x", "plain", "\n=1", "＝1", "-2"])
    export_report(folder, ["csv"], tmp_path)
    rows = list(csv.DictReader((tmp_path / "documents.csv").open(encoding="utf-8", newline="")))
    assert [row["text"] for row in rows] == ["'=HYPERLINK(1)", "'+1", "'@x", "plain", "'\n=1", "'＝1", "'-2"]


def test_figures_are_valid_svg_even_of_hostile_names(hostile: Path, tmp_path: Path) -> None:
    written = export_report(hostile, ["svg"], tmp_path)
    assert {path.name for path in written} == {"map.svg", "topics.svg", "layers.svg"}
    for path in written:
        tags = {element.tag.split("}")[1] for element in ElementTree.parse(path).iter()}
        assert tags <= {"svg", "title", "rect", "path", "text"}
    assert HOSTILE[0] in "".join(ElementTree.parse(tmp_path / "topics.svg").getroot().itertext())


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="needs matplotlib")
def test_the_map_is_written_as_png(run: Path, tmp_path: Path) -> None:
    (path,) = export_report(run, ["png"], tmp_path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_datamapplot_picture_is_drawn_without_a_network(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datamapplot", reason="needs the extra [datamap]")
    monkeypatch.setattr("requests.sessions.Session.request", lambda *_, **__: pytest.fail("it asks the network"))
    (path,) = export_report(run, ["datamapplot"], tmp_path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_missing_package_and_an_unknown_format_are_clear_errors(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports_module.importlib.util, "find_spec", lambda name: None)
    for name in ("png", "datamapplot"):
        with pytest.raises(MissingExtraError, match=r"moee-topics\[datamap\]"):
            export_report(run, [name], tmp_path)
    with pytest.raises(InputError, match="no export format 'docx'"):
        export_report(run, ["docx"], tmp_path)


STABILITY = {
    "seeds": {"fits": 5, "ami": 0.812, "ami_lowest": 0.7, "pairwise_ami": [], "words": 0.61, "topics": [4, 4, 3, 5, 4]},
    "bootstrap": {"fits": 3, "ami": 0.6, "ami_lowest": 0.55, "pairwise_ami": [], "words": None, "topics": [4, 4, 4]},
    "topics": {
        "0": {"seeds": 0.95, "bootstrap": 0.9},
        "1": {"seeds": 0.9, "bootstrap": 0.49},
        "2": {"seeds": 0.6, "bootstrap": 0.8},
        "3": {"seeds": 0.75, "bootstrap": 0.75},
    },
}


def test_the_report_shows_how_stable_the_topics_are_the_least_stable_first(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run")
    write_json(folder / "stability.json", STABILITY)
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    scores["stability"] = {"value": 0.812, "description": "of 5 fits", "higher_is_better": True}
    write_json(folder / "scores.json", scores)
    chapter = stability_chapter(RunFolder.read(folder))
    assert chapter is not None
    assert [(row.topic.topic, row.mark) for row in chapter.topics] == [
        (1, "dissolves"), (2, "in part"), (3, "stable"), (0, "stable"),
    ]  # fmt: skip
    assert chapter.topics[0].figures == ["0.90", "0.49"]
    assert [(row.fits, row.ami, row.words, row.topics) for row in chapter.fits] == [
        ("5", "0.81", "0.61", "3 to 5"), ("3", "0.60", "–", "4"),
    ]  # fmt: skip
    page = write_report(folder).read_text(encoding="utf-8")
    assert "nearly the same topics. Of 4 topics 2 are stable and 1 dissolves." in page
    assert "<dt>Stability</dt>" in page.split('id="topics"')[0], "a card in the overview"
    (text,) = export_report(folder, ["markdown"], tmp_path)
    assert "| stability | 0.81 | Fitted again, the corpus gives nearly the same topics. |" in text.read_text()


def test_stability_with_seeds_alone_or_with_nothing_that_can_be_read(tmp_path: Path) -> None:
    folder = small_run(tmp_path / "run", hostile=True)
    write_json(folder / "stability.json", {"seeds": {**STABILITY["seeds"], "ami": HOSTILE[0]}, "topics": {"0": {}}})
    chapter = stability_chapter(RunFolder.read(folder))
    assert chapter is not None and chapter.kinds == ["Other seeds"]
    assert {row.mark for row in chapter.topics} == {""} and chapter.fits[0].ami == "–"
    assert 'id="stability"' in write_report(folder).read_text(encoding="utf-8")
    write_json(folder / "stability.json", {"ami": 0.5})
    assert stability_chapter(RunFolder.read(folder)) is None


def test_methods_are_set_side_by_side_with_a_page_for_every_two(run: Path, tmp_path: Path) -> None:
    other = small_run(tmp_path / "other", seed=1)
    found = write_methods({"concat": run, "hidden_states": other, "mine": run}, tmp_path / "out", name=HOSTILE[0])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "methods.html", "concat-hidden_states.html", "concat-mine.html", "hidden_states-mine.html",
    }  # fmt: skip
    assert found.ami[0, 2] == pytest.approx(1) and abs(found.ami[0, 1]) < 0.1
    assert np.array_equal(found.ami, found.ami.T)
    page = (tmp_path / "out" / "methods.html").read_text(encoding="utf-8")
    parsed = Scripts(page)
    links = {value for name, value in parsed.attributes if name == "href" and value[:1] not in "#d"}
    assert {f"{a}-{b}.html" for a, b in [("concat", "hidden_states"), ("concat", "mine")]} <= links
    assert all((tmp_path / "out" / link).is_file() for link in links)
    assert "img" not in parsed.tags and len(parsed.content) == 1
    assert any(value.startswith("default-src 'none'") for name, value in parsed.attributes if name == "content")
    rows = {row.name: row for row in found.rows}
    assert rows["topics"].shown() == ["4", "4", "4"] and rows["ami"].shown() == ["–"] * 3
    assert rows["npmi"].best is None, "all the same"


def test_the_best_of_a_measure_is_by_its_direction() -> None:
    values = (0.3, None, 0.1)
    assert [ScoreRow("x", "", values, better).best for better in (True, False, None)] == [0, 2, None]
    assert ScoreRow("x", "", (0.2, 0.2001, 0.1), True).best is None, "two that read the same"
    assert ScoreRow("x", "", values, False, percent=True).shown() == ["30.0 %", "–", "10.0 %"]


def test_one_method_cannot_be_compared(run: Path) -> None:
    with pytest.raises(InputError, match="at least 2"):
        compare_methods({"concat": run})


def test_a_run_compared_with_itself_agrees_in_everything(run: Path, tmp_path: Path) -> None:
    comparison = compare_runs(run, run)
    assert comparison.agreement.ami == pytest.approx(1) and comparison.settings == []
    assert all(pair.first == pair.second and pair.jaccard == 1 for pair in comparison.matching.pairs)
    page = write_comparison(run, run, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "4 of the first are found again" in page and "4 topics stand against 4" in page


def test_a_merged_topic_is_told_as_absorbed_on_one_side(run: Path, tmp_path: Path) -> None:
    result, other = TopicResult.load(run), tmp_path / "other"
    merged = np.where(result.topics == 3, 2, result.topics)
    info = [topic for topic in result.topic_info if topic.topic != 3]
    TopicResult(result.ids[::-1], result.texts[::-1], merged[::-1], *_rest(result), info).save(other)
    write_json(other / "run.json", {"name": "merged", "recipe": {"seed": 2}})
    comparison = compare_runs(run, other)
    assert {fate.topic: fate.fate for fate in comparison.matching.second_fates}[2] in ("split", "matched")
    assert ("seed", "0", "2") in comparison.settings
    text = write_comparison(run, other, tmp_path / "two.md").read_text(encoding="utf-8")
    assert "# small and merged" in text and "| hockey, goal, team |" in text
    assert re.search(r"- (disk, drive, cable|bread, flour, oven) \(\d+\): absorbed", text)


def _rest(result: TopicResult) -> tuple[Any, Any]:
    return result.probabilities[::-1], result.positions[::-1]


def test_runs_of_different_corpora_cannot_be_compared(run: Path, tmp_path: Path) -> None:
    TopicResult(["else"], ["text"], np.zeros(1, int), np.ones(1), np.zeros((1, 2)), [Topic(0, 1, "a", [])]).save(
        tmp_path
    )
    with pytest.raises(InputError, match="share no document id"):
        compare_runs(run, tmp_path)


def test_what_is_no_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"topics\.parquet is missing"):
        write_report(tmp_path)
    folder = bare_run(tmp_path / "run", ["text"])
    with pytest.raises(InputError, match="map_documents=0"):
        write_report(folder, settings=ReportSettings(map_documents=0))
    (folder / "scores.json").write_text("{not json", encoding="utf-8")
    with pytest.raises(InputError, match=r"scores\.json cannot be read .* Make it again with: moee-topics run"):
        write_report(folder)
    (folder / "scores.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match=r"scores\.json is damaged .*dictionary.* Make it again with: moee-topics run"):
        write_report(folder)
