"""A recipe that asks for labels: after the fit and each update, once each, and never at the cost of finished work."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_servers import ChatServer, Reply, chat_server, saying
from tiny_models import save_checkpoint, tiny_olmoe_config
from tiny_runs import Heard, recipe_of, write_corpus

from moee_topics import chat_endpoint
from moee_topics import run as pipeline
from moee_topics.chat_endpoint import KEY_VARIABLE
from moee_topics.errors import InputError, ModelError, RecipeError
from moee_topics.progress import Progress
from moee_topics.recipe import Recipe
from moee_topics.run import Run
from moee_topics.run.recipe_labels import label_as_asked
from moee_topics.run_folder import RunFolder, read_decisions
from moee_topics.topics import CheckSettings, LabelSection


def by_first_word(_: int, body: dict[str, Any]) -> Reply:
    """A name of the first of the keywords in the question; to a judge's question the first letter."""
    question = body["messages"][0]["content"]
    word = question.partition("Keywords: ")[2].partition(",")[0]
    return saying(f"About {word}" if word else "A")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(chat_endpoint, "BACKOFF", 0.0)
    with chat_server(by_first_word) as server:
        yield server


@pytest.fixture
def recipe(corpus: Path, tiny_olmoe: Path, server: ChatServer) -> Callable[..., Recipe]:
    """The recipe of the finished run, which asks the server for names, and more overrides."""
    asked = ["labels.provider=openai", "labels.model=m", f"labels.base_url={server.base_url}", "labels.attempts=1"]
    return lambda *more: recipe_of(corpus, tiny_olmoe, *asked, *more)


def run(recipe: Recipe, root: Path, progress: Progress | None = None) -> Run:
    return pipeline.run(recipe, root / "run", root / "store", progress=progress)


def names_of(root: Path) -> list[str]:
    return [topic.name for topic in RunFolder.read(root / "run").ranked_topics]


def test_a_run_names_its_topics_and_asks_no_second_time(
    root: Path, server: ChatServer, recipe: Callable[..., Recipe], no_model: None
) -> None:
    heard = Heard()
    made = run(recipe(), root, heard)
    topics = RunFolder(root / "run").ranked_topics
    assert names_of(root) == [f"About {topic.words[0][0]}" for topic in topics] and made.number == 2
    assert made.ranked_topics[0].name == names_of(root)[0] and len(server.asked) == len(topics)
    assert heard.ended["names"] == f"{len(topics)} topics named, version 2 holds"
    assert run(recipe(), root).number == 2 and len(server.asked) == len(topics)
    assert not [note for note in heard.notes if "was updated" in note]


def test_names_are_judged_once_by_whom_the_recipe_names(
    root: Path, server: ChatServer, recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run(recipe("labels.check=embedding", "labels.check.documents=3"), root)
    assert made.label_check is not None and made.label_check["settings"]["documents"] == 3
    assert [fit["label"] for fit in made.label_check["topics"]] == names_of(root)
    monkeypatch.setattr("moee_topics.run.label_trial.Embedder", lambda *_, **__: pytest.fail("judged twice"))
    run(recipe("labels.check=embedding", "labels.check.documents=3"), root)
    asked, judge = len(server.asked), ["openai", "m", server.base_url]
    options = [
        f"labels.check.{key}={value}" for key, value in zip(("provider", "model", "base_url"), judge, strict=True)
    ]
    judged = run(recipe(*options, "labels.check.documents=2"), root).label_check
    assert judged is not None and judged["judge"] == "openai m" and len(server.asked) == asked + judged["documents"]


def test_words_are_judged_where_nobody_names(root: Path, corpus: Path, tiny_olmoe: Path) -> None:
    made = run(recipe_of(corpus, tiny_olmoe, "labels.check=embedding"), root)
    assert made.number == 1 and made.label_check is not None and made.history is None


def test_an_endpoint_that_fails_leaves_the_run_whole_and_the_same_recipe_goes_on(
    root: Path, server: ChatServer, recipe: Callable[..., Recipe]
) -> None:
    shutil.rmtree(root / "run")
    server.reply = lambda number, body: by_first_word(0, body) if number < 2 else (503, b"busy", {})
    with pytest.raises(ModelError, match=r"status 503.*are finished all the same.*run the same recipe again"):
        run(recipe("report.html=true"), root)
    left = Run.read(root / "run")
    assert left.number == 1 and (root / "run" / "report.html").exists() and left.manifest["finished"]
    assert len(left.label_answers) == 2
    server.reply, asked = by_first_word, len(server.asked)
    heard = Heard()
    assert run(recipe("report.html=true"), root, heard).number == 2
    assert heard.skipped == ["embed", "fit", "report"] and len(server.asked) == asked + len(left.ranked_topics) - 2


def test_what_could_not_be_asked_is_told_before_anything_is_encoded(
    tmp_path: Path, corpus: Path, tiny_olmoe: Path, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(error: type[Exception], match: str, *overrides: str) -> None:
        with pytest.raises(error, match=match):
            run(recipe_of(corpus, tiny_olmoe, *overrides), tmp_path)
        assert not (tmp_path / "store").exists() and not server.asked

    refused(ModelError, "no_such_model", "labels.provider=local", f"labels.model={tmp_path / 'no_such_model'}")
    refused(ModelError, "causal language model", "labels.provider=local", "labels.model=pocket")
    refused(RecipeError, "not the address", "labels.provider=openai", "labels.model=m", "labels.base_url=ftp://x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    network = ("labels.provider=openai", "labels.model=m", "labels.base_url=https://models.example/v1")
    refused(RecipeError, "on the network, which --offline", *network)
    refused(RecipeError, "on the network", "labels.check.provider=openai", "labels.check.model=m",
            "labels.check.base_url=https://models.example/v1")  # fmt: skip


def test_the_key_is_in_no_file(
    root: Path, server: ChatServer, recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "sk-very-secret")
    run(recipe(), root)
    assert server.asked[0][1]["Authorization"] == "Bearer sk-very-secret"
    assert not [path for path in root.rglob("*") if path.is_file() and b"sk-very-secret" in path.read_bytes()]


def test_another_fit_of_a_run_that_was_only_named_is_made_and_named_anew(
    root: Path, server: ChatServer, recipe: Callable[..., Recipe], no_model: None
) -> None:
    run(recipe(), root)
    made = run(recipe("topics.nr_topics=3"), root)
    assert made.number == 2 and len(made.ranked_topics) < 4
    assert names_of(root) == [f"About {topic.words[0][0]}" for topic in made.ranked_topics]
    assert len(read_decisions(root / "run" / "decisions.yaml")) == len(made.ranked_topics)
    history = RunFolder(root / "run").history
    assert history is not None and history["next_topic"] > max(made.result.topics) + 1, "former ids stay used"
    with pytest.raises(InputError, match="was updated: version 2 holds"):  # whom nobody would name again
        run(recipe("labels.provider=none"), root)
    made.decide({"name": "By hand", "topic": made.ranked_topics[0].topic})
    with pytest.raises(InputError, match="was updated: version 3 holds"):
        run(recipe(), root)


@pytest.mark.parametrize("provider", ["openai", "none"])
def test_what_a_version_decided_is_spared_though_the_file_of_decisions_is_empty(
    root: Path, recipe: Callable[..., Recipe], provider: str
) -> None:
    made = Run.read(root / "run")
    split = made.decide({"split": made.ranked_topics[0].topic})
    split.decide({"merge": [topic.topic for topic in split.ranked_topics[:2]]})
    (root / "run" / "decisions.yaml").write_text("")
    with pytest.raises(InputError, match="was updated: version 3 holds"):
        run(recipe("topics.nr_topics=3", f"labels.provider={provider}"), root)
    assert made.root.version(2).result.topic_count == split.result.topic_count


def test_an_update_names_the_topics_that_are_born_and_is_whole_without_them(
    root: Path, server: ChatServer, recipe: Callable[..., Recipe]
) -> None:
    made = run(recipe(), root)
    split = made.decide({"split": made.ranked_topics[0].topic})
    born = {topic.topic for topic in split.ranked_topics} - {topic.topic for topic in made.ranked_topics}
    new = write_corpus(root / "new.jsonl", 4, first=500)
    server.reply, heard = lambda *_: (503, b"busy", {}), Heard()
    updated = pipeline.update(root / "run", [str(new)], progress=heard).run
    assert len(born) == 2 and RunFolder.read(root / "run").path == updated.path == split.root.version(4).path
    assert any("status 503" in note and "only names or their check are missing" in note for note in heard.notes)
    assert not [topic for topic in updated.ranked_topics if topic.topic in born and topic.name.startswith("About")]
    server.reply = by_first_word
    later = split.update(["an orbit of the moon", "goal puck"])
    assert later.number == 6 and {topic.name.partition(" ")[0] for topic in later.ranked_topics} == {"About"}


def test_a_plan_and_an_estimate_say_what_a_topic_costs(
    root: Path, server: ChatServer, recipe: Callable[..., Recipe], no_model: None
) -> None:
    plans = pipeline.plan(recipe("labels.documents=1"), root / "run", root / "store")
    assert plans[-1].name == "labels" and plans[-1].action == "run" and "32 to write for each topic" in plans[-1].reason
    costs = pipeline.estimate(recipe(), root / "store", trial=False).labels
    more = pipeline.estimate(recipe("labels.characters=40"), root / "store", trial=False)
    assert costs and more.labels and more.labels.asked < costs.asked < 400 and "labels          about" in more.to_text()
    run(recipe(), root)
    assert [plan.action for plan in pipeline.plan(recipe(), root / "run", root / "store")] == ["skip"] * 3
    judged = pipeline.plan(recipe("labels.check=embedding"), root / "run", root / "store")[-1]
    assert (judged.name, judged.action) == ("labels", "run")
    plain = pipeline.plan(recipe("labels.provider=none"), root / "run", root / "store")
    assert "labels" not in [plan.name for plan in plain] or plain[-1].action == "skip"


def test_labels_of_one_topic_are_not_judged(root: Path, no_model: None) -> None:
    made = Run.read(root / "run")
    made.decide({"merge": [topic.topic for topic in made.ranked_topics]})
    label_as_asked(root / "run", LabelSection(check=CheckSettings()), Progress())
    assert Run.read(root / "run").label_check is None, "a judge chooses between two or more"


def test_a_model_of_this_machine_names_by_its_own_words(
    root: Path, tmp_path: Path, corpus: Path, tiny_olmoe: Path
) -> None:
    config = tiny_olmoe_config()
    config.max_position_embeddings = 4096
    folder = save_checkpoint(config, tmp_path / "longer")
    options = ("labels.provider=local", f"labels.model={folder}", "labels.documents=1", "labels.characters=20")
    made = run(recipe_of(corpus, tiny_olmoe, *options), root)
    assert len(made.root.label_answers) == len(made.ranked_topics)
