"""A run over HTTP, by a real server at a port of this machine."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from bag_of_words import THEMES
from served_runs import Client, Served

from moee_topics import run as pipeline
from moee_topics.corpus import Document
from moee_topics.run import Predictor
from moee_topics.run_folder import RunFolder
from moee_topics.serve import ServeSettings
from moee_topics.serve.service import TopicService
from moee_topics.topics import Decision

TEXTS = [" ".join(words.split()[:6]) for words in THEMES.values()]


def test_predictions_are_those_of_the_command(client: Client, run_folder: Path) -> None:
    answer = client.post("/predict", {"documents": [{"id": "a", "text": TEXTS[0]}, *TEXTS[1:]]})
    names = ["a", *map(str, range(2, len(TEXTS) + 1))]
    documents = [Document(name, text) for name, text in zip(names, TEXTS, strict=True)]
    own = [asdict(row) for row in pipeline.predict(run_folder, documents)]
    assert answer.status == 200 and answer.json == {"predictions": own, "without_text": []}


def test_one_by_one_each_document_goes_through_the_model_alone(
    service: TopicService, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sizes = Predictor.vectors, list[int]()

    def counted(self: Predictor, texts: list[str]) -> Any:
        sizes.append(len(texts))
        return whole(self, texts)

    monkeypatch.setattr(Predictor, "vectors", counted)
    with Served(service, ServeSettings(port=0, one_by_one=True)) as alone:
        rows = alone.post("/predict", {"documents": TEXTS}).json["predictions"]
    assert sizes == [1] * len(TEXTS)
    documents = [Document(str(place), text) for place, text in enumerate(TEXTS, 1)]
    assert rows == [asdict(row) for one in documents for row in pipeline.predict(run_folder, [one])]


def test_requests_at_the_same_time_get_each_its_own_answers(client: Client) -> None:
    requests = [[f"{TEXTS[number % len(TEXTS)]} {number}", TEXTS[0]] for number in range(40)]
    alone = [client.post("/predict", {"documents": texts}).json for texts in requests]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda texts: client.post("/predict", {"documents": texts}).json, requests))
    assert together == alone


def test_a_text_is_cleaned_as_the_run_cleaned_its_own(client: Client) -> None:
    plain, marked = client.post("/predict", {"documents": [TEXTS[0], f"<p>{TEXTS[0]}</p>"]}).json["predictions"]
    assert {**plain, "id": "2"} == marked


def test_documents_without_text_are_named(client: Client) -> None:
    answer = client.post("/predict", {"documents": [" \n", {"id": "tags", "text": "<br>"}, TEXTS[0]]}).json
    assert [row["id"] for row in answer["predictions"]] == ["3"] and answer["without_text"] == ["1", "tags"]


def test_equal_ids_are_kept(client: Client) -> None:
    rows = client.post("/predict", {"documents": [{"id": "a", "text": text} for text in TEXTS]}).json["predictions"]
    assert [row["id"] for row in rows] == ["a"] * len(TEXTS)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"documents": [', "no JSON (Expecting value at character 15)"),
        (b"\xff\xfe", "body"),
        ({}, "documents"),
        ({"documents": []}, "at least 1"),
        ({"documents": "a text"}, "Expected"),
        ({"documents": [1]}, "Expected"),
        ({"documents": [{"id": "a"}]}, "text"),
        ({"documents": ["a"], "alpha": 1}, "alpha"),
        ({"documents": ["a"] * 51}, "51 documents, at most 50"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused_by_name(client: Client, body: object, says: str) -> None:
    answer = client.post("/predict", body)
    assert answer.status == 422 and says in answer.json["error"]["message"]


def test_every_refusal_has_one_form_and_says_what_to_do(client: Client) -> None:
    plain = Client(client.port, {"Content-Type": "application/x-www-form-urlencoded"})
    refused = {
        "no JSON in UTF-8": (400, client.post("/predict", b'{"documents": ["\xff"]}')),
        "nested too deeply": (400, client.post("/predict", b"[" * 100_000)),
        "Content-Type is not application/json": (422, plain.post("/predict", {"documents": TEXTS})),
        "nothing at '/nowhere'": (404, client.get("/nowhere")),
        "/predict takes no GET": (405, client.get("/predict")),
    }
    for says, (status, answer) in refused.items():
        assert answer.status == status and says in answer.json["error"]["message"]


def test_a_search_finds_what_the_run_finds(client: Client, run_folder: Path) -> None:
    found = client.get("/search?" + urlencode({"text": TEXTS[0], "most": 3})).json
    own = RunFolder.read(run_folder).search(TEXTS[0], most=3)
    assert found["documents"] == own.documents.to_dict("records") and len(found["documents"]) == 3
    assert found["topics"] == own.topics.to_dict("records")
    assert client.get("/search?" + urlencode({"text": f"<p>{TEXTS[0]}</p>", "most": 3})).json == found


@pytest.mark.parametrize(
    "query", ["", "?text=", "?text=%20%0A", "?text=a&most=0", "?text=a&most=101", "?text=" + 10_001 * "a"]
)
def test_a_search_for_nothing_or_too_much_is_refused(client: Client, query: str) -> None:
    answer = client.get("/search" + query)
    assert answer.status == 422 and answer.json["error"]["message"].startswith("query.")


def test_the_topics_are_those_of_the_run(client: Client, run_folder: Path) -> None:
    topics, run = client.get("/topics").json, RunFolder.read(run_folder)
    assert {topic["topic"]: topic["count"] for topic in topics} == {
        topic.topic: topic.count for topic in run.result.topic_info
    }
    one = client.get(f"/topics/{topics[0]['topic']}").json
    texts = {document["text"] for document in one["documents"]}
    assert one["name"] == topics[0]["name"] and texts and texts <= set(run.result.texts)
    assert client.get("/topics/999").status == 404 and client.get("/topics/x").status == 422


def test_the_report_is_at_the_root_and_no_page_asks_another_host(client: Client, run_folder: Path) -> None:
    page = client.get("/")
    assert page.body == (run_folder / "report.html").read_bytes() and "text/html" in page.headers["Content-Type"]
    assert client.get("/docs").status == 404 and client.get("/../run.json").status == 404


def test_of_an_updated_run_the_page_of_its_version_is_at_the_root(run_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run_folder, tmp_path / "run"))
    pipeline.decide(copy, [Decision("name", (0,), text="A name by hand")])
    with Served(TopicService.load(copy), ServeSettings(port=0)) as client:
        page = client.get("/")
    assert page.status == 200 and b"A name by hand" in page.body


def test_health_says_what_is_served(client: Client, run_folder: Path) -> None:
    health = client.get("/health").json
    assert (health["status"], health["run"], health["waiting"]) == ("ok", RunFolder(run_folder).name, 0)


def test_a_run_without_a_report_says_how_to_write_one(run_folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (copy / "report.html").unlink()
    with Served(TopicService.load(copy), ServeSettings(port=0)) as client:
        page = client.get("/")
    assert page.status == 404 and "moee-topics report" in page.json["error"]["message"]
