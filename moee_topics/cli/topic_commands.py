"""The topics of a run, and what is decided about them: names, merges, drops, splits, pins, notes and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moee_topics.cli.options import DryRun, Json, Manner, RunPath, StoreOfRun, command
from moee_topics.cli.stdout import show, show_tables
from moee_topics.messages import counted
from moee_topics.topics import CheckSettings, LabelSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moee_topics.evaluate import LabelCheck
    from moee_topics.report import TextTable
    from moee_topics.run import Labelled, LabelTrial, UpdatedRun
    from moee_topics.run_folder import RunFolder
    from moee_topics.topics import Decision

TopicId = Annotated[int, typer.Argument(help="Its number, as topics ls has it.", metavar="TOPIC")]
TopicIds = Annotated[list[int], typer.Argument(help="Their numbers.", metavar="TOPIC…")]

WORDS_SHOWN, DOCUMENTS_SHOWN = 8, 5


@command("moee-topics topics ls runs/posts", name="ls")
def topics_ls(run: RunPath, as_json: Json = False) -> None:
    """List topics, and what was decided about them.

    A decision is applied, settled (nothing is left to do), in conflict with the topics as they are, or still waiting
    in decisions.yaml for the next update or `topics apply`.
    """
    from moee_topics.report import TextTable
    from moee_topics.run_folder import RunFolder

    folder = RunFolder.read(run)
    rows = [
        (str(topic.topic), topic.name, f"{topic.count:,}", ", ".join(word for word, _ in topic.words[:WORDS_SHOWN]))
        for topic in folder.result.topic_info
    ]
    decisions = list(_decision_rows(RunFolder(run)))
    headers = ("nr", "topic", "documents", "words")
    tables = [TextTable(f"Topics of {folder.name}", headers, rows)]
    if decisions:
        tables.append(TextTable("Decisions", ("decision", "state", "why"), decisions))
    facts = [{"topic": one.topic, "name": one.name, "documents": one.count} for one in folder.result.topic_info]
    states = [dict(zip(("decision", "state", "reason"), row, strict=True)) for row in decisions]
    show_tables({"run": run, "topics": facts, "decisions": states}, tables, None, as_json=as_json)


@command("moee-topics topics show runs/posts 3", name="show")
def topics_show(run: RunPath, topic: TopicId, as_json: Json = False) -> None:
    """Show one topic.

    Its words, the documents that stand for it, and what was decided and noted.
    """
    from moee_topics.run_folder import RunFolder

    folder = RunFolder.read(run)
    found, ids = folder.result.topic(topic), list(folder.result.ids)
    decided = (outcome.decision for outcome in folder.decisions)
    decisions = [str(one) for one in decided if topic in (*one.topics, *one.into)]
    rows = list(found.representative_docs)[:DOCUMENTS_SHOWN]
    facts: dict[str, Any] = {"topic": topic, "name": found.name, "documents": found.count}
    facts |= {"words": [word for word, _ in found.words], "note": folder.notes.get(topic, ""), "decisions": decisions}
    facts |= {"representative": [{"id": ids[row], "text": folder.result.texts[row]} for row in rows]}
    show(facts, _topic_lines(facts), as_json=as_json)


@command('moee-topics topics name runs/posts 3 "Space flight"', name="name")
def topics_name(
    run: RunPath,
    topic: TopicId,
    name: Annotated[str, typer.Argument(help="What it is called from now on.", metavar="NAME")],
    *,
    manner: Manner,
) -> None:
    """Give a topic a name.

    It stands in reports, exports, predictions and BERTopic's custom labels.
    """
    from moee_topics.topics import Decision

    _decide(run, [Decision("name", (topic,), text=name)], None, manner)


@command(
    "moee-topics topics label runs/posts --model folder-of-a-model",
    "moee-topics topics label runs/posts --provider openai --model qwen3 \\",
    "  --base-url http://localhost:11434/v1",
    name="label",
)
def topics_label(
    run: RunPath,
    settings: LabelSettings,
    *,
    every: Annotated[bool, typer.Option("--all", help="Also topics that have a name already.")] = False,
    dry_run: DryRun = False,
    manner: Manner,
) -> None:
    """Let a language model name the topics, one by one.

    A name is a decision as by hand: it holds through updates, and `topics undo` takes it back. Answers are kept in
    labels.jsonl, so that nothing is asked twice. An endpoint's key comes from OPENAI_API_KEY.
    """
    from moee_topics.run import label, plan_labels
    from moee_topics.run_folder import RunFolder

    if dry_run:
        plan = plan_labels(RunFolder.read(run).root, settings, every=every)
        asked = {"topics": len(plan.prompts), "open": len(plan.open), "tokens": plan.tokens}
        show({"run": run, **asked}, [str(plan)], as_json=manner.as_json)
        return
    labelled = label(run, settings, every=every, progress=manner.progress)
    facts = {"run": run, "names": labelled.names, "refused": labelled.refused}
    show(facts, _labelled_lines(labelled), as_json=manner.as_json)


@command(
    "moee-topics topics check runs/posts",
    "moee-topics topics check runs/posts --provider local --model FOLDER",
    name="check",
)
def topics_check(
    run: RunPath,
    settings: CheckSettings,
    *,
    words: Annotated[bool, typer.Option("--words", help="Judge the words in the place of the names.")] = False,
    dry_run: DryRun = False,
    manner: Manner,
) -> None:
    """Judge whether the labels of the topics fit.

    For each of some documents a judge chooses among five labels: its topic's and those of the four nearest topics.
    Labels that say nothing are right for one in five. The judge is the run's own encoder, which answers at once and
    likes words, or a language model: --provider local or openai. What it makes of names is shown in the report.
    """
    from moee_topics.run import check_labels, plan_check
    from moee_topics.run_folder import RunFolder
    from moee_topics.topics import name_by_words

    topics = RunFolder.read(run).ranked_topics
    labels = {topic.topic: name_by_words(topic.words, topic.topic) for topic in topics} if words else None
    if dry_run:
        trial = plan_check(RunFolder.read(run).root, settings, labels)
        _show_trial(run, trial, manner)
        return
    check = check_labels(run, settings, labels=labels, progress=manner.progress)
    show_tables({"run": run, **check.to_json()}, [_check_table(check)], None, as_json=manner.as_json)


@command("moee-topics topics merge runs/posts 4 7", name="merge")
def topics_merge(run: RunPath, topics: TopicIds, *, store: StoreOfRun = None, manner: Manner) -> None:
    """Make one topic of several.

    The first keeps its number.
    """
    from moee_topics.topics import Decision

    _decide(run, [Decision("merge", tuple(topics))], store, manner)


@command("moee-topics topics drop runs/posts 5", name="drop")
def topics_drop(run: RunPath, topics: TopicIds, *, store: StoreOfRun = None, manner: Manner) -> None:
    """Take topics away.

    Their documents become outliers.
    """
    from moee_topics.topics import Decision

    _decide(run, [Decision("drop", (topic,)) for topic in topics], store, manner)


@command("moee-topics topics split runs/posts 2 --parts 3", name="split")
def topics_split(
    run: RunPath,
    topic: TopicId,
    *,
    parts: Annotated[int, typer.Option("--parts", help="How many topics come of it.")] = 2,
    store: StoreOfRun = None,
    manner: Manner,
) -> None:
    """Cluster the documents of a topic again.

    The parts, by k-means of their vectors, have new numbers.
    """
    from moee_topics.topics import Decision

    _decide(run, [Decision("split", (topic,), parts=parts)], store, manner)


@command("moee-topics topics pin runs/posts 3 post-17 post-18", name="pin")
def topics_pin(
    run: RunPath,
    topic: Annotated[int, typer.Argument(help="Its number; -1 is no topic.", metavar="TOPIC")],
    documents: Annotated[list[str], typer.Argument(help="Their ids.", metavar="DOCUMENT…")],
    *,
    store: StoreOfRun = None,
    manner: Manner,
) -> None:
    """Say to which topic documents belong.

    Whatever their vectors say. A topic of -1 needs -- before it.
    """
    from moee_topics.topics import Decision

    _decide(run, [Decision("pin", (topic,), documents=tuple(documents))], store, manner)


@command('moee-topics topics note runs/posts 3 "Two readers agree"', name="note")
def topics_note(
    run: RunPath,
    topic: TopicId,
    text: Annotated[str, typer.Argument(help="The note.", metavar="TEXT")],
    *,
    manner: Manner,
) -> None:
    """Note something on a topic.

    For the report and for `topics show`.
    """
    from moee_topics.topics import Decision

    _decide(run, [Decision("note", (topic,), text=text)], None, manner)


@command("moee-topics topics seed runs/posts orbit nasa shuttle", name="seed")
def topics_seed(
    run: RunPath,
    words: Annotated[list[str], typer.Argument(help="Words of a topic that there should be.", metavar="WORD…")],
    *,
    manner: Manner,
) -> None:
    """Give words of a topic that there should be.

    They guide the next `update --policy refit`.
    """
    from moee_topics.topics import Decision

    _decide(run, [Decision("seed", seeds=tuple(words))], None, manner)


@command("moee-topics topics apply runs/posts   # after decisions.yaml was edited", name="apply")
def topics_apply(run: RunPath, *, store: StoreOfRun = None, manner: Manner) -> None:
    """Apply what decisions.yaml says.

    After it was written by hand, or copied from another run.
    """
    _decide(run, [], store, manner)


@command("moee-topics topics undo runs/posts", name="undo")
def topics_undo(run: RunPath, *, manner: Manner) -> None:
    """Take the last decision back.

    The version before it holds again, and decisions.yaml lacks it.
    """
    from moee_topics.errors import InputError
    from moee_topics.run import undo
    from moee_topics.run_folder import RunFolder

    history = RunFolder(run).history
    last = next((one for one in history["versions"] if one["version"] == history["current"]), None) if history else None
    if last is None or last["policy"] != "decide":
        made = f"by update ({last['policy']}): moee-topics update {run} --undo" if last else "by the run itself"
        raise InputError(f"There is no decision to take back: the version that holds was made {made}.")
    version = undo(run, progress=manner.progress)
    lines = [*(f"Taken back: {one}" for one in last.get("decisions", [])), f"{run} is at version {version} again."]
    show({"run": run, "version": version, "taken_back": last.get("decisions", [])}, lines, as_json=manner.as_json)


def _decide(run: Path, decisions: list[Decision], store: Path | None, manner: Manner) -> None:
    """Makes the version, and says what became of topics; where nothing is new, that."""
    from moee_topics.run import decide
    from moee_topics.run_folder import RunFolder

    made = decide(run, decisions, store=store, progress=manner.progress)
    if made is None:
        current = RunFolder(run).current
        line = (
            f"Nothing to apply: the version that holds, {current.path}, was made with all of {current.decisions_path}."
        )
        show({"run": run, "folder": current.path, "version": None}, [line], as_json=manner.as_json)
        return
    states = [{"decision": text, "state": state, "reason": reason} for text, state, reason in _decision_rows(made.run)]
    facts = {"run": run, "folder": made.run.path, **made.record, "states": states}
    show(facts, _decided_lines(made), as_json=manner.as_json)


def _show_trial(run: Path, trial: LabelTrial, manner: Manner) -> None:
    """What a judge would be shown; of a language model, how much that is."""
    facts: dict[str, Any] = {"run": run, "topics": len(trial.labels), "documents": len(trial.ballots)}
    line = f"{counted(len(trial.ballots), 'document')} of {counted(len(trial.labels), 'topic')}"
    if trial.settings.provider != "embedding":
        facts |= {"open": len(trial.questions.open), "tokens": trial.questions.tokens}
        line += f"; {trial.questions}"
    show(facts, [line], as_json=manner.as_json)


def _check_table(check: LabelCheck) -> TextTable:
    """The labels, the worst first, and what they come to together."""
    from moee_topics.report import TextTable

    labels = {fit.topic: fit.label for fit in check.topics}
    rows = [
        (
            str(fit.topic),
            fit.label,
            f"{fit.documents}",
            f"{fit.accuracy:.0%}",
            f"{fit.low:.0%} to {fit.high:.0%}",
            "" if fit.taken_for is None else f"{fit.taken_for} {labels[fit.taken_for]}",
        )
        for fit in sorted(check.topics, key=lambda fit: fit.accuracy)
    ]
    headers = ("nr", "label", "documents", "right", "95 % interval", "else taken for")
    return TextTable("Labels, the worst first", headers, rows, notes=[check.sentence])


def _labelled_lines(labelled: Labelled) -> Iterator[str]:
    for topic, name in labelled.names.items():
        yield f"Topic {topic}: {name}"
    yield f"New names: {len(labelled.names)}. Answers that were not taken: {len(labelled.refused)}."
    if labelled.updated:
        yield f"Version {labelled.updated.record['version']}: {labelled.updated.run.path}"


def _decided_lines(made: UpdatedRun) -> Iterator[str]:
    from moee_topics.cli.update_commands import event_lines

    conflicts = sum(outcome.state == "conflict" for outcome in made.run.decisions)
    nothing = f"nothing new could be applied, {conflicts:,} in conflict" if conflicts else "without what was taken out"
    yield f"Version {made.record['version']}: {'; '.join(made.record.get('decisions', [])) or nothing}"
    yield from event_lines(made)
    yield f"Folder: {made.run.path}"


def _topic_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"Topic {facts['topic']}: {facts['name']} ({counted(facts['documents'], 'document')})"
    yield f"Words: {', '.join(facts['words'])}"
    if facts["note"]:
        yield f"Note: {facts['note']}"
    for decision in facts["decisions"]:
        yield f"Decided: {decision}"
    for document in facts["representative"]:
        yield f"[{document['id']}] {' '.join(document['text'].split())[:300]}"


def _decision_rows(folder: RunFolder) -> Iterator[tuple[str, str, str]]:
    """Each decision, what became of it, and why."""
    from moee_topics.run import decisions_of

    held = decisions_of(folder)
    told = {outcome.decision.key: outcome for outcome in held.outcomes}
    for decision in held.all:
        outcome = told.get(decision.key)
        yield (str(decision), outcome.state, outcome.reason) if outcome else (str(decision), "waiting", "")
    for decision in held.taken_out:
        yield str(decision), "taken out", "its effect stays until the next refit, a name's until the next version"
