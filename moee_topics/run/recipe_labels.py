"""What the section ``labels`` of a recipe asks for: names after a fit and after every update, and a judge of them.

The topics are finished before anybody is asked, and names are a version of decisions: an endpoint that fails loses
nothing, and the same command asks for what is missing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moee_topics.encode import EncoderSettings
from moee_topics.errors import InputError, ModelError
from moee_topics.evaluate import CHOICES
from moee_topics.messages import counted
from moee_topics.progress import Progress
from moee_topics.run.asking import writer_of
from moee_topics.run.label_trial import check_labels, plan_check
from moee_topics.run.labelling import label, plan_labels
from moee_topics.run.manifest import recipe_section
from moee_topics.run_folder import RunFolder, read_decisions, write_decisions
from moee_topics.schema import Section, build
from moee_topics.topics import (
    ANSWER_TOKENS,
    LETTER_TOKENS,
    WORDS_SAID,
    BallotPrompt,
    CheckSettings,
    LabelPrompt,
    LabelSection,
    NamingSettings,
    label_of,
)


class Asked(Section):
    """The part of a recipe that is looked at here."""

    labels: LabelSection = LabelSection()


@dataclass(frozen=True)
class LabelCosts:
    """What a language model reads and writes for one topic, by documents of the corpus.

    Attributes:
        asked: tokens of the questions, of an endpoint roughly.
        answered: tokens of the answers, at most.
    """

    asked: int
    answered: int

    def __str__(self) -> str:
        """In a few words, for people."""
        of_hundred = f"{100 * self.asked:,} and {100 * self.answered:,} for 100 topics"
        return f"about {self.asked:,} tokens to read and {self.answered:,} to write for each topic, {of_hundred}"


def asked_in(run: RunFolder) -> LabelSection:
    """What the recipe of a finished run says of labels; nobody is asked where an earlier version made it.

    Raises:
        InputError: the folder holds no finished run, or its manifest is damaged.
    """
    section = {"labels": dict(recipe_section(run, "labels"))}
    return build(Asked, section, name=f"the recipe of {run.name}").labels


def check_asked(section: LabelSection, own: EncoderSettings) -> None:
    """Looks at who is to be asked, before hours of encoding; no weight is loaded and nothing is sent.

    Raises:
        InputError: an endpoint has no address, or is on the network where that is forbidden.
        ModelError: a model is missing, or writes no text.
    """
    for settings in language_models(section):
        writer_of(settings, lambda: own, ANSWER_TOKENS).identity  # noqa: B018 (which says what is wrong)


def label_as_asked(folder: Path, section: LabelSection, progress: Progress) -> None:
    """Names the topics that are called by their words, and judges the names; what is known is not asked again.

    Raises:
        InputError: a prompt is too long for the model.
        ModelError: a model is missing, or an endpoint does not answer; the answers so far are kept.
    """
    started = time.perf_counter()
    try:
        if section.provider != "none":
            labelled = label(folder, section, progress=progress)
            if labelled.updated:
                named, version = counted(len(labelled.names), "topic"), labelled.updated.record["version"]
                progress.end("names", time.perf_counter() - started, f"{named} named, version {version} holds")
        if section.check is not None and not is_judged(RunFolder(folder), section.check):
            check = check_labels(folder, section.check, progress=progress)
            progress.end("check", time.perf_counter() - started, check.sentence)
    except (InputError, ModelError) as error:
        raise type(error)(
            f"{error} The topics in {folder} are finished all the same, and only names or their check are missing: "
            "run the same recipe again to ask for them, or give it labels.provider=none and labels.check=none."
        ) from error


def is_judged(run: RunFolder, settings: CheckSettings) -> bool:
    """Whether nothing is left to a judge: one topic is judged as it is, since a judge chooses between two or more."""
    return len(run.current.ranked_topics) < 2 or plan_check(run, settings).is_judged


def is_done(folder: Path, section: LabelSection) -> bool:
    """Whether :func:`label_as_asked` would ask nobody."""
    run = RunFolder(folder)
    if section.provider != "none" and plan_labels(run, section).open:
        return False
    return section.check is None or is_judged(run, section.check)


def label_costs(section: LabelSection, own: EncoderSettings, texts: Sequence[str]) -> LabelCosts | None:
    """What a topic would cost, as if it were made of a few documents of the corpus; None where no model is asked.

    Raises:
        InputError: as :func:`check_asked`.
        ModelError: the tokenizer cannot be read.
    """
    asked = answered = 0
    words = tuple(" ".join(texts).split()[:WORDS_SAID])
    for settings in language_models(section):
        questions, tokens = 1, ANSWER_TOKENS
        if isinstance(settings, CheckSettings):
            questions, tokens = settings.documents, LETTER_TOKENS
            name = ", ".join(words[:4])
            prompts = [BallotPrompt.of(0, text, [name] * CHOICES, settings).text for text in texts]
        else:
            assert isinstance(settings, NamingSettings)
            prompts = [LabelPrompt(0, words, tuple(text[: settings.characters] for text in texts)).text]
        writer = writer_of(settings, lambda: own, tokens)
        asked += round(questions * sum(map(writer.count, prompts)) / len(prompts))
        answered += questions * tokens
    return LabelCosts(asked, answered) if answered else None


def language_models(section: LabelSection) -> list[NamingSettings | CheckSettings]:
    """Who of namer and judge is a language model."""
    everybody: list[NamingSettings | CheckSettings] = [section, *([section.check] if section.check else [])]
    return [one for one in everybody if one.provider in ("local", "openai")]


def are_names_alone(run: RunFolder, section: LabelSection) -> bool:
    """Whether nothing came after the fit but names by a language model, which the recipe gives again without asking.

    Every version counts, also one that was undone, and whatever the file of decisions holds by now.

    Raises:
        InputError: a version is damaged.
    """
    records = run.history["versions"] if run.history else []
    if any(record["policy"] != "decide" for record in records):
        return False
    versions = [run.version(record["version"]) for record in records]
    decisions = [*read_decisions(run.decisions_path), *(one for past in versions for one in past.known_decisions)]
    said = {label_of(record["answer"]) for record in run.all_label_answers.values()}
    is_asked = section.provider != "none" or not decisions
    return is_asked and all(one.verb == "name" and one.text in said for one in decisions)


def forget_names(run: RunFolder, fit: str) -> None:
    """Goes back to the fit itself, which is to be another one; killed on the way, the next call goes on."""
    history = run.history
    write_decisions(run.decisions_path, [])
    if history is not None:  # whose next_topic stays: an id that was given is never given to what is born later
        RunFolder.history.write(run, {**history, "fit": fit, "current": 1, "versions": []})
        for record in history["versions"]:
            shutil.rmtree(run.version(record["version"]).path, ignore_errors=True)
