"""Names of topics by a language model: asked once each, kept while they come, and applied as decisions.

A name by a language model is a decision like one by hand: it holds through updates, and ``topics undo`` takes it back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from moee_topics.progress import Progress
from moee_topics.run.asking import Questions
from moee_topics.run.decision_versions import decide
from moee_topics.run.versions import UpdatedRun, changing
from moee_topics.run_folder import RunFolder
from moee_topics.topics import (
    ANSWER_TOKENS,
    Decision,
    LabelPrompt,
    LabelSettings,
    NamingSettings,
    label_of,
    name_by_words,
)


@dataclass(frozen=True)
class Labelled:
    """What came of asking.

    Attributes:
        names: of topics that have a new name.
        refused: of topics that keep theirs, why.
        updated: the version with the names; None where no name is new.
    """

    names: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    updated: UpdatedRun | None = None


def label_prompts(run: RunFolder, settings: NamingSettings, *, every: bool) -> list[LabelPrompt]:
    """A question for each topic without a name, or for every one."""
    return [
        LabelPrompt.of(run.current.result, topic, settings)
        for topic in run.current.ranked_topics
        # Whatever else it is called, by hand, by the recipe or by a model, somebody wanted.
        if every or topic.name == name_by_words(topic.words, topic.topic)
    ]


def plan_labels(run: RunFolder, settings: NamingSettings, *, every: bool = False) -> Questions[LabelPrompt]:
    """What :func:`label` would ask; no weight is loaded and nothing is sent.

    Raises:
        InputError: the run is not finished, or the endpoint has no address.
        ModelError: the model is missing or not supported.
    """
    return Questions.to(settings, run, label_prompts(run, settings, every=every), ANSWER_TOKENS)


def label(
    folder: Path,
    settings: NamingSettings | None = None,
    *,
    every: bool = False,
    progress: Progress | None = None,
) -> Labelled:
    """Asks a language model for names of topics, and gives those that pass a check, as one version of decisions.

    Args:
        folder: of the run.
        settings: who is asked, and what of a topic is shown; by default the model of the run itself.
        every: also topics that have a name already, and not only their words.
        progress: is told how far the work is, and which answers were not taken.

    Raises:
        InputError: there is no finished run, or a prompt is too long for the model.
        ModelError: the model is missing, or the endpoint does not answer; the answers so far are kept.
    """
    folder, progress, settings = Path(folder), progress or Progress(), settings or LabelSettings()
    with changing(folder) as run:
        prompts = label_prompts(run, settings, every=every)
        if not prompts:
            return Labelled()
        answers = Questions.to(settings, run, prompts, ANSWER_TOKENS).ask(progress)
        known = {topic.topic: topic.name for topic in run.current.result.topic_info}
    labelled = Labelled()
    for prompt, answer in zip(prompts, answers, strict=True):
        name = label_of(answer)
        if fault := prompt.fault(name):
            labelled.refused[prompt.topic] = fault
            progress.note(f"Topic {prompt.topic} stays {known[prompt.topic]!r}: {fault}.")
        elif name != known[prompt.topic]:
            labelled.names[prompt.topic] = name
    decisions = [Decision("name", (topic,), text=name) for topic, name in labelled.names.items()]
    return replace(labelled, updated=decide(folder, decisions, progress=progress)) if decisions else labelled
